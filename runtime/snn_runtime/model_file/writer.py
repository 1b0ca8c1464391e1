"""SpikingGraph to the nodes and tensors of ONNX, opset 17.

    image → Cast → Transpose → Sub                                    the picture, per colour − m
    DequantizeLinear(w) → Conv | Gemm (→ Add) → Greater(θ) → Cast     a population
    MaxPool, or Conv with ones                                        a pool
    Gemm → Mul(a) → Add(b) → logits                                   the readout

θ is `[1, O, 1, 1]`, `[1, O]` for a dense population or, where each position has its own,
`[1, O, H, W]`.

What a node of the graph sends on is the tensor of its name; everything else is called
`name/what`, and names hold no slash, so a reader can tell them apart and people can find their way.

Nothing is computed here: the reader compares files with what this module writes.
"""

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto

from snn_runtime.graph import (
    INPUT,
    Image,
    Pool,
    Population,
    Projection,
    Readout,
    SpikingGraph,
    Weights,
)
from snn_runtime.model_file import messages
from snn_runtime.model_file.messages import value

SCHEMA = 2
"""Latest version of this form; a reader refuses files of a later one. A file says the first that
has what is in it: 2 where thresholds differ by position or an offset is no whole number, else 1."""
CENTRED = f"{INPUT}/centred"
OFFSET = f"{INPUT}/offset"
OUTPUT = "logits"
READOUT = "readout"
_ONE = "/one"


def emit(
    graph: SpikingGraph, *, dequantised: bool = False, watch: bool = False, hollow: bool = False
) -> ModelProto:
    """Return the ONNX model of `graph`, without metadata.

    Args:
        dequantised: Store int8 weights as the float32 numbers they stand for. Engines that execute
            DequantizeLinear at every run, instead of once, are given this form.
        watch: Let every population's `name/fires` (bool) be an output as well.
        hollow: Leave out the data of weights and of thresholds per position, for comparing
            everything else.
    """
    model = messages.model(GraphProto(name="spiking_graph"), str(schema(graph)))
    emission = _Emission(model.graph, graph, dequantised, hollow)
    emission.image(graph.image)
    for node in graph.nodes:
        if isinstance(node, Pool):
            emission.pool(node)
        else:
            emission.population(node)
        shape = graph.shapes[node.name]
        emission.proto.value_info.append(value(node.name, TensorProto.FLOAT, shape))
    emission.readout(graph.readout)
    if watch:
        emission.proto.output.extend(
            value(f"{node.name}/fires", TensorProto.BOOL, graph.shapes[node.name])
            for node in graph.populations
        )
    return model


def schema(graph: SpikingGraph) -> int:
    """Return the version of this form that a reader of `graph` must know."""
    whole = all(m == int(m) for m in graph.image.offset)
    return 1 if whole and all(node.threshold.ndim == 1 for node in graph.populations) else SCHEMA


