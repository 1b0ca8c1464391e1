"""SpikingGraph: a single-timestep spiking network as plain arrays, the one idea all parts share.

A population sums its projections and fires where the current exceeds the threshold:

    current[n, o] = Σ_p (W_p ∗ s_p)[n, o]        s[n, o] = 1 if current[n, o] > θ[o] else 0

and what reads the picture may have a θ[o, y, x], one for each position on its map.

W are int8, θ half-integers, s bits: integer arithmetic without rounding, hence the same bits on
every machine and in every engine that adds integers correctly. A half-integer threshold makes `>`
and `>=` the same and gives engines in floating point a guard band of ½.
"""

import hashlib
import json
from dataclasses import dataclass, field

import numpy as np

from snn_runtime.graph.annotations import check_provenance
from snn_runtime.graph.nodes import (
    Image,
    Node,
    Pool,
    Population,
    Readout,
    Shape,
    Weights,
)
from snn_runtime.graph.soundness import check

INT16_BOUND = 2**15 - 1
"""Currents within ± this fit 16-bit accumulators without spilling."""


@dataclass(frozen=True, eq=False)
class SpikingGraph:
    """A whole network. Making one checks it; a graph that exists is sound.

    Raises:
        ModelError: `bad_graph`, naming the node and what is wrong with it.
    """

    image: Image
    nodes: tuple[Node, ...]
    """In an order in which every source comes before its use."""
    readout: Readout
    labels: tuple[str, ...]
    provenance: str = "{}"
    """A JSON object: how it was trained, accuracy, spike rates. No part of the computation."""
    shapes: dict[str, Shape] = field(init=False)
    """Per example: `(C, H, W)` or `(O,)` for every node and the image."""
    bounds: dict[str, int] = field(init=False)
    """The largest |current| of a population, the largest value of a pool, the largest |input|."""

    def __post_init__(self) -> None:
        check_provenance(self.provenance)
        shapes, bounds = check(self.image, self.nodes, self.readout, self.labels)
        object.__setattr__(self, "shapes", shapes)
        object.__setattr__(self, "bounds", bounds)

    @property
    def populations(self) -> tuple[Population, ...]:
        return tuple(node for node in self.nodes if isinstance(node, Population))

    @property
    def exact(self) -> bool:
        """Whether all weights are integers, so that every engine must agree bit for bit."""
        return self.readout.weight.dtype == np.int8

    @property
    def weight_bits(self) -> int:
        """4, 6 or 8 bits hold every weight, counted from the weights themselves: 4 bits are −7 to
        7, 6 are −31 to 31. In the file they take 8 all the same. 32 for float32 weights."""
        if not self.exact:
            return 32
        weights = [p.weight for node in self.populations for p in node.projections]
        weights.append(self.readout.weight)
        largest = max(int(np.abs(w).max(initial=0)) for w in weights)  # never −128: refused
        return next((bits for bits in (4, 6) if largest < 2 ** (bits - 1)), 8)

    @property
    def parameters(self) -> int:
        """Weights, thresholds, and the readout's scale and bias."""
        weights = sum(p.weight.size for node in self.populations for p in node.projections)
        thresholds = sum(node.threshold.size for node in self.populations)
        return weights + thresholds + self.readout.weight.size + 2 * len(self.labels)

    def fits_int16(self, population: str) -> bool:
        """Whether no partial sum of the population's current can leave 16 bits, in any order."""
        return self.exact and self.bounds[population] <= INT16_BOUND

    def largest_sent(self, source: str) -> int:
        """The largest |value| that a node sends: 1 for spikes."""
        if any(node.name == source for node in self.populations):
            return 1
        return self.bounds[source]

    def digest(self) -> str:
        """SHA-256 of everything that computes: two graphs with one digest give the same answers."""
        state = hashlib.sha256()
        for item in (*_describe(self), self.labels):
            state.update(json.dumps(item).encode() + b"\n")
        for array in _arrays(self):
            state.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
        return state.hexdigest()


def _describe(graph: SpikingGraph) -> list[list[object]]:
    image = graph.image
    offset = [int(m) if m == int(m) else m for m in image.offset]
    lines: list[list[object]] = [["image", image.height, image.width, offset, image.fit]]
    for node in graph.nodes:
        if isinstance(node, Pool):
            lines.append(["pool", node.name, node.source, node.kind, node.kernel])
            continue
        positions = node.threshold.shape[1:]
        lines.append(["population", node.name, *positions])
        lines += [
            [p.source, p.weight.dtype.name, p.weight.shape, p.stride, p.padding, p.groups]
            for p in node.projections
        ]
    return [*lines, ["readout", graph.readout.source, graph.readout.weight.shape]]


def _arrays(graph: SpikingGraph) -> list[Weights]:
    arrays: list[Weights] = []
    for node in graph.populations:
        arrays += [*(p.weight for p in node.projections), node.threshold]
    return [*arrays, graph.readout.weight, graph.readout.scale, graph.readout.bias]
