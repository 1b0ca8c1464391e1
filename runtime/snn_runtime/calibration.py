"""What an answer is worth: how probable it is, and whether the picture is like those in training.
Fitted by export-snn on validation pictures.

    q = softmax(z / T)        p_k = max(q_k − f, f / 100) / Σ_j max(q_j − f, f / 100)

T is the temperature of Guo et al. (2017), https://arxiv.org/abs/1706.04599. f undoes label
smoothing: a network that was taught (1 − ε) y + ε / K for K classes never gives any of them less
than about f = ε / K. No class overtakes another. Without calibration T is 1 and f is 0.

A picture is as far from those in training as its channels fire unusually often:

    d = mean over populations of  mean over channels of  |n − μ| / σ

n are a channel's spikes for it, μ and σ their mean and deviation over validation pictures, where σ
is at least ½ spike. One farther away than nearly all of those is unlike anything in training,
whatever the logits say: networks call noise something, and surely.

Logits and spikes are the same on every machine. So are the bits of probabilities and distances.
Probabilities are made by additions, multiplications and divisions of float64 alone, in an order
that no library chooses. The terms of d are rounded to steps of 2^-30: their sum is exact in any
order, up to 2^23.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Numbers: TypeAlias = npt.NDArray[np.float64]
Row: TypeAlias = tuple[float, ...]

_LOG2E = 1.4426950408889634
_LN2 = (6.93147180369123816490e-01, 1.90821492927058770002e-10)
"""ln 2 in two parts; a small whole number times the first is exact."""
_SERIES = [1 / math.factorial(n) for n in range(13, -1, -1)]
_SMALLEST = -800.0
"""e to this is 0 in float64."""
_STEPS = 2.0**30
"""Of distances, in 1."""


@dataclass(frozen=True)
class Familiarity:
    """What a model file knows of the spikes of validation pictures."""

    farthest: float
    """The largest d of a picture that counts as like them."""
    usual: tuple[tuple[str, Row, Row], ...]
    """Name of a population, μ and σ of each of its channels; in the order of the network."""

    def distances(self, counts: npt.NDArray[np.int64]) -> Numbers:
        """Return d `[N]` for the spikes of every channel, `[N, channels of all populations]`."""
        mean, weight = self.per_channel
        terms = counts - mean
        np.abs(terms, out=terms)
        terms *= weight
        terms *= _STEPS
        np.rint(terms, out=terms)
        return np.asarray(np.add.reduce(terms, 1) / _STEPS)

    @cached_property
    def per_channel(self) -> tuple[Numbers, Numbers]:
        """μ of every channel, and what 1 in |n − μ| adds to d."""
        mean = np.concatenate([np.array(row) for _, row, _ in self.usual])
        sizes = (np.array(row) * len(row) * len(self.usual) for _, _, row in self.usual)
        return mean, 1 / np.concatenate(list(sizes))

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
        given = [(name, len(mean)) for name, mean, _ in self.usual]
        pairs = all(len(mean) == len(sigma) for _, mean, sigma in self.usual)
        if given != list(channels.items()) or not pairs:
            raise ValueError(
                "familiarity: expected two numbers for each channel of the network, in its order"
            )
        if not all(0 <= x < 1e12 for _, mean, _ in self.usual for x in mean):
            raise ValueError("familiarity: a mean is not from 0 to 1e12")
        if not all(0.5 <= x < 1e12 for _, _, sigma in self.usual for x in sigma):
            raise ValueError("familiarity: a deviation is not from 0.5 to 1e12")


@dataclass(frozen=True)
class Calibration:
    """The numbers that a model file holds of it."""

    temperature: float = 1.0
    """T, above 0."""
    floor: float = 0.0
    """f, from 0 to below 1 / K."""
    familiarity: Familiarity | None = None
    """What tells pictures that are like nothing in training."""

    def probabilities(self, logits: npt.NDArray[np.float32]) -> Numbers:
        """Return p `[N, K]` for logits `[N, K]`."""
        z = logits.astype(np.float64)
        z -= z.max(1, keepdims=True)
        q = _shares(exponential(z / self.temperature))
        return _shares(np.maximum(q - self.floor, self.floor / 100)) if self.floor else q

    @property
    def schema(self) -> int:
        """The first version of model.onnx that has it."""
        return 1 if self == UNCALIBRATED else 5

    def record(self) -> dict[str, Any]:
        """What a model file says of it."""
        numbers = {"temperature": self.temperature, "floor": self.floor}
        known = self.familiarity
        return numbers if known is None else {**numbers, "familiarity": known.record()}

    @classmethod
    def of(cls, record: object) -> "Calibration":
        """The inverse of `record`.

        Raises:
            ValueError: it is not one.
        """
        if not isinstance(record, Mapping):
            raise ValueError("expected an object")
        fields = {key: value for key, value in record.items() if key != "familiarity"}
        if set(fields) != {"temperature", "floor"}:
            raise ValueError("expected temperature, floor")
        if not all(isinstance(x, float) and math.isfinite(x) for x in fields.values()):
            raise ValueError("expected finite numbers")
        known = Familiarity.of(record["familiarity"]) if "familiarity" in record else None
        return cls(**fields, familiarity=known)

    def check(self, classes: int, channels: Mapping[str, int]) -> None:
        """Raise ValueError unless it fits a network.

        Args:
            channels: of its populations, by name.
        """
        if self.familiarity is not None:
            self.familiarity.check(channels)
        if not 1e-6 <= self.temperature <= 1e6:
            raise ValueError(f"temperature is {self.temperature}, expected 1e-6 to 1e6")
        if not 0 <= self.floor < 1 / classes:
            raise ValueError(f"floor is {self.floor}, expected 0 to below 1/{classes}")


UNCALIBRATED = Calibration()
"""That of a file which says nothing."""


def exponential(x: Numbers) -> Numbers:
    """Return e^x for x ≤ 0 within two units of the last place.

    e^x = 2^k e^r,  k = round(x / ln 2),  e^r = Σ r^n / n!  for |r| ≤ ln 2 / 2

    numpy's own differs from processor to processor in the last place.
    """
    x = np.maximum(x, _SMALLEST)
    k = np.rint(x * _LOG2E)
    r = x - k * _LN2[0] - k * _LN2[1]
    series = np.full_like(r, _SERIES[0])
    for coefficient in _SERIES[1:]:
        series *= r
        series += coefficient
    return np.ldexp(series, k.astype(np.int32))


def _shares(weights: Numbers) -> Numbers:
    """Divide each row by its sum, added up from the left."""
    total: Numbers = np.add.accumulate(weights, axis=1)[:, -1:]
    return np.asarray(weights / total)


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(row, list) and all(isinstance(x, float) for x in row) for row in value)
    )
