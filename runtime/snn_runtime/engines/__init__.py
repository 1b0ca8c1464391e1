"""Engines that run a SpikingGraph: one module each, one protocol for all.

Every engine must agree with `reference` spike for spike; `Model.self_test` proves it where it runs.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from snn_runtime.graph.reference import Spikes

__all__ = ["Backend"]


class Backend(Protocol):
    """A graph made ready to run. The caller has checked the shape and dtype of the images."""

    @property
    def name(self) -> str:
        """What actually runs, as commands report it."""
        ...

    @property
    def details(self) -> str:
        """How it runs here: `avx512, 2 threads`."""
        ...

    def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 `[N, H, W, 3]` to logits `[N, classes]`, each image as if it were alone."""
        ...

    def spikes(self, images: npt.NDArray[np.uint8]) -> dict[str, Spikes]:
        """What every population sends, in graph order: for verification, not for speed."""
        ...
