"""The physical limit: bytes of weight rows that the spikes make necessary.

A neuron that fired adds, at every output pixel its kernel taps reach, a row of one weight an output
channel. An engine that skips all zeros still has to bring those rows from the cache to the core. A
weight is half a byte in a layer where all are −8 to 7:

    bytes = Σ_fired taps that reach an output · output channels / groups · bytes a weight
    time  = Σ_layers bytes / bandwidth of the cache that holds the layer's weights

A count behind a sum pool reads its rows once, whatever it counts. Every picture is on its own: a
batch that shares rows may beat this. The first layer sees the picture, which is dense: its
multiply-adds are counted apart and are not in the time.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from snn_bench.propagation import propagate
from snn_runtime.graph import (
    INPUT,
    READOUT,
    Population,
    Projection,
    Readout,
    Shape,
    SpikingGraph,
    Weights,
)
from snn_runtime.graph.projection import reaching_taps

Events: TypeAlias = npt.NDArray[np.float64]
"""Fraction of the images for which a position sends anything, in the shape of its node."""


@dataclass(frozen=True)
class Traffic:
    """Memory traffic that one layer makes necessary, the mean over all images."""

    layer: str
    row_bytes: float
    """Bytes of weight rows for one picture."""
    weight_bytes: int
    """Bytes of all its weights: where they are kept decides how fast they come."""
    image_macs: int
    """Multiply-adds with the picture itself, zero padding left out."""


def traffic(graph: SpikingGraph, images: npt.NDArray[np.uint8]) -> list[Traffic]:
    """Count every layer's bytes for uint8 `[N, H, W, 3]`; the readout comes last."""
    events: dict[str, Events] = {}
    for node, sent in propagate(graph, images):
        events[node.name] = (sent != 0).mean(axis=0, dtype=np.float64)
    layers = [_layer(node, graph.shapes, events) for node in graph.populations]
    return [*layers, _readout(graph.readout, events)]


def limit_ns(layers: list[Traffic], bandwidth: Mapping[int, float]) -> float:
    """Nanoseconds a picture, for bandwidths in bytes a nanosecond by `weight_bytes`."""
    read = [layer for layer in layers if layer.row_bytes]
    return sum(layer.row_bytes / bandwidth[layer.weight_bytes] for layer in read)


def _layer(node: Population, shapes: Mapping[str, Shape], events: Mapping[str, Events]) -> Traffic:
    row_bytes, macs, size = 0.0, 0, 0.0
    each = _bytes_each([p.weight for p in node.projections if p.source != INPUT])
    for projection in node.projections:
        needed = reads(projection, shapes[projection.source])
        if projection.source == INPUT:
            macs += int(needed.sum())
            size += projection.weight.nbytes
        else:
            mean = np.sum(events[projection.source] * needed, dtype=np.float64)
            row_bytes += float(mean) * each
            size += projection.weight.size * each
    return Traffic(node.name, row_bytes, math.ceil(size), macs)


def _bytes_each(weights: Sequence[Weights]) -> float:
    """What each of a layer's weights needs: half a byte where all are whole numbers of −8 to 7."""
    half = all(w.dtype == np.int8 and w.min() >= -8 and w.max() <= 7 for w in weights)
    return 0.5 if half else weights[0].itemsize


def reads(projection: Projection, source: Shape) -> npt.NDArray[np.int64]:
    """Weights that one event at each place of the source calls for, in the source's shape."""
    weight = projection.weight
    if weight.ndim == 2:
        return np.full(source, len(weight), np.int64)
    rows, columns = (
        reaching_taps(size, kernel, stride, padding)
        for size, kernel, stride, padding in zip(
            source[1:], weight.shape[2:], projection.stride, projection.padding, strict=True
        )
    )
    taps = rows[:, None] * columns * (len(weight) // projection.groups)
    return np.broadcast_to(taps, source)


def _readout(readout: Readout, events: Mapping[str, Events]) -> Traffic:
    weight = readout.weight
    each = _bytes_each([weight])
    row_bytes = float(events[readout.source].sum(dtype=np.float64)) * len(weight) * each
    return Traffic(READOUT, row_bytes, math.ceil(weight.size * each), 0)
