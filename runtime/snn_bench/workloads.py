"""What is measured: a given model, or synthetic networks at requested rates."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from snn_bench.rates import at_rate
from snn_bench.scenes import folder_scenes
from snn_bench.topology import Design, build
from snn_runtime.graph import Image, SpikingGraph
from snn_runtime.image.scenes import random_scenes
from snn_runtime.model import BUNDLED
from snn_runtime.model_file import read

IMAGES = 256
"""Different images, cycled through: a branch predictor learns a few, which flatters us."""
LARGE_IMAGES = 4
"""Different images of 224 pixels: about as many pixels, which are held at once for thresholds."""
LARGE_SIDE = 128


@dataclass(frozen=True, eq=False)
class Workload:
    """A network and its input images."""

    network: str
    """Name in reports."""
    rate: float | None
    """Requested spike rate; None for a given model."""
    graph: SpikingGraph
    images: npt.NDArray[np.uint8]
    """`[N, H, W, 3]`"""
    path: Path | None = None
    """The model's file where there is one already."""


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for one network's models, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="snn-bench-") as name:
        yield Path(name)


def given(model: Path | None, images: Path | None) -> Workload:
    """A model file, or the bundled one, on the pictures of a folder, or on random scenes.

    Raises:
        ModelError: The file is refused.
        InputError: The folder has no picture, or one that cannot be used.
    """
    path = model or Path(str(resources.files("snn_runtime").joinpath(BUNDLED)))
    graph = read(path)
    name = str(path) if model else "bundled model"
    return Workload(name, None, graph, pictures(graph.image, images), path)


def synthetic(design: Design, rates: Sequence[float], images: Path | None) -> Iterator[Workload]:
    """The network once for every rate (0 to 1), on the same pictures."""
    for rate in rates:
        graph = build(design, rate)
        scenes = pictures(graph.image, images)
        yield Workload(design.name, rate, at_rate(graph, scenes, rate), scenes)


def pictures(image: Image, folder: Path | None) -> npt.NDArray[np.uint8]:
    """uint8 `[N, H, W, 3]`: a folder's, or random scenes, always the same.

    Raises:
        InputError: The folder has no picture, or one that cannot be used.
    """
    count = IMAGES if max(image.height, image.width) < LARGE_SIDE else LARGE_IMAGES
    if folder is not None:
        return folder_scenes(image, folder, count)
    return random_scenes(image.height, image.width, count)
