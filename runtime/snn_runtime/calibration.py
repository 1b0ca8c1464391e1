"""What makes a probability out of logits, and what it is worth: fitted by export-snn.

    q = softmax(z / T)        p_k = max(q_k − f, f / 100) / Σ_j max(q_j − f, f / 100)

T is the temperature of Guo et al. (2017), https://arxiv.org/abs/1706.04599. f undoes label
smoothing: a network that was taught (1 − ε) y + ε / K for K classes never gives any of them less
than about f = ε / K. No class overtakes another. Without calibration T is 1 and f is 0.

Logits are the same bits on every machine. So are probabilities: they are made by additions,
multiplications and divisions of float64 alone, in an order that no library chooses.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_runtime.familiarity import Familiarity

Probabilities = npt.NDArray[np.float64]

_LOG2E = 1.4426950408889634
_LN2 = (6.93147180369123816490e-01, 1.90821492927058770002e-10)
"""ln 2 in two parts; a small whole number times the first is exact."""
_SERIES = [1 / math.factorial(n) for n in range(13, -1, -1)]
_SMALLEST = -800.0
"""e to this is 0 in float64."""


@dataclass(frozen=True)
class Calibration:
    """The numbers that a model file holds of it."""

    temperature: float = 1.0
    """T, above 0."""
    floor: float = 0.0
    """f, from 0 to below 1 / K."""
    familiarity: Familiarity | None = None
    """What tells pictures that are like nothing in training."""

    def probabilities(self, logits: npt.NDArray[np.float32]) -> Probabilities:
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


def exponential(x: Probabilities) -> Probabilities:
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


def _shares(weights: Probabilities) -> Probabilities:
    """Divide each row by its sum, added up from the left."""
    total: Probabilities = np.add.accumulate(weights, axis=1)[:, -1:]
    return np.asarray(weights / total)
