"""TensorRT 8.6 to 11.4 in front, ONNX Runtime behind: what a version lacks is not here.

Environment variables tell it, and the child processes that import it, who to be:

    FAKE_TENSORRT           the version
    FAKE_TENSORRT_FAULT     how the builder fails: none, none-above:BYTES, kill, segv, hang, cut,
                            or what its engines get wrong: wrong, wrong:FORM, sums:FORM
    FAKE_TENSORRT_SLOW      the form whose engines take their time
    FAKE_TENSORRT_LOG       a file that gets a line for every engine built
"""

import ctypes
import enum
import json
import os
import signal
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
from cuda.bindings import runtime

__version__ = os.environ.get("FAKE_TENSORRT", "10.3.0")
_MAJOR = int(__version__.split(".")[0])
_TYPED = _MAJOR >= 10
_FAULT = os.environ.get("FAKE_TENSORRT_FAULT", "")


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def __init__(self) -> None:
        self.made = True


class DataType(enum.Enum):
    FLOAT = onnx.TensorProto.FLOAT
    HALF = onnx.TensorProto.FLOAT16
    OTHER = 0


class MemoryPoolType(enum.Enum):
    WORKSPACE = 0


_CREATION = ["EXPLICIT_BATCH"] * (_MAJOR < 11) + ["STRONGLY_TYPED"] * _TYPED
NetworkDefinitionCreationFlag = SimpleNamespace(**{name: i for i, name in enumerate(_CREATION)})
_WEAK = ["FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS"]
BuilderFlag = SimpleNamespace(
    **{name: name for name in ["TF32", "REFIT", *(_WEAK if _MAJOR < 11 else [])]}
)

PreviewFeature = SimpleNamespace(**({"PROFILE_SHARING_0806": "sharing"} if _MAJOR < 11 else {}))


class Config:
    def __init__(self) -> None:
        self.flags = {BuilderFlag.TF32}
        self.workspace = runtime.memory
        self.shared_profile = _TYPED
        self.profiles: list[Any] = []

    def set_memory_pool_limit(self, pool: MemoryPoolType, size: int) -> None:
        assert pool is MemoryPoolType.WORKSPACE
        self.workspace = size

    def set_flag(self, flag: Any) -> None:
        self.flags.add(flag)

    def set_preview_feature(self, feature: str, on: bool) -> None:
        self.shared_profile = on

    def clear_flag(self, flag: Any) -> None:
        self.flags.discard(flag)

    def add_optimization_profile(self, profile: Any) -> int:
        self.profiles.append(profile.shapes)
        return 0


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, name: str, least: Any, usual: Any, most: Any) -> None:
        self.shapes[name] = (least, usual, most)


class Layer:
    def __init__(self, kind: DataType) -> None:
        self._kind = kind
        self.precision: DataType | None = None
        self.output_type: DataType | None = None

    def get_output(self, index: int) -> Any:
        return SimpleNamespace(dtype=self._kind)

    def set_output_type(self, index: int, kind: DataType) -> None:
        self.output_type = kind


class Network:
    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.model = b""
        self.layers: list[Layer] = []

    def has(self, flag: str) -> bool:
        return bool(self.flags >> int(getattr(NetworkDefinitionCreationFlag, flag)) & 1)

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_layer(self, index: int) -> Layer:
        return self.layers[index]


class OnnxParser:
    def __init__(self, network: Network, logger: ILogger) -> None:
        self._network = network
        self._errors: list[str] = []

    def parse(self, data: bytes) -> bool:
        try:
            model = onnx.load_from_string(data)
        except Exception as error:
            self._errors.append(f"not ONNX: {error}")
            return False
        if _MAJOR < 10 and not self._network.has("EXPLICIT_BATCH"):
            self._errors.append("the network has an implicit batch")
            return False
        if model.opset_import[0].version > 17:
            self._errors.append("the opset is too new")
            return False
        self._network.model = data
        types = onnx.shape_inference.infer_shapes(model).graph.value_info
        kinds = {v.name: v.type.tensor_type.elem_type for v in types}
        for node in model.graph.node:
            kind = kinds.get(node.output[0], 0)
            self._network.layers.append(Layer(DataType(kind if kind in (1, 10) else 0)))
        return True

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> Any:
        return SimpleNamespace(desc=lambda: self._errors[index])


