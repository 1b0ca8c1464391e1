"""A SpikingGraph in int8 where that cannot change a spike, and in float32 elsewhere."""

import numpy as np
from onnx import TensorProto

from snn_runtime.engines.tensorrt.arithmetic import (
    ADDITIVE_BOUND,
    LARGEST_COUNT,
    SATURATING,
    SPIKE,
    int8_limit,
    reach,
    thresholds,
)
from snn_runtime.engines.tensorrt.floats import SUMS, Floats, Sent, prefix_of
from snn_runtime.graph import Pool, Population, Readout, SpikingGraph, Weights
from snn_runtime.model_file.writer import READOUT

_ONE, _ZERO = "/one", "/zero"
_SATURATING = "/saturating"
_SPIKE = "/spike"


class Int8(Floats):
    """Spikes, counts up to 127 and weights are int8, behind quantisers that are read at once."""

    def __init__(self, graph: SpikingGraph) -> None:
        super().__init__(graph)
        self.nodes.tensor(_ONE, np.float32(1))
        self.nodes.tensor(_ZERO, np.int8(0))
        self.nodes.tensor(_SATURATING, SATURATING)
        self.nodes.tensor(_SPIKE, np.float32(1 / SPIKE))

    def current(self, node: Population, index: int) -> str:
        projection = node.projections[index]
        source = self.sent[projection.source]
        limit = int8_limit(len(node.projections))
        if not source.scale or self.graph.bounds[node.name] > limit:
            return super().current(node, index)
        prefix = prefix_of(node, index)
        inputs = [source.tensor, self.weight(prefix, projection.weight)]
        if len(node.projections) == 1:  # −θ, of spikes one a channel, in the convolution's epilogue
            inputs.append(self.nodes.tensor(f"{prefix}/bias", -thresholds(self.graph, node)))
        return self.project(projection, prefix, inputs)

    def fire(self, node: Population, current: str, element: int = TensorProto.FLOAT) -> str:
        name, bound = node.name, self.graph.bounds[node.name]
        if bound >= ADDITIVE_BOUND:
            bits = super().fire(node, current, element)
            self.sent[name] = self.quantised(name, bits, _SPIKE, _SPIKE)
            return bits
        if self.has_no_bias(node):
            bias = self.beside(node, "bias", -thresholds(self.graph, node))
            current = self.nodes.node("Add", [current, bias], f"{name}/margin")
        rectified = self.nodes.node("Relu", [current], f"{name}/rectified")
        self.sent[name] = self.quantised(name, rectified, _SATURATING, _SPIKE)
        return name

    def has_no_bias(self, node: Population) -> bool:
        """Whether `current` left −θ to be added: where it was more than one or not of int8."""
        return f"{prefix_of(node, 0)}/bias" not in self.nodes

    def pool(self, node: Pool) -> None:
        source = self.sent[node.source]
        if not source.scale or self.graph.bounds[node.name] > LARGEST_COUNT:
            super().pool(node)
            return
        if node.kind == "max":
            most = self.window("MaxPool", node, source.tensor, f"{node.name}/most")
            self.sent[node.name] = self.quantised(node.name, most, source.scale, source.scale)
            return
        mean = self.window("AveragePool", node, source.tensor, f"{node.name}/mean")
        share = self.nodes.tensor(f"{node.name}/share", np.float32(1 / node.kernel**2))
        self.sent[node.name] = self.quantised(node.name, mean, share, _ONE)

    def readout(self, readout: Readout) -> None:
        source = self.sent[readout.source]
        furthest = reach(readout.weight, self.graph.largest_sent(readout.source))
        if not source.scale or furthest > int8_limit(1):
            super().readout(readout)
            return
        inputs = [source.tensor, self.weight(READOUT, readout.weight)]
        self.dense(readout.source, READOUT, inputs, SUMS)
        self.nodes.output(SUMS, TensorProto.FLOAT, readout.bias.shape)

    def watch(self, name: str) -> None:
        self.nodes.node("Cast", [self.sent[name].tensor], f"{name}/fires", to=TensorProto.BOOL)
        super().watch(name)

    def quantised(self, name: str, source: str, scale: str, unit: str) -> Sent:
        """A tensor cut to int8 by one scale and read by another."""
        stored = self.nodes.node("QuantizeLinear", [source, scale, _ZERO], f"{name}/int8")
        read = self.nodes.node("DequantizeLinear", [stored, unit, _ZERO], f"{name}/sent")
        return Sent(read, scale=unit)

    def weight(self, prefix: str, weight: Weights) -> str:
        stored = self.nodes.tensor(f"{prefix}/weight", weight.astype(np.float32))
        quantised = self.nodes.node(
            "QuantizeLinear", [stored, _ONE, _ZERO], f"{prefix}/weight_int8"
        )
        return self.nodes.node(
            "DequantizeLinear", [quantised, _ONE, _ZERO], f"{prefix}/weight_float"
        )
