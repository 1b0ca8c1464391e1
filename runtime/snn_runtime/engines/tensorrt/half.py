"""A SpikingGraph in float16 where that cannot change a spike, and in float32 elsewhere."""

import numpy as np

from snn_runtime.engines.tensorrt.arithmetic import HALF_BOUND, in_half
from snn_runtime.graph import Elementwise, Pool, Population
from snn_runtime.onnx_build import Value
from snn_runtime.onnx_build.float32 import Float32, prefix_of


class Half(Float32):
    """Spikes and small counts are float16; what is compared with a threshold is float32."""

    def send(self, name: str, fires: Value) -> Value:
        return self.op.cast(name, fires, np.float16)

    def send_number(self, node: Population) -> Value:
        exceeded = self.exceeded(f"{node.name}/number", node)
        return self.op.cast(node.name, exceeded, np.float16)

    def part(self, node: Population, index: int) -> Value:
        projection, prefix = node.projections[index], prefix_of(node, index)
        source = self.sent[projection.source]
        if source.dtype != np.float16 or not in_half(self.graph, node)[index]:
            return super().part(node, index)
        current = self.product(f"{prefix}/half", prefix, projection, source)
        return self.op.cast(f"{prefix}/current", current, np.float32)

    def count(self, node: Pool) -> Value:
        if self.graph.bounds[node.name] > HALF_BOUND:
            return super().count(node)
        return self.counted(node, self.sent[node.source])

    def elementwise(self, node: Elementwise) -> Value:
        x, y = self.sent[node.first], self.sent[node.second]
        half = x.dtype == y.dtype == np.float16
        if not half or self.graph.bounds[node.name] > HALF_BOUND:
            return super().elementwise(node)
        return self.combined(node.name, node, x, y)
