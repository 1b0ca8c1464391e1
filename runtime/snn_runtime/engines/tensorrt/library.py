"""One interface to TensorRT 8.6 to 11, whose differences stay in here.

    8.6   explicit batch is a flag; types are the builder's choice, so the flag INT8 admits int8
          where the network quantises, and for float16 every layer's type is fixed
    10    networks are strongly typed: tensors have the types the ONNX file gives them
    11    every network is, and the flags that chose types before are gone

The module is tested for its members, and not for the number of its version: TensorRT-RTX, which
builds without a GPU and so serves the tests, counts its versions anew.
"""

import importlib
import re
from dataclasses import dataclass
from typing import Any

from snn_runtime.engines.tensorrt.lowering import Form
from snn_runtime.errors import DeviceError
from snn_runtime.graph import INPUT
from snn_runtime.machine.wheels import install_line

MODULE = "tensorrt"
OLDEST = (8, 6)
_LETTERS = 300
"""Letters of TensorRT's complaints that a message quotes; the first complaint is the cause."""


class Refused(Exception):
    """TensorRT refuses a model or an engine, with its reason."""

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again
        """Whether another attempt, with less memory, may end otherwise."""


@dataclass(frozen=True)
class Request:
    """How an engine is to be built."""

    form: Form
    size: tuple[int, int]
    """Height and width of the picture."""
    usual: int
    """The batch to be fast for."""
    largest: int
    """The largest batch; the smallest is 1."""
    workspace: int
    """Bytes of device memory that a layer may take while it runs; TensorRT's default is all."""


class Library:
    """The module `tensorrt`, or one like it."""

    def __init__(self, module: Any) -> None:
        self._trt = module
        self.name: str = module.__name__
        self.version: str = module.__version__
        self._log = _logger(module)

    @property
    def described(self) -> str:
        """`TensorRT 10.3`"""
        return "TensorRT " + ".".join(map(str, _numbers(self.version)[:2]))

    @property
    def strongly_typed(self) -> bool:
        return hasattr(self._trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")

    def build(self, model: bytes, request: Request) -> bytes:
        """Return the engine of an ONNX model, serialised.

        Raises:
            Refused: With TensorRT's complaints.
        """
        self._log.complaints.clear()
        builder = self._trt.Builder(self._log)
        network = builder.create_network(self._creation_flags())
        parser = self._trt.OnnxParser(network, self._log)
        if not parser.parse(model):
            errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
            raise Refused(self._reason("does not parse the network", errors))
        config = builder.create_builder_config()
        self._configure(config, network, request)
        profile = builder.create_optimization_profile()
        shapes = [(n, *request.size, 3) for n in (1, request.usual, request.largest)]
        profile.set_shape(INPUT, *shapes)
        config.add_optimization_profile(profile)
        engine = builder.build_serialized_network(network, config)
        if engine is None:
            raise Refused(self._reason("builds no engine", []), again=True)
        return bytes(engine)

    def load(self, engine: bytes) -> Any:
        """Return an execution context. An engine is code: only ever one that we built ourselves.

        Raises:
            Refused: The engine is not for this version or device.
        """
        self._log.complaints.clear()
        runtime = self._trt.Runtime(self._log)
        loaded = runtime.deserialize_cuda_engine(engine)
        if loaded is None:
            raise Refused(self._reason("does not load the engine", []))
        context = loaded.create_execution_context()
        if context is None:
            raise Refused(self._reason("does not execute the engine", []))
        return context

    def _creation_flags(self) -> int:
        kinds = self._trt.NetworkDefinitionCreationFlag
        flags = 0
        if hasattr(kinds, "EXPLICIT_BATCH") and _numbers(self.version) < (10,):
            flags |= 1 << int(kinds.EXPLICIT_BATCH)
        if self.strongly_typed:
            flags |= 1 << int(kinds.STRONGLY_TYPED)
        return flags

    def _configure(self, config: Any, network: Any, request: Request) -> None:
        config.set_memory_pool_limit(self._trt.MemoryPoolType.WORKSPACE, request.workspace)
        flag = self._trt.BuilderFlag
        config.clear_flag(flag.TF32)  # on by default: float32 would mean 11 bits of each factor
        if self.strongly_typed:
            return
        # Else an engine's second context would find no profile: CUDA graphs have their own.
        config.set_preview_feature(self._trt.PreviewFeature.PROFILE_SHARING_0806, True)
        if request.form == "int8":
            config.set_flag(flag.INT8)
        if request.form == "fp16":
            config.set_flag(flag.FP16)
            config.set_flag(flag.OBEY_PRECISION_CONSTRAINTS)
            self._keep_types(network)

    def _keep_types(self, network: Any) -> None:
        """Let no layer of float32 run in float16, which the flag FP16 alone would allow."""
        floats = (self._trt.DataType.FLOAT, self._trt.DataType.HALF)
        for i in range(network.num_layers):
            layer = network.get_layer(i)
            kind = layer.get_output(0).dtype
            if kind in floats:
                layer.precision = kind
                layer.set_output_type(0, kind)

    def _reason(self, what: str, errors: list[str]) -> str:
        said = list(dict.fromkeys([*errors, *self._log.complaints])) or ["it does not say why"]
        return f"{self.described} {what}: {' '.join('; '.join(said).split()):.{_LETTERS}}"


def find(name: str = MODULE) -> Library:
    """Import TensorRT.

    Raises:
        DeviceError: `backend_unavailable`: it is not here, does not load, or is too old.
    """
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError) as error:  # OSError: its shared libraries do not load
        raise DeviceError(
            "backend_unavailable",
            f"backend tensorrt needs TensorRT ({error}): {install_line(MODULE)}",
        ) from error
    version = getattr(module, "__version__", "unknown")
    if name == MODULE and _numbers(version)[:2] < OLDEST:
        raise DeviceError(
            "backend_unavailable",
            f"TensorRT is {version}, backend tensorrt needs 8.6 or later: {install_line(MODULE)}",
        )
    return Library(module)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _logger(module: Any) -> Any:
    class Log(module.ILogger):  # type: ignore[misc]  # the base is known only when it is imported
        def __init__(self) -> None:
            module.ILogger.__init__(self)  # pybind11 insists on the base being named
            self.complaints: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (module.ILogger.INTERNAL_ERROR, module.ILogger.ERROR):
                self.complaints.append(message)

    return Log()
