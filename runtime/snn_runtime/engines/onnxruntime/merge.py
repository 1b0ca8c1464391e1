"""Several projections into one population as a single convolution: one sum, one comparison.

    Σ_i W_i ∗ s_i  =  [W_1 0…0 | W_2 0…0 | …] ∗ [s_1 | s_2 | …]

Sources are put side by side along their channels, and kernels are set into a common frame of zeros
where every kernel meets the pixels it met alone. A group becomes a block of a dense kernel, and a
strided 1×1 kernel an unstrided one on every stride-th pixel. What cannot be aligned is left to
the caller.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from snn_runtime.graph import Projection, Shape, Weights
from snn_runtime.graph.projection import ungrouped

Pair = tuple[int, int]

PAYS = 2
"""The most work, as a multiple of the separate kernels', at which one kernel still pays."""


@dataclass(frozen=True, eq=False)
class Merged:
    """One convolution or dense product that sums all projections of a population."""

    sources: tuple[str, ...]
    """To be joined along the channels, or, for a dense product, flattened first."""
    every: tuple[Pair, ...]
    """For each source: which rows and columns are kept, (1, 1) being all."""
    weight: Weights
    """`[O, ΣI/groups, kh, kw]`, or dense `[O, ΣI]`."""
    stride: Pair
    pads: tuple[int, int, int, int]
    """Top, left, bottom, right."""
    groups: int


def merge(
    projections: Sequence[Projection], shapes: Mapping[str, Shape], out: Shape
) -> Merged | None:
    """Return one projection for all, or None where their geometry or the cost forbids it.

    Args:
        projections: All into one population, which is of shape `out`.
        shapes: Of the sources, per example.
        out: `(O, H, W)` or `(O,)`.
    """
    sources = tuple(p.source for p in projections)
    every: tuple[Pair, ...] = ((1, 1),) * len(projections)
    first = projections[0]
    if first.weight.ndim == 2:
        weight = np.concatenate([p.weight for p in projections], axis=1)
        return Merged(sources, every, weight, (1, 1), (0, 0, 0, 0), 1)
    if len(projections) == 1:
        return Merged(sources, every, first.weight, first.stride, first.padding * 2, first.groups)
    sizes = [shapes[source][1:] for source in sources]
    if len({p.stride for p in projections}) > 1:
        every = tuple(p.stride if p.weight.shape[2:] == (1, 1) else (1, 1) for p in projections)
        sizes = [_kept(size, steps) for size, steps in zip(sizes, every, strict=True)]
        projections = [
            replace(p, stride=(1, 1)) if p.weight.shape[2:] == (1, 1) else p for p in projections
        ]
    if len({p.stride for p in projections}) > 1 or len(set(sizes)) > 1:
        return None
    return _framed(projections, sources, every, sizes[0], out)


def in_one_group(projection: Projection) -> Projection:
    """The same projection in one group."""
    if projection.groups == 1 or projection.weight.ndim == 2:
        return projection
    return replace(projection, weight=ungrouped(projection.weight, projection.groups), groups=1)


def six_planes(projection: Projection) -> Projection:
    """For x and m beside each other, weights w and −w; as −127 ≤ w ≤ 127, −w is an int8 too."""
    whole = in_one_group(projection)
    return replace(whole, weight=np.concatenate([whole.weight, -whole.weight], axis=1))


def _kept(size: Shape, every: Pair) -> Shape:
    return tuple(-(-side // step) for side, step in zip(size, every, strict=True))


def _framed(
    projections: Sequence[Projection],
    sources: tuple[str, ...],
    every: tuple[Pair, ...],
    size: Shape,
    out: Shape,
) -> Merged | None:
    """Set the kernels into one frame, the paddings' difference away from its upper left corner."""
    stride = projections[0].stride
    top, left = (max(p.padding[axis] for p in projections) for axis in (0, 1))
    rows, columns = (
        max(before - p.padding[axis] + p.weight.shape[2 + axis] for p in projections)
        for axis, before in ((0, top), (1, left))
    )
    bottom, right = (
        max(0, (count - 1) * step + kernel - side - before)
        for count, step, kernel, side, before in zip(
            out[1:], stride, (rows, columns), size, (top, left), strict=True
        )
    )
    channels = sum(p.weight.shape[1] * p.groups for p in projections)
    apart = sum(math.prod(p.weight.shape[1:]) for p in projections)
    if channels * rows * columns > PAYS * apart:
        return None
    weight = np.zeros((out[0], channels, rows, columns), projections[0].weight.dtype)
    start = 0
    for p in map(in_one_group, projections):
        _, inputs, kh, kw = p.weight.shape
        y, x = top - p.padding[0], left - p.padding[1]
        weight[:, start : start + inputs, y : y + kh, x : x + kw] = p.weight
        start += inputs
    return Merged(sources, every, weight, stride, (top, left, bottom, right), 1)
