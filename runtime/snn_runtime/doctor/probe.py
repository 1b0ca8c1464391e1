"""The child process that tries one engine and prints one JSON object.

`python -m snn_runtime.doctor.probe MODEL BACKEND DEVICE`, where an empty MODEL is the bundled one.
"""

import json
import os
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

from snn_runtime.engines.choice import Choice, make_backend
from snn_runtime.errors import SnnError, VerifyError
from snn_runtime.image.scenes import random_scenes
from snn_runtime.machine.children import leave_with_parent
from snn_runtime.model import Model, read_model_file

PICTURES = 8
WARM_UP = 3
SECONDS = 0.5
"""That pictures are labelled, one at a time."""
LEAST, MOST = 5, 1000
"""Pictures, however long that takes."""


def main() -> int:
    """Try the engine and print what came of it."""
    threading.Thread(target=leave_with_parent, daemon=True).start()
    answer = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no answer
    path, backend, device = sys.argv[1:]
    found = examine(Path(path) if path else None, backend, device)
    os.write(answer, json.dumps(found).encode())
    return 0


def examine(path: Path | None, backend: str, device: str) -> dict[str, Any]:
    """Load a model, have the engine prove itself and time it.

    Returns:
        The fields of `checks.Check` that are known.
    """
    try:
        start = time.perf_counter()
        file = read_model_file(path)
        engine = make_backend(file, Choice(backend, device))  # `load` would let no liar in
        model = Model(file.graph, file.golden, engine)
        loaded = time.perf_counter() - start
        failed = _failed_self_test(model)
        milliseconds, runs = _timed(model)
    except SnnError as error:
        return {"works": False, "code": error.code, "reason": error.message}
    return {
        "works": True,
        "reason": failed and failed.message,
        "code": failed and failed.code,
        "details": model.backend.details,
        "self_test": "failed" if failed else "passed",
        "load_seconds": round(loaded, 3),
        "milliseconds": round(milliseconds, 4),
        "runs": runs,
    }


def _failed_self_test(model: Model) -> VerifyError | None:
    try:
        model.self_test()
    except VerifyError as error:
        return error
    return None


def _timed(model: Model) -> tuple[float, int]:
    """The median time of one picture in milliseconds, and of how many."""
    image = model.graph.image
    pictures = [picture[None] for picture in random_scenes(image.height, image.width, PICTURES)]
    for picture in pictures[:WARM_UP]:
        model.logits(picture)
    seconds: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(seconds) < LEAST or (time.perf_counter() < end and len(seconds) < MOST):
        picture = pictures[len(seconds) % PICTURES]
        start = time.perf_counter()
        model.logits(picture)
        seconds.append(time.perf_counter() - start)
    return 1e3 * statistics.median(seconds), len(seconds)
