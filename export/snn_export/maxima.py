"""The largest value in each window of a max pool, whether a `Pool` does it or neurons that OR."""

import numpy as np

from snn_runtime.graph import Node, Numbers, Population


def largest(node: Node, values: Numbers) -> Numbers:
    """Return `[N, C, rows, columns]` of the windows' maxima; nothing stands outside the map.

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
