"""Who is measured: our backends on the SpikingGraph, ordinary engines on its dense twin."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from snn_bench.timing import Call, warm_up
from snn_runtime.errors import DeviceError, SnnError, UsageError
from snn_runtime.graph import INPUT, FloatArray
from snn_runtime.machine.describe import gpu_here
from snn_runtime.onnx_build.messages import FREE

Engine = Literal["onnxruntime", "openvino"]
Ready: TypeAlias = tuple[str, Call]
"""A name for the way it runs, and the call."""

ENGINES: tuple[Engine, ...] = ("onnxruntime", "openvino")
PRECISIONS = ("fp32", "int8")
TRIALS = 4
"""Calls by which the fastest of several ways to run is chosen."""


@dataclass(frozen=True)
class Contender:
    """One engine on one network."""

    kind: Literal["snn", "dnn"]
    engine: str
    """A backend, perhaps with its device as in `onnxruntime@cuda`; a dense engine of a twin."""
    precision: str = ""
    """`fp32` or `int8` for a dense twin; empty for a spiking network."""

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.kind, self.precision, self.engine)))

    def file(self, folder: Path) -> Path:
        """Where in the benchmark's folder its model is."""
        return folder / (f"{self.precision}.onnx" if self.kind == "dnn" else "model.onnx")


def usual_backends() -> tuple[str, ...]:
    """Those of the CPU, and those of a GPU where there is one."""
    from snn_runtime.engines.choice import BACKENDS, Choice

    gpu = gpu_here()
    return tuple(
        name if (name, place) in Choice(name).candidates else f"{name}@{place}"
        for name, place in BACKENDS
        if gpu or place == "cpu"
    )


def checked_backend(text: str) -> str:
    """Return `text` if it names a backend, or a backend and a device.

    Raises:
        UsageError: It does not, or the backend does not run on that device.
    """
    from snn_runtime.engines.choice import BACKENDS, Choice

    name, device = named(text)
    if name not in (known := dict.fromkeys(name for name, _ in BACKENDS)):
        choices = ", ".join(known)
        raise UsageError("unknown_backend", f"--backends: {name!r} is none of {choices}")
    Choice(name, device)
    return text


def named(backend: str) -> tuple[str, str]:
    """Return the backend and the device in `onnxruntime@cuda`, without one `auto`."""
    name, _, device = backend.partition("@")
    return name, device or "auto"


def on_gpu(backend: str) -> bool:
    """Whether a backend, as given to `--backends`, computes on a GPU only."""
    from snn_runtime.engines.choice import Choice

    return all(place != "cpu" for _, place in Choice(*named(backend)).candidates)


def twins() -> list[Contender]:
    """The dense contenders."""
    return [Contender("dnn", engine, p) for p in PRECISIONS for engine in ENGINES]


def batches(images: npt.NDArray[Any], size: int) -> list[npt.NDArray[Any]]:
    """Cut images into batches of one size, going round so that the last is full too."""
    count = -(-len(images) // size)
    order = np.arange(count * size) % len(images)
    return [np.ascontiguousarray(images[rows]) for rows in order.reshape(count, size)]


def cyclic(run: Callable[[Any], object], inputs: Sequence[Any]) -> Call:
    """The call that answers `inputs[number]`, beginning again after the last."""
    return lambda number: run(inputs[number % len(inputs)])


def fastest(ways: Sequence[Ready]) -> Ready:
    """Try each way and return the fastest: a baseline deserves its best."""
    if len(ways) == 1:
        return ways[0]
    return min(ways, key=lambda way: warm_up(way[1], TRIALS))


def open_twin(engine: str, model: Path, threads: int, inputs: list[FloatArray]) -> Ready:
    """Make an engine ready for batches of one size and return its fastest way to run them.

    Raises:
        DeviceError: `backend_unavailable`: the engine is not installed; `backend_failed`.
    """
    opener = _openvino if engine == "openvino" else _onnxruntime
    try:
        return fastest(opener(model, threads, inputs))
    except (SnnError, MemoryError):
        raise
    except Exception as error:  # neither engine's errors have a public base
        text = " ".join(str(error).split())
        raise DeviceError("backend_failed", f"{engine} failed: {text:.200}") from error


def _onnxruntime(model: Path, threads: int, inputs: list[FloatArray]) -> list[Ready]:
    batch = len(inputs[0])
    ways = [("one batch", cyclic(_ort_run(model, threads, batch), inputs))]
    if batch > 1:
        alone = _ort_run(model, threads, 1)
        singles = [_singles(images) for images in inputs]
        ways.append(("one by one", cyclic(lambda parts: [alone(x) for x in parts], singles)))
    return ways


def _ort_run(model: Path, threads: int, batch: int) -> Callable[[FloatArray], object]:
    # Here, because the memory of the other engines is measured without it.
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_free_dimension_override_by_name(FREE, batch)
    # Its threads spin while they work, as by default, but not on into the next contender's turn.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {INPUT: images})


def _openvino(model: Path, threads: int, inputs: list[FloatArray]) -> list[Ready]:
    batch = len(inputs[0])
    latency = _openvino_compiled(model, threads, batch, "LATENCY")
    ways = [("one batch", cyclic(_openvino_run(latency), inputs))]
    if batch > 1:
        wide = _openvino_compiled(model, threads, batch, "THROUGHPUT")
        ways.append(("one batch, throughput hint", cyclic(_openvino_run(wide), inputs)))
        single = _openvino_compiled(model, threads, 1, "THROUGHPUT")
        singles = [_singles(images) for images in inputs]
        ways.append(("one by one, parallel", cyclic(_openvino_queue(single), singles)))
    return ways


def _openvino_compiled(model: Path, threads: int, batch: int, hint: str) -> Any:
    core = openvino().Core()
    network = core.read_model(str(model))
    shape = [batch, *(side.get_length() for side in list(network.inputs[0].partial_shape)[1:])]
    network.reshape(shape)
    settings = {"PERFORMANCE_HINT": hint, "INFERENCE_NUM_THREADS": threads}
    if model.stem == PRECISIONS[0]:
        settings["INFERENCE_PRECISION_HINT"] = "f32"  # or it would compute in bfloat16 where it can
    return core.compile_model(network, "CPU", settings)


def _openvino_run(compiled: Any) -> Callable[[FloatArray], object]:
    request = compiled.create_infer_request()
    return lambda images: request.infer([images], share_inputs=True, share_outputs=True)


def _openvino_queue(compiled: Any) -> Callable[[list[FloatArray]], object]:
    queue = openvino().AsyncInferQueue(compiled)

    def run(parts: list[FloatArray]) -> None:
        for part in parts:
            queue.start_async([part], share_inputs=True)
        queue.wait_all()

    return run


def _singles(images: FloatArray) -> list[FloatArray]:
    return [images[i : i + 1] for i in range(len(images))]


def openvino() -> Any:
    """The module, which reports its use to nobody: without the package that does so it takes a
    stub, and `None` is how Python says that a package is not to be had.

    Raises:
        DeviceError: `backend_unavailable`: it is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # documented
    try:
        import openvino as module
    except ImportError as error:
        raise DeviceError(
            "backend_unavailable", "openvino is not installed here; pip install 'iir-snn[bench]'"
        ) from error
    return module