class Builder:
    def __init__(self, logger: Any) -> None:
        assert logger.made
        self._logger = logger

    def create_network(self, flags: int = 0) -> Network:
        return Network(flags)

    def create_builder_config(self) -> Config:
        return Config()

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
        form = form_of(network.model)
        complaint = self._complaint(network, config, form)
        _sabotage()
        if _FAULT == "none":
            complaint = "nothing comes to mind"
        if _FAULT.startswith("none-above:") and config.workspace > int(_FAULT.partition(":")[2]):
            complaint = "no tactic fits the workspace"
        if complaint:
            self._logger.log(ILogger.WARNING, "of no consequence")
            self._logger.log(ILogger.ERROR, complaint)
            return None
        (profile,) = config.profiles
        facts = {
            "version": __version__,
            "form": form,
            "wrong": _FAULT in ("wrong", f"wrong:{form}"),
            "sums": _FAULT == f"sums:{form}" and b"/fires" not in network.model,
            "most": profile["image"][2][0],
            "shared": config.shared_profile,
        }
        if log := os.environ.get("FAKE_TENSORRT_LOG"):
            with open(log, "a", encoding="utf-8") as file:
                file.write(json.dumps({**facts, "workspace": config.workspace}) + "\n")
        return json.dumps(facts).encode() + b"\n" + network.model

    def _complaint(self, network: Network, config: Config, form: str) -> str:
        if BuilderFlag.TF32 in config.flags:
            return "this test wants no TF32"
        weak = {flag for flag in config.flags if flag != BuilderFlag.TF32}
        if _MAJOR >= 11:
            return ""
        if _TYPED:
            if not network.has("STRONGLY_TYPED"):
                return "this test wants a strongly typed network"
            return "flags of precision in a strongly typed network" if weak else ""
        if form == "int8":
            return "" if weak == {BuilderFlag.INT8} else "Q/DQ without the flag INT8"
        if form == "fp32":
            return "lower precision is allowed" if weak else ""
        if weak != {BuilderFlag.FP16, BuilderFlag.OBEY_PRECISION_CONSTRAINTS}:
            return "float16 without its flags"
        kept = all(
            layer.precision is layer.output_type is layer.get_output(0).dtype
            for layer in network.layers
            if layer.get_output(0).dtype is not DataType.OTHER
        )
        return "" if kept else "a layer may change its precision"


def _sabotage() -> None:
    if _FAULT == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if _FAULT == "segv":
        ctypes.string_at(0)
    if _FAULT == "hang":
        with open(os.environ["FAKE_TENSORRT_LOG"], "a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(60)
    if _FAULT == "cut":
        os._exit(0)


class Runtime:
    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, data: bytes) -> Any:
        head, _, model = data.partition(b"\n")
        facts = json.loads(head)
        if facts["version"] != __version__:
            self._logger.log(ILogger.ERROR, "the engine is of another version")
            return None
        return Engine(facts, model)


class Engine:
    def __init__(self, facts: dict[str, Any], model: bytes) -> None:
        self.facts = facts
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )

        self.contexts = 0

    def create_execution_context(self) -> "Context":
        self.contexts += 1
        return Context(self)


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._shape: tuple[int, ...] = ()
        self._profile = engine.facts["shared"] or engine.contexts == 1
        self._at: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert 1 <= shape[0] <= self.engine.facts["most"]
        self._shape = shape
        return self._profile

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._at[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == 77
        if "execute" in runtime.faults:
            return False
        shape, at = self._shape, dict(self._at)
        runtime.enqueue(lambda: self._execute(shape, at))
        return True

    def _execute(self, shape: tuple[int, ...], at: dict[str, int]) -> None:
        facts, session = self.engine.facts, self.engine.session
        images = _seen(at["image"], shape, np.dtype(np.uint8))
        names = [output.name for output in session.get_outputs()]
        for name, result in zip(names, session.run(names, {"image": images}), strict=True):
            wrong = facts["wrong"] or (facts["sums"] and name == "readout/sum")
            if wrong:
                result = ~result if result.dtype == np.bool_ else result + 1
            _seen(at[name], result.shape, result.dtype)[:] = result
        if facts["form"] == os.environ.get("FAKE_TENSORRT_SLOW"):
            time.sleep(0.01)


def form_of(model: bytes) -> str:
    graph = onnx.load_from_string(model).graph
    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        return "int8"
    half = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in graph.initializer)
    return "fp16" if half else "fp32"


def _seen(address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    size = int(np.prod(shape)) * dtype.itemsize
    raw = (ctypes.c_uint8 * size).from_address(address)
    return np.ctypeslib.as_array(raw).view(dtype).reshape(shape)
