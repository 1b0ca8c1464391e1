"""The network behind a plain handler: FastAPI, uvicorn, Pillow and ONNX Runtime.

    cd runtime && python -m benchmarks.handler [MODEL.onnx]

What one writes who has an ONNX file and an hour. Pictures are decoded in FastAPI's pool of threads,
by `snn_runtime.image`, so that answers are those of snn-serve; the file runs as it is. There are no
limits and no deadlines. It is for `benchmarks.beside`, and needs: pip install fastapi uvloop
"""

import sys
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool

from snn_runtime.answer import answers_of
from snn_runtime.errors import InputError
from snn_runtime.image import prepare
from snn_runtime.model import BUNDLED, read_model_file


def application(path: Path) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    graph = read_model_file(path).graph

    def answer(body: bytes) -> dict[str, Any]:
        try:
            image, warnings = prepare(body, graph.image.height, graph.image.width, graph.image.fit)
        except InputError as error:
            raise HTTPException(422, error.message) from error
        (logits,) = session.run(["logits"], {"image": image[np.newaxis]})
        (found,) = answers_of(logits, graph.labels, graph.calibration, [warnings], 5)
        return found.record()

    async def predict(request: Request) -> dict[str, Any]:
        found: dict[str, Any] = await run_in_threadpool(answer, await request.body())
        return found

    app = FastAPI()
    app.post("/predict")(predict)
    return app


def main() -> None:
    bundled = Path(str(resources.files("snn_runtime"))) / BUNDLED
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else bundled
    uvicorn.run(application(path), port=0, access_log=False)  # says where it listens


if __name__ == "__main__":
    main()
