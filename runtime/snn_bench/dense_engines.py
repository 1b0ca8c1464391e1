"""ONNX Runtime, OpenVINO and LiteRT on a dense network, each in the way that is fastest here."""

import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from snn_bench.contenders import FP32, LITERT, Contender, Ready, cyclic
from snn_bench.litert import open_litert, to_litert
from snn_bench.timing import Call, warm_up
from snn_runtime.errors import DeviceError, SnnError
from snn_runtime.graph import FloatArray
from snn_runtime.onnx_build import ModelProto
from snn_runtime.onnx_build.messages import FREE

Ways: TypeAlias = Mapping[str, Callable[[], Call]]
"""What makes each way to run a batch ready, by its name."""

TRIALS = 4
"""Calls by which the fastest of several ways to run is chosen."""
LARGEST_LOGIT = 1.0
"""At which the bytes of LiteRT's logits end. Which number that is changes no time."""


def fastest(ways: Ways, variant: str = "") -> Ready:
    """Try each way and return the fastest: a baseline deserves its best. A `variant`, which has
    won before, is made alone and not tried."""
    if variant:
        return variant, ways[variant]()
    ready = [(name, make()) for name, make in ways.items()]
    return ready[0] if len(ready) == 1 else min(ready, key=lambda way: warm_up(way[1], TRIALS))


def open_dense(
    contender: Contender, model: Path, threads: int, inputs: list[FloatArray], variant: str = ""
) -> Ready:
    """Make an engine ready for batches of one size, in its fastest way to run them or in that of
    `variant`.

    Raises:
        DeviceError: `backend_unavailable`: the engine is not installed; `backend_failed`.
    """
    try:
        if contender.engine == "openvino":
            return fastest(_openvino(model, threads, inputs, contender.precision), variant)
        if contender.engine == LITERT:
            return fastest(_litert(model, threads, inputs), variant)
        return fastest(_onnxruntime(model, threads, inputs), variant)
    except (SnnError, MemoryError):
        raise
    except Exception as error:  # neither engine's errors have a public base
        text = " ".join(str(error).split())
        raise DeviceError("backend_failed", f"{contender.engine} failed: {text:.200}") from error


def _onnxruntime(model: Path, threads: int, inputs: list[FloatArray]) -> Ways:
    @cache
    def opened(size: int) -> tuple[Any, str]:
        """A session for batches of that size, and the name of its input."""
        session = _ort_session(model, threads, size)
        return session, session.get_inputs()[0].name

    def whole() -> Call:
        session, name = opened(batch)
        return cyclic(lambda images: session.run(None, {name: images}), inputs)

    def bound() -> Call:
        session, _ = opened(batch)
        return cyclic(session.run_with_iobinding, _ort_bound(session, inputs))

    def one_by_one() -> Call:
        session, name = opened(1)
        singles = [_singles(images) for images in inputs]
        return cyclic(lambda parts: [session.run(None, {name: x}) for x in parts], singles)

    batch = len(inputs[0])
    ways = {"one batch": whole, "one batch, bound": bound}
    return ways | {"one by one": one_by_one} if batch > 1 else ways


def _ort_session(model: Path, threads: int, batch: int) -> Any:
    # Here, because the memory of the other engines is measured without it.
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_free_dimension_override_by_name(FREE, batch)
    # Its threads spin while they work, as by default, but not on into the next contender's turn.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _ort_bound(session: Any, inputs: list[FloatArray]) -> list[Any]:
    """Inputs and outputs where the session finds them, so that a call copies and names nothing."""
    import onnxruntime as ort

    source, target = session.get_inputs()[0].name, session.get_outputs()[0].name
    bound = []
    for images in inputs:
        binding = session.io_binding()
        binding.bind_ortvalue_input(source, ort.OrtValue.ortvalue_from_numpy(images))
        binding.bind_output(target)
        bound.append(binding)
    return bound


def _openvino(model: Path, threads: int, inputs: list[FloatArray], precision: str) -> Ways:
    @cache
    def compiled(size: int, hint: str) -> Any:
        return _openvino_compiled(model, threads, size, hint, precision)

    def whole(hint: str) -> Call:
        return cyclic(_openvino_run(compiled(batch, hint)), inputs)

    def one_by_one() -> Call:
        singles = [_singles(images) for images in inputs]
        return cyclic(_openvino_queue(compiled(1, "THROUGHPUT")), singles)

    batch = len(inputs[0])
    ways = {
        "one batch": lambda: whole("LATENCY"),
        "one batch, bound": lambda: _openvino_bound(compiled(batch, "LATENCY"), inputs),
    }
    if batch > 1:
        ways["one batch, throughput hint"] = lambda: whole("THROUGHPUT")
        ways["one by one, parallel"] = one_by_one
    return ways


def _openvino_compiled(model: Path, threads: int, batch: int, hint: str, precision: str) -> Any:
    core = openvino().Core()
    network = core.read_model(str(model))
    shape = [batch, *(side.get_length() for side in list(network.inputs[0].partial_shape)[1:])]
    network.reshape(shape)
    settings = {"PERFORMANCE_HINT": hint, "INFERENCE_NUM_THREADS": threads}
    if precision == FP32:
        settings["INFERENCE_PRECISION_HINT"] = "f32"  # or it would compute in bfloat16 where it can
    return core.compile_model(network, "CPU", settings)


def _openvino_run(compiled: Any) -> Callable[[FloatArray], object]:
    request = compiled.create_infer_request()
    return lambda images: request.infer([images], share_inputs=True, share_outputs=True)


def _openvino_bound(compiled: Any, inputs: list[FloatArray]) -> Call:
    """Tensors made beforehand, and no dictionary of results made afterwards."""
    request = compiled.create_infer_request()

    def run(tensor: Any) -> None:
        request.set_input_tensor(tensor)
        request.start_async()
        request.wait()

    return cyclic(run, [openvino().Tensor(images, shared_memory=True) for images in inputs])


def _openvino_queue(compiled: Any) -> Callable[[list[FloatArray]], object]:
    queue = openvino().AsyncInferQueue(compiled)

    def run(parts: list[FloatArray]) -> None:
        for part in parts:
            queue.start_async([part], share_inputs=True)
        queue.wait_all()

    return run


def _litert(model: Path, threads: int, inputs: list[FloatArray]) -> Ways:
    """What it takes as input is made beforehand, `[N, H, W, 3]` of float32."""
    proto = ModelProto.FromString(model.read_bytes())
    maps = [np.ascontiguousarray(images.transpose(0, 2, 3, 1)) for images in inputs]

    def opened(batches: list[list[FloatArray]]) -> Call:
        run = open_litert(to_litert(proto, len(batches[0][0]), LARGEST_LOGIT), threads)
        return cyclic(lambda parts: [run(part) for part in parts], batches)

    ways = {"one batch": lambda: opened([[images] for images in maps])}
    if len(inputs[0]) > 1:
        ways["one by one"] = lambda: opened([_singles(images) for images in maps])
    return ways


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
