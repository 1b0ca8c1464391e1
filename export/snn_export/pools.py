"""What a pool looks at, and a max pool of spikes in a graph: a `Pool`, or neurons that OR.

Neurons with weights of one and θ = ½, a channel each, fire where any spike of a window does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snn_export.fold import Array, Neurons, Synapse
from snn_runtime.graph import Node, Numbers, Pool, Population


@dataclass(frozen=True)
class Window:
    """What a pool looks at: (rows, columns) each."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    """Outside the map: nothing for a maximum, zeros for a mean or a sum."""
    dilation: tuple[int, int] = (1, 1)

    @classmethod
    def tile(cls, side: int) -> "Window":
        return cls((side, side), (side, side))

    @property
    def side(self) -> int:
        """Side of square windows that tile the map; 0 for all others."""
        return self.kernel[0] if self == Window.tile(self.kernel[0]) else 0

    @property
    def taps(self) -> Array:
        """`[rows, columns]`: ones where the window looks."""
        height, width = ((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))
        taps = np.zeros((height, width))
        taps[:: self.dilation[0], :: self.dilation[1]] = 1
        return taps

    def shape(self, sides: Sequence[int]) -> tuple[int, int]:
        """(rows, columns) that are left of a map of `sides`; below 1 where none fits."""
        parts = zip(sides, self.padding, self.taps.shape, self.stride, strict=True)
        rows, columns = ((side + 2 * pad - reach) // step + 1 for side, pad, reach, step in parts)
        return rows, columns


def ored(name: str, node: str, window: Window, channels: int) -> Pool | Neurons:
    """The node `name` that fires where any spike of a window of `node` does."""
    if window.side:
        return Pool(name, node, "max", window.side)
    ones = np.broadcast_to(window.taps, (channels, 1, *window.taps.shape)).copy()
    synapse = Synapse(node, ones, window.stride, window.padding, channels)
    return Neurons(name, (synapse,), np.full(channels, 0.5))


def largest(node: Node, values: Numbers) -> Numbers:
    """Return the largest value in each window of a max pool, `[N, C, rows, columns]`; nothing
    stands outside the map.

    Neurons that OR look where their weights, all alike in every channel, are not zero.
    """
    if not isinstance(node, Population):
        return node.compute(dict.fromkeys(node.sources, values))
    (projection,) = node.projections
    taps = projection.weight[0, 0] != 0
    (rows, columns), (down, right) = projection.padding, projection.stride
    outside = ((0, 0), (0, 0), (rows, rows), (columns, columns))
    padded = np.pad(values.astype(np.float64), outside, constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, taps.shape, axis=(2, 3))
    return np.asarray(windows[:, :, ::down, ::right][..., taps].max(axis=-1))
