"""A SpikingGraph in float32: the form `fp32`, and what the others fall back to."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from snn_runtime.engines.tensorrt.arithmetic import thresholds
from snn_runtime.engines.tensorrt.nodes import Nodes
from snn_runtime.graph import INPUT, Pool, Population, Projection, Readout, SpikingGraph
from snn_runtime.model_file.writer import CENTRED, OFFSET, READOUT

SUMS = f"{READOUT}/sums"
"""The output: what the readout's scale and bias are still to be applied to, `[N, classes]`."""


@dataclass(frozen=True)
class Sent:
    """What a node sends on: a tensor in which 1 is a spike or a count of one."""

    tensor: str
    scale: str = ""
    """Of the int8 numbers behind the tensor, if there are any."""
    half: bool = False
    """float16 instead of float32."""


class Floats:
    """An ONNX graph under construction, everything in float32."""

    def __init__(self, graph: SpikingGraph) -> None:
        self.nodes = Nodes()
        self.graph = graph
        self.sent: dict[str, Sent] = {INPUT: Sent(CENTRED)}

    def image(self) -> None:
        image = self.graph.image
        self.nodes.input(INPUT, TensorProto.UINT8, (image.height, image.width, 3))
        self.nodes.node("Cast", [INPUT], f"{INPUT}/float", to=TensorProto.FLOAT)
        self.nodes.node("Transpose", [f"{INPUT}/float"], f"{INPUT}/planes", perm=(0, 3, 1, 2))
        offset = np.array(image.offset, np.float32).reshape(1, 3, 1, 1)
        self.nodes.node("Sub", [f"{INPUT}/planes", self.nodes.tensor(OFFSET, offset)], CENTRED)

    def population(self, node: Population) -> None:
        currents = [self.current(node, index) for index in range(len(node.projections))]
        self.fire(node, self.summed(node, currents))

    def current(self, node: Population, index: int) -> str:
        """One projection's current, float32."""
        projection = node.projections[index]
        prefix = prefix_of(node, index)
        weight = self.nodes.tensor(f"{prefix}/weight", projection.weight.astype(np.float32))
        return self.project(projection, prefix, [self.single(projection.source), weight])

    def summed(self, node: Population, currents: list[str]) -> str:
        total, *others = currents
        for index, other in enumerate(others, 1):
            total = self.nodes.node("Add", [total, other], f"{node.name}/{index}/sum")
        return total

    def fire(self, node: Population, current: str, element: int = TensorProto.FLOAT) -> str:
        """Compare and send bits as numbers of type `element`."""
        theta = self.beside(node, "threshold", thresholds(self.graph, node))
        self.nodes.node("Greater", [current, theta], f"{node.name}/fires")
        self.nodes.node("Cast", [f"{node.name}/fires"], node.name, to=element)
        self.sent[node.name] = Sent(node.name, half=element == TensorProto.FLOAT16)
        return node.name

    def pool(self, node: Pool) -> None:
        source = self.sent[node.source]
        if node.kind == "max":
            self.window("MaxPool", node, source.tensor, node.name)
            self.sent[node.name] = Sent(node.name, half=source.half)
        else:
            self.count(node, self.single(node.source), np.float32)

    def count(self, node: Pool, source: str, dtype: npt.DTypeLike) -> None:
        """A convolution with ones. AveragePool · k² is not it: 1/9 has no exact float."""
        channels = self.graph.shapes[node.source][0]
        ones = np.ones((channels, 1, node.kernel, node.kernel), dtype)
        inputs = [source, self.nodes.tensor(f"{node.name}/ones", ones)]
        self.window("Conv", node, inputs[0], node.name, inputs[1:], group=channels)
        self.sent[node.name] = Sent(node.name, half=ones.dtype == np.float16)

    def readout(self, readout: Readout) -> None:
        weight = self.nodes.tensor(f"{READOUT}/weight", readout.weight.astype(np.float32))
        self.dense(readout.source, READOUT, [self.single(readout.source), weight], SUMS)
        self.nodes.output(SUMS, TensorProto.FLOAT, readout.bias.shape)

    def watch(self, name: str) -> None:
        self.nodes.output(f"{name}/fires", TensorProto.BOOL, self.graph.shapes[name])

    def single(self, source: str) -> str:
        """What a source sends, in float32."""
        sent = self.sent[source]
        if not sent.half:
            return sent.tensor
        return self.nodes.node("Cast", [sent.tensor], f"{source}/sent_single", to=TensorProto.FLOAT)

    def project(self, projection: Projection, prefix: str, inputs: list[str]) -> str:
        if projection.weight.ndim == 2:
            return self.dense(projection.source, prefix, inputs, f"{prefix}/current")
        return self.nodes.node(
            "Conv",
            inputs,
            f"{prefix}/current",
            group=projection.groups,
            kernel_shape=projection.weight.shape[2:],
            pads=projection.padding * 2,
            strides=projection.stride,
        )

    def dense(self, source: str, prefix: str, inputs: list[str], output: str) -> str:
        if len(self.graph.shapes[source]) > 1:
            flat = self.nodes.node("Flatten", inputs[:1], f"{prefix}/flat", axis=1)
            inputs = [flat, *inputs[1:]]
        return self.nodes.node("Gemm", inputs, output, transB=1)

    def window(
        self, op: str, node: Pool, source: str, output: str, more: list[str] | None = None, **a: int
    ) -> str:
        window = (node.kernel, node.kernel)
        inputs = [source, *(more or [])]
        return self.nodes.node(op, inputs, output, kernel_shape=window, strides=window, **a)

    def beside(self, node: Population, what: str, values: npt.NDArray[Any]) -> str:
        """A tensor of values like the population's thresholds that meets its currents."""
        return self.nodes.tensor(f"{node.name}/{what}", values.reshape(node.comparand.shape))


def prefix_of(node: Population, index: int) -> str:
    """What the tensors of a projection are called: as the population, where it is alone."""
    return node.name if len(node.projections) == 1 else f"{node.name}/{index}"
