"""Model: a graph and the engine that runs it."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from snn_runtime.agreement import logits_of, unexplained
from snn_runtime.backends import Backend
from snn_runtime.errors import DeviceError, InputError, ModelError, UsageError, VerifyError
from snn_runtime.golden import golden_hash, golden_images
from snn_runtime.graph import SpikingGraph
from snn_runtime.onnx_file import ModelFile, read_file

BACKENDS = {
    "event": ("snn_runtime.backends.event", "EventBackend"),
    "onnxruntime": ("snn_runtime.backends.ort", "OrtBackend"),
}
"""Where the class of each backend lives; imported when it is asked for and not before."""
AUTO = ("event", "onnxruntime")
"""What `auto` tries, best first: the next where one is not here or does not take the network."""
BUNDLED = "models/default.onnx"


@dataclass(frozen=True, eq=False)
class Model:
    """A network ready to label pictures."""

    graph: SpikingGraph
    golden: str
    """Hash of the spikes that the golden images must cause."""
    backend: Backend

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


def load(
    path: Path | str | None = None, *, backend: str = "auto", threads: int | None = None
) -> Model:
    """Read a model file and make it ready to run.

    Args:
        path: None is the model that comes with the package.
        backend: `auto` or one of `BACKENDS`.
        threads: How many the engine may use; None is all this process may.

    Raises:
        ModelError: The file is refused.
        UsageError: `backend` or `threads` makes no sense.
        DeviceError: The backend is not available here.
    """
    if backend != "auto" and backend not in BACKENDS:
        choices = ", ".join(("auto", *BACKENDS))
        raise UsageError("unknown_backend", f"backend is {backend!r}, expected one of {choices}")
    if threads is not None and threads < 1:
        raise UsageError("bad_threads", f"threads is {threads}, expected at least 1")
    file = _bundled() if path is None else read_file(Path(path))
    return Model(file.graph, file.golden, _engine(file.graph, backend, threads))


def _bundled() -> ModelFile:
    resource = resources.files("snn_runtime").joinpath(BUNDLED)
    if not resource.is_file():
        raise ModelError("unreadable", "this installation has no bundled model; name a model.onnx")
    return read_file(resource.read_bytes())


def _engine(graph: SpikingGraph, backend: str, threads: int | None) -> Backend:
    names = AUTO if backend == "auto" else (backend,)
    refusals: list[DeviceError] = []
    for name in names:
        try:
            return _made(name, graph, threads)
        except DeviceError as error:
            refusals.append(error)
    raise refusals[-1]


def _made(name: str, graph: SpikingGraph, threads: int | None) -> Backend:
    module, factory = BACKENDS[name]
    try:
        make: Callable[..., Backend] = getattr(importlib.import_module(module), factory)
    except ImportError as error:
        raise DeviceError(
            "backend_unavailable", f"backend {name} is not installed here: {error}"
        ) from error
    return make(graph, threads=threads)
