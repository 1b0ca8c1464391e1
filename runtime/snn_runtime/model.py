"""Model: a graph and the engine that runs it."""

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from snn_runtime.engines import Backend
from snn_runtime.errors import DeviceError, InputError, ModelError, UsageError, VerifyError
from snn_runtime.graph import SpikingGraph
from snn_runtime.machine.cores import thread_count
from snn_runtime.model_file import ModelFile, read_file
from snn_runtime.proof.agreement import logits_of, unexplained
from snn_runtime.proof.golden import golden_hash, golden_images, is_cheap

BACKENDS = ("event", "onnxruntime", "tensorrt")
ENGINES = {
    ("event", "cpu"): ("snn_runtime.engines.event.backend", "EventBackend"),
    ("onnxruntime", "cpu"): ("snn_runtime.engines.onnxruntime.backend", "OrtBackend"),
    ("tensorrt", "cuda"): ("snn_runtime.engines.tensorrt.backend", "TensorRtBackend"),
    ("onnxruntime", "cuda"): ("snn_runtime.engines.onnxruntime.gpu", "OrtCudaBackend"),
    ("onnxruntime", "tensorrt"): ("snn_runtime.engines.onnxruntime.gpu", "OrtTensorRtBackend"),
}
"""Where the class of each backend and kind of device lives, best first on every device; imported
when it is asked for and not before. `auto` takes the next where one is not here or does not take
the network. It stays on the CPU, where a network answers at once, unless a device is named."""
PRECISIONS = ("auto", "int8", "fp16", "fp32")
BUNDLED = "models/default.onnx"


