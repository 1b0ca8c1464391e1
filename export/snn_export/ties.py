"""The whole number below q θ, exactly. Floats would make of 127/13 · 13 what is not 127, and move
a current that equals its threshold to the other side.

    n = ⌊x⌋      n = ⌈x⌉ − 1  of neurons that fire at θ too      x = θ a / b + Σ r t

q = a / b, r what is left of the mean and t the sums of a channel's weights, a colour each. Floats
say it wherever x is not next to a whole number; there fractions do.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from snn_export.fold import Array

NEAR = 2.0**-44
"""How near a whole number is too near, as a share of the numbers that are added up: 500 times what
floats lose."""
FURTHEST = 2.0**26
"""Beyond it no current reaches, and a threshold is clipped."""


@dataclass(frozen=True, eq=False)
class Scale:
    """q of every channel, `[O]` each, as the quotient that it is."""

    numerator: Array
    denominator: Array

    @property
    def quotient(self) -> Array:
        return self.numerator / self.denominator

    @classmethod
    def of(cls, magnitude: Array, largest: int) -> "Scale":
        """L / max |w|. A channel without weights never changes: any scale will do. No float32 has
        weights of which that would be infinite."""
        there = magnitude > 2.0**-1000
        return cls(np.where(there, largest, 1.0), np.where(there, magnitude, 1.0))

    def where(self, kept: npt.NDArray[np.bool_], other: Array) -> "Scale":
        """The same where `kept`, elsewhere `other`."""
        numerator = np.where(kept, self.numerator, other)
        return Scale(numerator, np.where(kept, self.denominator, 1.0))


def whole_below(
    threshold: Array, closed: npt.NDArray[np.bool_], scale: Scale, rest: Array, taps: Array
) -> Array:
    """Return n, `[..., O, *positions]`.

    Args:
        threshold: θ, `[..., O]`.
        closed: whether neurons fire at θ too, `[...]`.
        scale: q.
        rest: r, a colour each.
        taps: t, `[colour, O, *positions]` or `[colour, 1]`.
    """
    column = (threshold.shape[-1], *(1,) * (taps.ndim - 2))
    scaled = (threshold * scale.quotient).reshape(*threshold.shape[:-1], *column)
    # A colour at a time, from whole sums: what is alike comes to the same bits.
    brought = sum((r * t for r, t in zip(rest, taps, strict=True)), np.zeros(taps.shape[1:]))
    exact = np.asarray(scaled + brought)
    closed = np.asarray(closed).reshape(*np.shape(closed), *(1,) * len(column))
    closed = np.broadcast_to(closed, exact.shape)
    below: Array = np.where(closed, np.ceil(exact) - 1, np.floor(exact))
    sizes = 1 + np.abs(scaled) + np.abs(rest) @ np.abs(taps).reshape(len(rest), -1).max(axis=1)
    near = (np.abs(exact - np.rint(exact)) < NEAR * sizes) & (np.abs(exact) < FURTHEST)
    fractions = tuple(Fraction(r) for r in rest.tolist())
    places = np.broadcast_to(taps, (len(rest), *exact.shape[exact.ndim - len(column) :]))
    for where in np.argwhere(near):
        at, position = tuple(where), tuple(where[exact.ndim - len(column) :])
        channel = position[0]
        own = float(threshold[(*at[: threshold.ndim - 1], channel)])
        quotient = (float(scale.numerator[channel]), float(scale.denominator[channel]))
        sums = tuple(places[(slice(None), *position)].tolist())
        below[at] = _decided(own, quotient, fractions, sums, bool(closed[at]))
    return below


@lru_cache(2**16)
def _decided(
    threshold: float,
    scale: tuple[float, float],
    rest: tuple[Fraction, ...],
    taps: tuple[float, ...],
    closed: bool,
) -> int:
    """n of one neuron."""
    value = Fraction(threshold) * Fraction(scale[0]) / Fraction(scale[1])
    value += sum((r * Fraction(t) for r, t in zip(rest, taps, strict=True)), Fraction(0))
    return math.ceil(value) - 1 if closed else math.floor(value)
