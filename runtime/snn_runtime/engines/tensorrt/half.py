"""A SpikingGraph in float16 where that cannot change a spike, and in float32 elsewhere."""

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from snn_runtime.engines.tensorrt.arithmetic import HALF_BOUND, in_half
from snn_runtime.engines.tensorrt.floats import Floats, prefix_of
from snn_runtime.graph import Pool, Population


class Half(Floats):
    """Spikes and small counts are float16; what is compared with a threshold is float32."""

    def current(self, node: Population, index: int) -> str:
        projection = node.projections[index]
        source = self.sent[projection.source]
        if not (source.half and in_half(self.graph, node)[index]):
            return super().current(node, index)
        prefix = prefix_of(node, index)
        weight = self.nodes.tensor(f"{prefix}/weight", projection.weight.astype(np.float16))
        current = self.project(projection, prefix, [source.tensor, weight])
        return self.nodes.node("Cast", [current], f"{prefix}/current_single", to=TensorProto.FLOAT)

    def fire(self, node: Population, current: str, element: int = TensorProto.FLOAT16) -> str:
        return super().fire(node, current, element)

    def count(self, node: Pool, source: str, dtype: npt.DTypeLike) -> None:
        sent = self.sent[node.source]
        if sent.half and self.graph.bounds[node.name] <= HALF_BOUND:
            super().count(node, sent.tensor, np.float16)
        else:
            super().count(node, source, dtype)
