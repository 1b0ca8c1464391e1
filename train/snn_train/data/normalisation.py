"""Pixels to what a network sees: (x − m)/σ with an integer m per colour.

An integer, so that the exported graph can subtract exactly what training subtracted, and zero
padding means the same in both.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Normalisation:
    """x ↦ (x − offset)/deviation, per colour, in units of uint8 pixels."""

    offset: tuple[int, int, int]
    deviation: tuple[float, float, float]

    @classmethod
    def of(cls, images: Tensor) -> "Normalisation":
        """Measure uint8 images `(N, H, W, 3)`; a colour that never varies gets deviation 1."""
        pixels = images.reshape(-1, 3)
        # float64 over chunks: the sums of a large data set exceed what float32 can count.
        total = torch.zeros(2, 3, dtype=torch.float64, device=images.device)
        for chunk in torch.split(pixels, 2**22):
            values = chunk.double()
            total += torch.stack([values.sum(0), values.square().sum(0)])
        mean, square = (total / len(pixels)).tolist()
        offset = [round(m) for m in mean]
        deviation = [max(s - m * m, 0.0) ** 0.5 or 1.0 for m, s in zip(mean, square, strict=True)]
        return cls((offset[0], offset[1], offset[2]), (deviation[0], deviation[1], deviation[2]))

    @classmethod
    def described(cls, offset: object, deviation: object) -> "Normalisation":
        """Return that of a checkpoint.

        Raises:
            ValueError: these are not three grey levels and three deviations.
        """
        offsets, deviations = _three("offset", offset), _three("deviation", deviation)
        if any(o % 1 or not 0 <= o <= 255 for o in offsets):
            raise ValueError(f"offset is {offset!r:.60}, expected three whole grey levels")
        if any(not 0 < d < math.inf for d in deviations):
            raise ValueError(f"deviation is {deviation!r:.60}, expected three numbers above 0")
        red, green, blue = map(int, offsets)
        return cls((red, green, blue), deviations)

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 `(B, 3, H, W)`, channels last in memory, for uint8 `(B, H, W, 3)`."""
        offset = torch.tensor(self.offset, dtype=torch.float32, device=images.device)
        deviation = torch.tensor(self.deviation, dtype=torch.float32, device=images.device)
        return ((images - offset) / deviation).permute(0, 3, 1, 2)


def _three(what: str, values: object) -> tuple[float, float, float]:
    if isinstance(values, list | tuple) and len(values) == 3:
        if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
            return values[0], values[1], values[2]
    raise ValueError(f"{what} is {values!r:.60}, expected three numbers")
