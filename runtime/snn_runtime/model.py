"""Model: a graph and the engine that runs it; pictures in, labels out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from snn_runtime.answer import UNSURE_BELOW, Answer, answers_of
from snn_runtime.calibration import Numbers
from snn_runtime.engines import Backend
from snn_runtime.engines.choice import BackendName, Choice, Precision, make_backend
from snn_runtime.errors import InputError, ModelError
from snn_runtime.graph import FloatArray, SpikingGraph
from snn_runtime.graph.reference import Spikes
from snn_runtime.image import DEFAULT_LIMITS, Colour, Limits, Picture, Pixels, Prepared, prepare
from snn_runtime.image.prepare import PictureFile, check_batch, is_batch
from snn_runtime.model_file import ModelFile, read_file
from snn_runtime.proof.golden import is_cheap
from snn_runtime.proof.self_test import self_test

BUNDLED = "models/default.onnx"


@dataclass(frozen=True, eq=False, repr=False)
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
    def engine(self) -> str:
        """The backend and how it runs here, for people: `event, avx512, 2 threads`."""
        return f"{self.backend.name}, {self.backend.details}"

    @property
    def labels(self) -> tuple[str, ...]:
        return self.graph.labels

    def logits(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return logits `[N, classes]` for images of its own size, uint8 RGB `[N, H, W, 3]`.

        Raises:
            InputError: `bad_array`, for any other shape or dtype.
        """
        self._check(images)
        return self.backend.run(images)

    def observe(self, images: npt.NDArray[np.uint8]) -> tuple[FloatArray, Numbers | None]:
        """Return `logits`, and how far the pictures are from those in training, `[N]`; None where
        the file does not know."""
        self._check(images)
        return self.backend.observe(images)

    def _check(self, images: npt.NDArray[np.uint8]) -> None:
        check_batch(images, self.graph.image.height, self.graph.image.width)

    def predict(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """The same as `logits`, under the name of earlier versions."""
        return self.logits(images)

    @overload
    def classify(  # type: ignore[overload-overlap]  # to mypy a path is a sequence of paths
        self, picture: PictureFile, *, colour: Colour = ..., limits: Limits = ...
    ) -> Answer: ...

    @overload
    def classify(
        self, picture: Sequence[Picture], *, colour: Colour = ..., limits: Limits = ...
    ) -> list[Answer]: ...

    @overload
    def classify(
        self, picture: npt.NDArray[np.uint8], *, colour: Colour = ..., limits: Limits = ...
    ) -> Any: ...

    def classify(
        self, picture: Any, *, colour: Colour = "rgb", limits: Limits = DEFAULT_LIMITS
    ) -> Answer | list[Answer]:
        """Label a picture, or several: what `snn-infer` does. A path, bytes or a file give the same
        pixels; what another library decoded may differ, for a JPEG far too large is decoded at a
        reduced size here.

        Args:
            picture: A path, the bytes of a file, an open binary file, a PIL image, or a uint8 array
                `[H, W, 3]`, of any size. A list of these, or an array `[N, H, W, 3]`, gives a list.
            colour: Order of an array's channels: OpenCV's are `bgr`.
            limits: What a picture may cost before it is refused.

        Raises:
            InputError: A picture cannot be used; the message names it, and of a list its place.
        """
        if not is_batch(picture):
            return self.answers([self.prepare(picture, colour=colour, limits=limits)])[0]
        prepared = []
        for place, each in enumerate(picture):
            try:
                prepared.append(self.prepare(each, colour=colour, limits=limits))
            except InputError as error:
                raise InputError(error.code, f"picture {place}: {error.message}") from error
        return self.answers(prepared)

    def prepare(
        self, picture: Picture, *, colour: Colour = "rgb", limits: Limits = DEFAULT_LIMITS
    ) -> Prepared:
        """Return one picture as the network takes it, and the warnings about it: the first half of
        `classify`, for programs that do the second in another thread.

        Raises:
            InputError: It cannot be used; the message begins with the path, where it is one.
        """
        image = self.graph.image
        return prepare(picture, image.height, image.width, image.fit, colour=colour, limits=limits)

    def answers(
        self,
        prepared: Sequence[Prepared],
        *,
        top: int | None = None,
        threshold: float = UNSURE_BELOW,
    ) -> list[Answer]:
        """Label what `prepare` returned, all in one batch: the second half of `classify`.

        Args:
            top: how many of the most probable classes an answer holds; None is all.
            threshold: probability under which an answer counts as unsure.
        """
        if not prepared:
            return []
        images, warnings = zip(*prepared, strict=True)
        logits, distances = self.observe(np.stack(images))
        known, far = self.graph.calibration, distances
        return answers_of(logits, self.labels, known, warnings, top, threshold, distances=far)

    def spikes(self, picture: Picture, *, colour: Colour = "rgb") -> dict[str, Spikes]:
        """Return which neurons fire for one picture: bool, `[C, H, W]` or `[O]` a population. Of
        neurons with several thresholds, how many spikes each sends: uint8."""
        image, _ = self.prepare(picture, colour=colour)
        spikes = self.backend.spikes(image[np.newaxis])
        return {
            node.name: spikes[node.name][0].astype(np.bool_ if node.levels == 1 else np.uint8)
            for node in self.graph.populations
        }

    def __enter__(self) -> "Model":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to be closed: an engine goes with the last reference to its model."""

    def __repr__(self) -> str:
        size = f"{self.graph.image.height}x{self.graph.image.width}"
        return f"<Model {size}, {len(self.labels)} classes, {self.engine}>"

    def self_test(self) -> None:
        """Prove that this engine on this machine computes what the file was verified to compute.

        Raises:
            VerifyError: `self_test`, naming the first population that differs; `golden_hash`: the
                engine is right and the hash in the file is not.
        """
        self_test(self.graph, self.golden, self.engine, self.backend.spikes, self.logits)


def load(
    path: Path | str | None = None,
    *,
    backend: BackendName = "auto",
    device: str = "auto",
    precision: Precision = "auto",
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
        VerifyError: `self_test` or `golden_hash`, the engine and the file do not agree.
    """
    choice = Choice(backend, device, precision, threads)
    file = read_model_file(path)
    model = Model(file.graph, file.golden, make_backend(file, choice))
    on_gpu = choice.device not in ("auto", "cpu") and file.graph.exact
    proven = model.backend.name == "tensorrt"  # or it would not be here
    return _proved(model) if proven or on_gpu or is_cheap(file.graph) else model


def read_model_file(path: Path | str | None) -> ModelFile:
    """Pass a model file through the gate; None is the model that comes with the package."""
    return _bundled() if path is None else read_file(Path(path))


def read_image(
    picture: Picture, model: Model, *, colour: Colour = "rgb", limits: Limits = DEFAULT_LIMITS
) -> Pixels:
    """Return a picture as `model` sees it, uint8 RGB `[height, width, 3]`: see `Model.classify`.

    Raises:
        InputError: It cannot be used.
    """
    return model.prepare(picture, colour=colour, limits=limits)[0]


def _bundled() -> ModelFile:
    resource = resources.files("snn_runtime").joinpath(BUNDLED)
    if not resource.is_file():
        raise ModelError("unreadable", "this installation has no bundled model; name a model.onnx")
    return read_file(resource.read_bytes())


def _proved(model: Model) -> Model:
    if model.backend.name != "tensorrt":  # which proves itself wherever it is opened
        model.self_test()
    return replace(model, self_tested=True)


def _reopened(graph: SpikingGraph, golden: str, backend: Backend, self_tested: bool) -> Model:
    """A copy, whose engine is a new one and perhaps on another machine."""
    model = Model(graph, golden, backend)
    return _proved(model) if self_tested else model
