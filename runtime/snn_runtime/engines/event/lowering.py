"""Lowers a SpikingGraph to an snn_graph: numbers for names, one array each of weights, thresholds.

A dense projection `[O, C·H·W]` becomes a convolution `[O, C, H, W]` whose kernel is its whole
source: the same bytes. A threshold k + ½ becomes k: an integer exceeds both or neither.
"""

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_runtime.engines.event import library
from snn_runtime.graph import (
    INPUT,
    Elementwise,
    Pool,
    Population,
    Projection,
    Shape,
    SpikingGraph,
    Visitor,
)

_KINDS = {"population": 0, "max": 1, "sum": 2, "add": 3, "and": 4, "iand": 5}
"""snn_kind"""


@dataclass(frozen=True, eq=False)
class Lowered:
    """An snn_graph and the arrays that it points into."""

    struct: library.Graph
    nodes: "ctypes.Array[library.Node]"
    projections: "ctypes.Array[library.Projection]"
    weights: npt.NDArray[np.int8]
    thresholds: npt.NDArray[np.int32]
    scale: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]


def lower(graph: SpikingGraph) -> Lowered:
    """Lower a graph of int8 weights."""
    lists = _Lists(graph)
    nodes = [node.accept(lists) for node in graph.nodes]
    readout = graph.readout
    lowered = Lowered(
        library.Graph(),
        (library.Node * len(nodes))(*nodes),
        (library.Projection * len(lists.projections))(*lists.projections),
        _flat([*lists.weights, readout.weight], np.int8),
        _flat(map(np.floor, lists.thresholds), np.int32),
        np.ascontiguousarray(readout.scale),
        np.ascontiguousarray(readout.bias),
    )
    _fill(lowered, graph, lists.number[readout.source], _size(lists.weights))
    return lowered


class _Lists(Visitor[library.Node]):
    """What the nodes of an snn_graph point into, one after the other."""

    def __init__(self, graph: SpikingGraph) -> None:
        self.graph = graph
        self.number = {name: i for i, name in enumerate([INPUT, *(n.name for n in graph.nodes)])}
        self.projections: list[library.Projection] = []
        self.weights: list[npt.NDArray[Any]] = []
        self.thresholds: list[npt.NDArray[Any]] = []

    def population(self, node: Population) -> library.Node:
        lowered = library.Node(
            _KINDS["population"],
            channels=node.channels,
            projections=len(node.projections),
            positions=node.threshold.ndim == 3,
            levels=node.levels,
            threshold=_size(self.thresholds),
        )
        self.thresholds.append(node.threshold)
        for projection in node.projections:
            self.projections.append(self.projection(projection))
            self.weights.append(projection.weight)
        return lowered

    def pool(self, node: Pool) -> library.Node:
        return library.Node(
            _KINDS[node.kind], source=(self.number[node.source], 0), kernel=node.kernel
        )

    def elementwise(self, node: Elementwise) -> library.Node:
        first, second = (self.number[source] for source in node.sources)
        return library.Node(_KINDS[node.kind], source=(first, second))

    def projection(self, projection: Projection) -> library.Projection:
        source, weight = self.number[projection.source], _size(self.weights)
        if projection.weight.ndim == 2:
            _, height, width = planes(self.graph.shapes[projection.source])
            return library.Projection(source, height, width, 1, 1, 0, 0, 1, weight)
        kernel = projection.weight.shape[2:]
        steps = (*projection.stride, *projection.padding, projection.groups)
        return library.Projection(source, *kernel, *steps, weight)


def planes(shape: Shape) -> tuple[int, int, int]:
    """Channels, height and width of a value; a dense population is one pixel."""
    channels, height, width = shape if len(shape) == 3 else (shape[0], 1, 1)
    return channels, height, width


def _fill(lowered: Lowered, graph: SpikingGraph, readout: int, readout_weight: int) -> None:
    struct, image = lowered.struct, graph.image
    struct.height, struct.width = image.height, image.width
    struct.offset = (ctypes.c_int32 * 3)(*map(int, image.offset))
    struct.nodes, struct.projections = len(lowered.nodes), len(lowered.projections)
    struct.readout, struct.classes = readout, len(graph.labels)
    struct.readout_weight = readout_weight
    struct.weight_count, struct.threshold_count = lowered.weights.size, lowered.thresholds.size
    struct.node, struct.projection = lowered.nodes, lowered.projections
    struct.weights = lowered.weights.ctypes.data_as(ctypes.POINTER(ctypes.c_int8))
    struct.thresholds = lowered.thresholds.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
    struct.scale = lowered.scale.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    struct.bias = lowered.bias.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


def _size(arrays: Iterable[npt.NDArray[Any]]) -> int:
    return sum(array.size for array in arrays)


def _flat(arrays: Iterable[npt.NDArray[Any]], dtype: Any) -> npt.NDArray[Any]:
    # Empty first, because a graph may have no population and so no threshold.
    flat = (array.ravel().astype(dtype, copy=False) for array in arrays)
    return np.concatenate([np.empty(0, dtype), *flat])
