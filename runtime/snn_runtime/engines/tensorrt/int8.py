"""A SpikingGraph in int8 where that cannot change a spike, and in float32 elsewhere."""

import numpy as np

from snn_runtime.engines.tensorrt.arithmetic import (
    ADDITIVE_BOUND,
    LARGEST_COUNT,
    SATURATING,
    SPIKE,
    int8_limit,
)
from snn_runtime.graph import (
    READOUT,
    Elementwise,
    Pool,
    Population,
    Projection,
    SpikingGraph,
)
from snn_runtime.graph.values import reach
from snn_runtime.onnx_build import Operators, Value
from snn_runtime.onnx_build.float32 import (
    SUMS,
    Float32,
    prefix_of,
    project,
    projection_of,
)


class Int8(Float32):
    """Spikes, counts up to 127 and weights are int8, behind quantisers that are read at once."""

    def __init__(self, graph: SpikingGraph) -> None:
        op = Operators("spiking_graph")
        self.one = op.constant("/one", np.float32(1))
        self.zero = op.constant("/zero", np.int8(0))
        self.saturating = op.constant("/saturating", SATURATING)
        self.spike = op.constant("/spike", np.float32(1 / SPIKE))
        self.scale: dict[str, Value] = {}
        """For each source of int8 numbers, the scale by which they are read."""
        super().__init__(graph, op)

    def population(self, node: Population) -> Value:
        if self.graph.bounds[node.name] >= ADDITIVE_BOUND or node.levels > 1:
            return super().population(node)
        rectified = self.op.relu(f"{node.name}/rectified", self.margin(node))
        return self.quantised(node.name, rectified, self.saturating, self.spike)

    def send(self, name: str, fires: Value) -> Value:
        return self.quantised(name, super().send(name, fires), self.spike, self.spike)

    def send_number(self, node: Population) -> Value:
        exceeded = self.exceeded(f"{node.name}/number", node)
        return self.quantised(node.name, exceeded, self.one, self.one)

    def margin(self, node: Population) -> Value:
        """`Σ_p W_p ∗ s_p − θ`."""
        name, first = node.name, node.projections[0]
        if len(node.projections) == 1 and self.in_int8(node, first):
            # In the convolution's epilogue. A threshold a position occurs only on pixels.
            bias = self.op.constant(f"{name}/bias", -node.threshold)
            return self.product_in_int8(f"{name}/current", name, first, bias)
        bias = self.op.constant(f"{name}/bias", -node.comparands[0])
        return self.op.add(f"{name}/margin", self.current(node), bias)

    def part(self, node: Population, index: int) -> Value:
        projection, prefix = node.projections[index], prefix_of(node, index)
        if not self.in_int8(node, projection):
            return super().part(node, index)
        return self.product_in_int8(f"{prefix}/current", prefix, projection)

    def in_int8(self, node: Population, projection: Projection) -> bool:
        limit = int8_limit(len(node.projections))
        return projection.source in self.scale and self.graph.bounds[node.name] <= limit

    def pool(self, node: Pool) -> Value:
        scale = self.scale.get(node.source)
        if scale is None or self.graph.bounds[node.name] > LARGEST_COUNT:
            return super().pool(node)
        source, window = self.sent[node.source], (node.kernel, node.kernel)
        if node.kind == "max":
            most = self.op.max_pool(f"{node.name}/most", source, window, window)
            return self.quantised(node.name, most, scale, scale)
        mean = self.op.average_pool(f"{node.name}/mean", source, window, window)
        reciprocal = self.op.constant(f"{node.name}/reciprocal", np.float32(1 / node.kernel**2))
        return self.quantised(node.name, mean, reciprocal, self.one)

    def elementwise(self, node: Elementwise) -> Value:
        """Exact numbers, Quantize(u) → Dequantize(u) of a count's or a spike's unit."""
        bound = self.graph.bounds[node.name]
        if not self.scale.keys() >= set(node.sources) or bound > LARGEST_COUNT:
            return super().elementwise(node)
        x, y = self.sent[node.first], self.sent[node.second]
        joined = self.combined(f"{node.name}/joined", node, x, y)
        unit = self.one if node.counts else self.spike
        return self.quantised(node.name, joined, unit, unit)

    def sums(self) -> Value:
        projection = projection_of(self.graph.readout)
        largest = reach(projection.weight).max() * self.graph.largest_sent(projection.source)
        if projection.source not in self.scale or largest > int8_limit(1):
            return super().sums()
        return self.product_in_int8(SUMS, READOUT, projection)

    def product_in_int8(
        self, name: str, prefix: str, projection: Projection, *bias: Value
    ) -> Value:
        """`W ∗ s (+ bias)` of int8 numbers, each behind its quantiser."""
        stored = self.op.constant(f"{prefix}/weight", projection.weight.astype(np.float32))
        weight = self.op.quantize(f"{prefix}/weight_int8", stored, self.one, self.zero)
        weight = self.op.dequantize(f"{prefix}/weight_float", weight, self.one, self.zero)
        return project(self.op, name, projection, self.sent[projection.source], weight, *bias)

    def quantised(self, name: str, x: Value, scale: Value, unit: Value) -> Value:
        """x cut to int8 by one scale and read by another: the value that `name` sends."""
        self.scale[name] = unit
        stored = self.op.quantize(f"{name}/int8", x, scale, self.zero)
        return self.op.dequantize(f"{name}/sent", stored, unit, self.zero)
