"""Engines that compute all neurons: they show spikes where the network has more outputs."""

from abc import abstractmethod

import numpy as np
import numpy.typing as npt

from snn_runtime.calibration import Numbers
from snn_runtime.engines import LARGEST_BATCH
from snn_runtime.engines.lifetime import Reopened
from snn_runtime.graph import FloatArray
from snn_runtime.graph.reference import Counts, Spikes, channel_counts


class Watched(Reopened):
    """Base of their backends."""

    @abstractmethod
    def run(self, images: npt.NDArray[np.uint8]) -> FloatArray: ...

    @abstractmethod
    def _watch(self, images: npt.NDArray[np.uint8]) -> tuple[FloatArray, dict[str, Spikes]]:
        """Return logits and the spikes of all populations, of one pass."""

    def spikes(self, images: npt.NDArray[np.uint8]) -> dict[str, Spikes]:
        return self._watch(images)[1]

    def observe(self, images: npt.NDArray[np.uint8]) -> tuple[FloatArray, Numbers | None]:
        known = self._graph.calibration.familiarity
        if known is None:
            return self.run(images), None
        logits, counts = self.count(images)
        return logits, known.distances(counts)

    def count(self, images: npt.NDArray[np.uint8]) -> tuple[FloatArray, Counts]:
        parts = []  # of few pictures each, for a byte a neuron is much memory
        for start in range(0, max(1, len(images)), LARGEST_BATCH):
            part = images[start : start + LARGEST_BATCH]
            logits, spikes = self._watch(part)
            # With more outputs floats may be added in another order.
            parts.append((logits if self._graph.exact else self.run(part), channel_counts(spikes)))
        logits, counts = map(np.concatenate, zip(*parts, strict=True))
        return logits, counts
