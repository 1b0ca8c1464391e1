"""SpikingGraph: a single-timestep spiking network as plain arrays, the one idea all parts share.

Each node computes from what earlier ones send; its equation stands with its kind, in `nodes`. A
population sums its projections and fires where the current exceeds the threshold:

    current[n, o] = Σ_p (W_p ∗ s_p)[n, o]        s[n, o] = 1 if current[n, o] > θ[o] else 0

W are int8, θ half-integers, s bits, or numbers where a neuron has several thresholds: integer
arithmetic without rounding, hence the same bits on every machine and in every engine that adds
integers correctly. A half-integer threshold makes `>` and `>=` the same and gives engines in
floating point a guard band of ½.
"""

import hashlib
import json
from dataclasses import dataclass, field

import numpy as np

from snn_runtime.calibration import UNCALIBRATED, Calibration
from snn_runtime.errors import ModelError
from snn_runtime.graph.annotations import check_provenance
from snn_runtime.graph.ends import Image, Readout
from snn_runtime.graph.nodes import Node
from snn_runtime.graph.population import Population
from snn_runtime.graph.soundness import check, check_calibration
from snn_runtime.graph.values import FloatArray, Shape, Weights

INT16_BOUND = 2**15 - 1
"""Currents within ± this fit 16-bit accumulators without spilling."""
PACKED_BITS, PACKED_SCHEMA = 4, 6
"""What a weight has where a byte holds two, and the version of model.onnx that can."""


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
    calibration: Calibration = UNCALIBRATED
    """What makes probabilities of its logits."""
    packed: bool = False
    """Whether its file holds weights two to a byte. No part of the computation."""
    shapes: dict[str, Shape] = field(init=False)
    """Per example: `(C, H, W)` or `(O,)` for every node and the image."""
    bounds: dict[str, int] = field(init=False)
    """The largest |current| of a population, the largest value of a pool, the largest |input|."""

    def __post_init__(self) -> None:
        check_provenance(self.provenance)
        shapes, bounds = check(self.image, self.nodes, self.readout, self.labels)
        object.__setattr__(self, "shapes", shapes)
        object.__setattr__(self, "bounds", bounds)
        check_calibration(self.calibration, len(self.labels), self.channels)
        if self.packed and self.weight_bits != PACKED_BITS:
            problem = f"weights need {self.weight_bits} bits, two to a byte have {PACKED_BITS}"
            raise ModelError("bad_graph", problem)

    @property
    def populations(self) -> tuple[Population, ...]:
        return tuple(node for node in self.nodes if isinstance(node, Population))

    @property
    def channels(self) -> dict[str, int]:
        """Of every population, in graph order."""
        return {node.name: self.shapes[node.name][0] for node in self.populations}

    @property
    def exact(self) -> bool:
        """Whether all weights are integers, so that every engine must agree bit for bit."""
        return self.readout.exact

    @property
    def schema(self) -> int:
        """The version of model.onnx that a reader of the graph must know."""
        parts = (self.image, *self.nodes, self.calibration)
        return max(PACKED_SCHEMA * self.packed, *(part.schema for part in parts))

    @property
    def weight_bits(self) -> int:
        """4, 6 or 8 bits hold every weight, counted from the weights themselves: 4 bits are −7 to
        7, 6 are −31 to 31. In the file they take 8 unless they are packed. 32 for float32."""
        if not self.exact:
            return 32
        weights = [array for array in self._arrays if array.dtype == np.int8]
        largest = max(int(np.abs(w).max(initial=0)) for w in weights)  # never −128: refused
        return next((bits for bits in (4, 6) if largest < 2 ** (bits - 1)), 8)

    @property
    def parameters(self) -> int:
        """Weights, thresholds, and the readout's scale and bias."""
        return sum(array.size for array in self._arrays)

    def fits_int16(self, population: str) -> bool:
        """Whether no partial sum of the population's current can leave 16 bits, in any order."""
        return self.exact and self.bounds[population] <= INT16_BOUND

    def largest_sent(self, source: str) -> int:
        """The largest |value| that a node sends: for spikes 1, or as many as a neuron's levels."""
        bound = self.bounds[source]
        return next((node.largest(bound) for node in self.nodes if node.name == source), bound)

    def digest(self) -> str:
        """SHA-256 of everything that computes: two graphs with one digest give the same answers."""
        state = hashlib.sha256()
        lines = [line for node in self.nodes for line in node.describe()]
        for item in (self.image.describe(), *lines, self.readout.describe(), self.labels):
            state.update(json.dumps(item).encode() + b"\n")
        if self.calibration != UNCALIBRATED:  # else the digest is that of files without
            state.update(json.dumps(self.calibration.record()).encode() + b"\n")
        for array in self._arrays:
            state.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
        return state.hexdigest()

    @property
    def _arrays(self) -> tuple[Weights | FloatArray, ...]:
        """All the numbers that it holds, in order."""
        return (*(a for node in self.nodes for a in node.arrays), *self.readout.arrays)
