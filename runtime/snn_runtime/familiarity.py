"""Whether a picture is like those that a network was trained on: by how often its neurons fire.

    d = mean over populations of  mean over channels of  |n − μ| / σ

n are a channel's spikes for one picture, μ and σ their mean and deviation over validation pictures,
where σ is at least ½ spike. A picture farther away than nearly all of those is unlike anything in
training, whatever the logits say: networks call noise something, and surely.

Its bits are the same on every machine: sums are added up from the left.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Counts: TypeAlias = npt.NDArray[np.int64]
Numbers: TypeAlias = npt.NDArray[np.float64]
Row: TypeAlias = tuple[float, ...]


@dataclass(frozen=True)
class Familiarity:
    """What a model file knows of the spikes of validation pictures."""

    farthest: float
    """The largest d of a picture that counts as like them."""
    usual: tuple[tuple[str, Row, Row], ...]
    """Name of a population, μ and σ of each of its channels."""

    def distances(self, counts: Mapping[str, Counts]) -> Numbers:
        """Return d `[N]` for the spikes of every channel, `[N, C]` a population."""
        total = np.zeros(len(next(iter(counts.values()))))
        for name, mean, deviation in self.usual:
            off = np.abs(counts[name] - np.array(mean)) / np.array(deviation)
            total += np.add.accumulate(off, axis=1)[:, -1] / off.shape[1]
        return total / len(self.usual)

    def record(self) -> dict[str, Any]:
        """What a model file says of it."""
        usual = {name: [list(mean), list(deviation)] for name, mean, deviation in self.usual}
        return {"farthest": self.farthest, "usual": usual}

    @classmethod
    def of(cls, record: object) -> "Familiarity":
        """The inverse of `record`.

        Raises:
            ValueError: it is not one.
        """
        if not isinstance(record, Mapping) or set(record) != {"farthest", "usual"}:
            raise ValueError("familiarity: expected farthest, usual")
        usual = record["usual"]
        if not isinstance(usual, Mapping) or not all(map(_is_pair, usual.values())):
            raise ValueError("familiarity: expected two lists of numbers a population")
        rows = tuple((name, tuple(pair[0]), tuple(pair[1])) for name, pair in usual.items())
        return cls(record["farthest"], rows)

    def check(self, channels: Mapping[str, int]) -> None:
        """Raises: ValueError: it is not about populations of these channels, or no distance."""
        if not isinstance(self.farthest, float) or not 0 < self.farthest < math.inf:
            raise ValueError(f"familiarity: farthest is {self.farthest!r:.40}, expected above 0")
        given = {name: len(mean) for name, mean, _ in self.usual}
        if given != channels or any(len(mean) != len(sigma) for _, mean, sigma in self.usual):
            raise ValueError("familiarity: expected two numbers for each channel of the network")
        if not all(0 <= x < 1e12 for _, mean, _ in self.usual for x in mean):
            raise ValueError("familiarity: a mean is not from 0 to 1e12")
        if not all(0.5 <= x < 1e12 for _, _, sigma in self.usual for x in sigma):
            raise ValueError("familiarity: a deviation is not from 0.5 to 1e12")


def channel_counts(spikes: Mapping[str, npt.NDArray[Any]]) -> dict[str, Counts]:
    """Return the spikes of every channel, `[N, C]`, of those of every neuron, `[N, C, …]`."""
    return {
        name: np.einsum("ncp->nc", sent.reshape(*sent.shape[:2], -1).view(np.uint8), dtype=np.int64)
        for name, sent in spikes.items()
    }


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(row, list) and all(isinstance(x, float) for x in row) for row in value)
    )