@dataclass(frozen=True, eq=False)
class Model:
    """A network ready to label pictures."""

    graph: SpikingGraph
    golden: str
    """Hash of the spikes that the golden images must cause."""
    backend: Backend
    self_tested: bool = False
    """Whether the engine proved itself when it was loaded: see `load`."""

    def __reduce__(self) -> tuple[Callable[..., "Model"], tuple[object, ...]]:
        return _reopened, (self.graph, self.golden, self.backend, self.self_tested)

    @property
    def backend_name(self) -> str:
        return self.backend.name

    @property
    def engine(self) -> str:
        """The backend and how it runs here, for people: `event, avx512, 2 threads`."""
        return f"{self.backend.name}, {self.backend.details}"

    @property
    def labels(self) -> tuple[str, ...]:
        return self.graph.labels

    def predict(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return logits `[N, classes]` for uint8 RGB `[N, H, W, 3]`.

        Raises:
            InputError: `bad_array`, for any other shape or dtype.
        """
        size = (self.graph.image.height, self.graph.image.width, 3)
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
            kind = getattr(images, "dtype", type(images).__name__)
            raise InputError("bad_array", f"images are {kind}, expected a numpy array of uint8")
        if images.ndim != 4 or images.shape[1:] != size:
            raise InputError(
                "bad_array",
                f"images have shape {images.shape}, expected (N, {size[0]}, {size[1]}, 3)",
            )
        return self.backend.run(images)

    def self_test(self) -> None:
        """Prove that this engine on this machine computes what the file was verified to compute.

        Raises:
            VerifyError: `self_test`, naming the first population that differs.
        """
        images = golden_images(self.graph.image)
        spikes = self.backend.spikes(images)
        if self.graph.exact and golden_hash(spikes) == self.golden:
            # `spikes` may take another way through the engine than `run`: check what `run` makes.
            if (logits_of(self.graph, spikes) != self.predict(images)).any():
                raise self._failed("the logits do not follow from the spikes")
            return
        wrong = next(
            (name for name, count in unexplained(self.graph, images, spikes).items() if count), None
        )
        if wrong is not None:
            raise self._failed(f"population {wrong} does not spike as it must")
        if self.graph.exact:
            raise self._failed("the golden hash in the file belongs to other spikes")

    def _failed(self, why: str) -> VerifyError:
        return VerifyError("self_test", f"self-test failed on {self.engine}: {why}")


@dataclass(frozen=True)
class Choice:
    """Which engine somebody wants, and how it is to run."""

    backend: str = "auto"
    device: str = "auto"
    """`auto`, `cpu`, or `cuda` or `tensorrt`, which may name a GPU as in `cuda:1`."""
    precision: str = "auto"
    """Of TensorRT's arithmetic; every one gives the same spikes, or is not used."""
    threads: int | None = None
    """How many a CPU engine may use; None is `cores.usable`, which see."""

    def __post_init__(self) -> None:
        for what, value, choices in (
            ("backend", self.backend, ("auto", *BACKENDS)),
            ("precision", self.precision, PRECISIONS),
        ):
            if value not in choices:
                raise UsageError(
                    f"unknown_{what}", f"{what} is {value!r}, expected one of {', '.join(choices)}"
                )
        if not re.fullmatch(r"auto|cpu|(cuda|tensorrt)(:\d{1,3})?", self.device):
            raise UsageError(
                "unknown_device",
                f"device is {self.device!r}, expected auto, cpu, cuda, tensorrt or such as cuda:1",
            )
        if self.threads is not None:
            thread_count(self.threads)
        if not self.engines:
            raise UsageError(
                "bad_device", f"backend {self.backend} does not run on device {self.device}"
            )
        if self.threads is not None and any(place != "cpu" for _, place in self.engines):
            raise UsageError(
                "bad_threads", f"threads {self.threads} are for engines on the CPU, not on a GPU"
            )
        if self.precision != "auto" and any(name != "tensorrt" for name, _ in self.engines):
            raise UsageError(
                "bad_precision", f"precision {self.precision} is for --backend tensorrt only"
            )

    @property
    def engines(self) -> list[tuple[str, str]]:
        """What may be taken, best first: keys of `ENGINES`."""
        kind = self.device.partition(":")[0]
        if kind == "auto" and self.backend != "tensorrt":
            kind = "cpu"
        return [
            (name, place)
            for name, place in ENGINES
            if self.backend in ("auto", name) and kind in ("auto", place)
        ]

    @property
    def index(self) -> int:
        """Number of the GPU."""
        return int(self.device.partition(":")[2] or 0)


def load(
    path: Path | str | None = None,
    *,
    backend: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
) -> Model:
    """Read a model file and make it ready to run.

    The engine proves itself by the file's golden hash where that is cheap, on a GPU always. Where
    it did not, `Model.self_tested` is False, and `Model.self_test` is there.

    Args:
        path: None is the model that comes with the package.
        backend, device, precision, threads: see `Choice`.

    Raises:
        ModelError: The file is refused.
        UsageError: The choice makes no sense.
        DeviceError: The backend or device is not available here.
        VerifyError: `self_test`, the engine and the file do not agree.
    """
    choice = Choice(backend, device, precision, threads)
    file = read(path)
    model = Model(file.graph, file.golden, make_backend(file, choice))
    on_gpu = choice.device not in ("auto", "cpu") and file.graph.exact
    proven = model.backend.name == "tensorrt"  # or it would not be here
    return _proved(model) if proven or on_gpu or is_cheap(file.graph) else model


def read(path: Path | str | None) -> ModelFile:
    """Pass a model file through the gate; None is the model that comes with the package."""
    return _bundled() if path is None else read_file(Path(path))


def make_backend(file: ModelFile, choice: Choice) -> Backend:
    """Return the best engine of those that `choice` allows.

    Raises:
        DeviceError: None of them is available here, or takes the network.
    """
    refusals: list[DeviceError] = []
    for engine in choice.engines:
        try:
            return _made(engine, file, choice)
        except DeviceError as error:
            refusals.append(error)
    reasons = dict.fromkeys(error.message for error in refusals)
    raise DeviceError(refusals[-1].code, "; ".join(reasons))


def _proved(model: Model) -> Model:
    if model.backend.name != "tensorrt":  # which proves itself wherever it is opened
        model.self_test()
    return replace(model, self_tested=True)


def _reopened(graph: SpikingGraph, golden: str, backend: Backend, self_tested: bool) -> Model:
    """A copy, whose engine is a new one and perhaps on another machine."""
    model = Model(graph, golden, backend)
    return _proved(model) if self_tested else model


def _bundled() -> ModelFile:
    resource = resources.files("snn_runtime").joinpath(BUNDLED)
    if not resource.is_file():
        raise ModelError("unreadable", "this installation has no bundled model; name a model.onnx")
    return read_file(resource.read_bytes())


def _made(engine: tuple[str, str], file: ModelFile, choice: Choice) -> Backend:
    module, factory = ENGINES[engine]
    name, place = engine
    try:
        make: Callable[..., Backend] = getattr(importlib.import_module(module), factory)
    except ImportError as error:
        raise DeviceError(
            "backend_unavailable", f"backend {name} is not installed here: {error}"
        ) from error
    if place == "cpu":
        return make(file.graph, threads=choice.threads)
    if name == "tensorrt":
        # It proves itself before its engine is first used, so it needs to know what is right.
        return make(file.graph, golden=file.golden, index=choice.index, precision=choice.precision)
    return make(file.graph, index=choice.index)
