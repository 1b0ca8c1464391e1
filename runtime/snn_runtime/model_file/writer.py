"""SpikingGraph to the nodes and tensors of model.onnx: `Float32`, with int8 weights stored as such.

    DequantizeLinear(w, 1) → Conv | Gemm              a projection, a sum pool, the readout

Those of a packed graph are INT4, which ONNX has since opset 21. float32 weights are stored as they
are. Nothing is computed here: the reader compares files with what this module writes, so every name
and every byte is part of the format.
"""

import numpy as np
import numpy.typing as npt
from onnx import ModelProto

from snn_runtime.graph import Projection, SpikingGraph, Weights
from snn_runtime.onnx_build import Operators, Value
from snn_runtime.onnx_build.float32 import Float32
from snn_runtime.onnx_build.messages import OPSET, PACKED_OPSET

NAME = "spiking_graph"


def emit(graph: SpikingGraph, op: Operators | None = None) -> ModelProto:
    """Return the ONNX model of `graph`, without metadata, as `op` builds it."""
    stored = Stored(graph, op)
    for node in graph.nodes:
        stored.op.annotate(stored.sent[node.name])
    return stored.op.model(stored.logits())


def opset_of(graph: SpikingGraph) -> int:
    """The version of ONNX's operators that a graph is written with."""
    return PACKED_OPSET if graph.packed else OPSET


class Stored(Float32):
    """A graph as files hold it."""

    def __init__(self, graph: SpikingGraph, op: Operators | None = None) -> None:
        op = op or Operators(NAME, str(graph.schema), opset_of(graph))
        if graph.exact:
            self.one = op.constant("/one", np.float32(1))
        super().__init__(graph, op)

    def product(self, name: str, prefix: str, projection: Projection, source: Value) -> Value:
        if projection.weight.ndim == 2:
            # Named after the projection and before its weights: part of the format.
            source = self.op.flatten(f"{prefix}/flat", source)
        return super().product(name, prefix, projection, source)

    def weight(self, prefix: str, weight: Weights, dtype: npt.DTypeLike) -> Value:
        if not self.graph.exact:
            return super().weight(prefix, weight, dtype)
        put = self.op.packed if self.graph.packed else self.op.constant
        stored = put(f"{prefix}/weight", weight)
        return self.op.dequantize(f"{prefix}/weight_float", stored, self.one)
