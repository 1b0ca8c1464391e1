"""Engines that run a SpikingGraph: a folder each, one protocol for all.

Every engine must agree with `reference` spike for spike; `Model.self_test` proves it where it runs.

choice                 which engine is taken
lifetime, watched      bases of engines: copies and forks; spikes as further outputs
cache, cache_files     engines that are kept between runs
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from snn_runtime.calibration import Numbers
from snn_runtime.graph.reference import Counts, Spikes

__all__ = ["LARGEST_BATCH", "Backend"]

LARGEST_BATCH = 32
"""Images that `snn-infer` labels at once, and the largest batch of an engine on a GPU."""


class Backend(Protocol):
    """A graph made ready to run. The caller has checked the shape and dtype of the images."""

    @property
    def name(self) -> str:
        """Name of the backend, as commands report it."""
        ...

    @property
    def details(self) -> str:
        """How it runs here: `avx512, 2 threads`."""
        ...

    def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 `[N, H, W, 3]` to logits `[N, classes]`, each image as if it were alone."""
        ...

    def observe(
        self, images: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], Numbers | None]:
        """The same logits, and how far the images are from those in training, `[N]`: see
        `calibration`; None where the graph does not know."""
        ...

    def count(self, images: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], Counts]:
        """The same logits, and how many spikes each channel sent for each image."""
        ...

    def spikes(self, images: npt.NDArray[np.uint8]) -> dict[str, Spikes]:
        """The spikes of every population, in graph order: for verification, not for speed."""
        ...