class _Emission:
    """A GraphProto that grows node by node."""

    def __init__(
        self, proto: GraphProto, graph: SpikingGraph, dequantised: bool, hollow: bool
    ) -> None:
        self.proto = proto
        self._hollow = hollow
        self._shapes = graph.shapes
        self._plain = dequantised or not graph.exact
        if not self._plain:
            self._tensor(_ONE, np.ones((), np.float32))

    def image(self, image: Image) -> None:
        self.proto.input.append(value(INPUT, TensorProto.UINT8, (image.height, image.width, 3)))
        self._node("Cast", [INPUT], f"{INPUT}/float", to=TensorProto.FLOAT)
        self._node("Transpose", [f"{INPUT}/float"], f"{INPUT}/planes", perm=(0, 3, 1, 2))
        offset = np.array(image.offset, np.float32).reshape(1, 3, 1, 1)
        self._node("Sub", [f"{INPUT}/planes", self._tensor(OFFSET, offset)], CENTRED)

    def population(self, node: Population) -> None:
        name, current = node.name, f"{node.name}/current"
        if len(node.projections) == 1:
            self._projection(node.projections[0], name, current)
        else:
            parts = [
                self._projection(projection, f"{name}/{i}", f"{name}/{i}/current")
                for i, projection in enumerate(node.projections)
            ]
            partial = parts[0]
            for i, part in enumerate(parts[1:], 1):
                last = i == len(parts) - 1
                partial = self._node("Add", [partial, part], current if last else f"{name}/{i}/sum")
        hollow = self._hollow and node.threshold.ndim > 1
        threshold = self._tensor(f"{name}/threshold", node.comparand, hollow=hollow)
        self._node("Greater", [current, threshold], f"{name}/fires")
        self._node("Cast", [f"{name}/fires"], name, to=TensorProto.FLOAT)

    def pool(self, node: Pool) -> None:
        window = (node.kernel, node.kernel)
        if node.kind == "max":
            self._node("MaxPool", [node.source], node.name, kernel_shape=window, strides=window)
            return
        # A count of spikes is a convolution with ones. AveragePool · k² is not: 1/9 has no exact
        # float32, and the thresholds behind it are compared with exact sums.
        channels = self._shapes[node.source][0]
        ones = np.ones((channels, 1, *window), np.float32 if self._plain else np.int8)
        inputs = [node.source, self._weight(node.name, ones)]
        self._convolution(inputs, node.name, window, window, (0, 0), channels)

    def readout(self, readout: Readout) -> None:
        sums = self._dense(readout.source, readout.weight, READOUT, f"{READOUT}/sum")
        scale = self._tensor(f"{READOUT}/scale", readout.scale)
        bias = self._tensor(f"{READOUT}/bias", readout.bias)
        self._node("Mul", [sums, scale], f"{READOUT}/scaled")
        self._node("Add", [f"{READOUT}/scaled", bias], OUTPUT)
        self.proto.output.append(value(OUTPUT, TensorProto.FLOAT, readout.bias.shape))

    def _projection(self, projection: Projection, prefix: str, output: str) -> str:
        weight = projection.weight
        if weight.ndim == 2:
            return self._dense(projection.source, weight, prefix, output)
        source = CENTRED if projection.source == INPUT else projection.source
        inputs = [source, self._weight(prefix, weight, hollow=self._hollow)]
        kernel = (weight.shape[2], weight.shape[3])
        return self._convolution(
            inputs, output, kernel, projection.stride, projection.padding, projection.groups
        )

    def _dense(self, source: str, weight: Weights, prefix: str, output: str) -> str:
        flat = CENTRED if source == INPUT else source
        if len(self._shapes[source]) > 1:
            flat = self._node("Flatten", [flat], f"{prefix}/flat", axis=1)
        inputs = [flat, self._weight(prefix, weight, hollow=self._hollow)]
        return self._node("Gemm", inputs, output, transB=1)

    def _convolution(
        self,
        inputs: list[str],
        output: str,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int],
        groups: int,
    ) -> str:
        return self._node(
            "Conv",
            inputs,
            output,
            group=groups,
            kernel_shape=kernel,
            pads=padding * 2,
            strides=stride,
        )

    def _weight(self, prefix: str, weight: Weights, *, hollow: bool = False) -> str:
        if self._plain:
            floats = weight.astype(np.float32, copy=False)
            return self._tensor(f"{prefix}/weight", floats, hollow=hollow)
        stored = self._tensor(f"{prefix}/weight", weight, hollow=hollow)
        return self._node("DequantizeLinear", [stored, _ONE], f"{prefix}/weight_float")

    def _node(
        self, op: str, inputs: list[str], output: str, **attributes: messages.Attribute
    ) -> str:
        self.proto.node.append(messages.node(op, inputs, output, **attributes))
        return output

    def _tensor(self, name: str, array: Weights, *, hollow: bool = False) -> str:
        messages.add_tensor(self.proto, name, array, hollow=hollow)
        return name
