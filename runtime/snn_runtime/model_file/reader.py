"""The nodes and tensors of ONNX to a SpikingGraph: the inverse of `writer`.

What a node of the graph sends is a tensor without a slash in its name, so the operations up to and
including the one that makes it are that node. Only what a graph needs is read here. That
all the rest is as it must be is proved afterwards: the graph is written again and compared.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto

from snn_runtime.calibration import Calibration
from snn_runtime.errors import ModelError
from snn_runtime.graph import (
    INPUT,
    OUTPUT,
    READOUT,
    Elementwise,
    Fit,
    Image,
    Node,
    Pool,
    Population,
    Projection,
    Readout,
    SpikingGraph,
)
from snn_runtime.onnx_build.float32 import CENTRED, OFFSET
from snn_runtime.onnx_build.messages import unpacked

Array: TypeAlias = npt.NDArray[Any]
_Block: TypeAlias = Mapping[str, NodeProto]
"""The operations of one node of the graph, by their outputs."""

_ELEMENTWISE: dict[str, Literal["add", "and", "iand"]] = {"Add": "add", "Mul": "and", "Sub": "iand"}
_DTYPES: dict[int, np.dtype[Any]] = {
    TensorProto.INT8: np.dtype("<i1"),
    TensorProto.INT4: np.dtype("<i1"),
    TensorProto.FLOAT: np.dtype("<f4"),
}


def to_graph(
    proto: GraphProto,
    tensors: "Tensors",
    labels: tuple[str, ...],
    fit: Fit,
    provenance: str,
    calibration: Calibration,
) -> SpikingGraph:
    """Recognise the network in `proto`, whose initializers are `tensors`.

    Raises:
        ModelError: `bad_model`, it is not a network of export-snn; `bad_graph`, it is not sound.
    """
    image = _image(proto, tensors, fit)
    nodes: list[Node] = []
    readout = None
    for name, block in _blocks(proto):
        if readout:
            raise _refuse(f"{name!r:.80} comes after the output")
        if name == OUTPUT:
            readout = _readout(block, tensors)
        else:
            nodes.append(_node(name, block, tensors))
    if not readout:
        raise _refuse("no operation makes the output 'logits'")
    graph = SpikingGraph(
        image, tuple(nodes), readout, labels, provenance, calibration, tensors.packed
    )
    tensors.check_windows(graph)
    return graph


def _refuse(problem: str) -> ModelError:
    return ModelError("bad_model", f"is not a network of export-snn: {problem}")


class Tensors:
    """The initializers by name. Each is used once, so that a small file is no large network."""

    def __init__(self, proto: GraphProto) -> None:
        self._protos = {tensor.name: tensor for tensor in proto.initializer}
        if len(self._protos) != len(proto.initializer):
            raise _refuse("two tensors have the same name")
        self.packed = any(tensor.data_type == TensorProto.INT4 for tensor in proto.initializer)
        """Whether weights are stored two to a byte."""
        self._windows: dict[str, tuple[int, ...]] = {}
        self.read: dict[str, Array] = {}
        """The arrays that were used: views of the file's bytes, or of what was unpacked of them."""

    def use(self, name: str) -> Array:
        tensor = self._protos.pop(name, None)
        if tensor is None:
            raise _refuse(f"tensor {name!r:.80} is missing or used twice")
        shape, data = tuple(tensor.dims), tensor.raw_data
        packed, dtype = tensor.data_type == TensorProto.INT4, _DTYPES.get(tensor.data_type)
        if dtype is None:
            raise _refuse(f"tensor {name!r:.80} is neither int8, int4 nor float32")
        count = math.prod(shape)
        if len(data) != ((count + 1) // 2 if packed else count * dtype.itemsize):
            raise _refuse(f"tensor {name!r:.80} of shape {shape} has {len(data):,} bytes")
        if packed and count % 2 and data[-1] >> 4:
            raise _refuse(f"tensor {name!r:.80} has a number too many")
        whole = np.frombuffer(data, np.uint8 if packed else dtype)
        array = unpacked(whole) if packed else whole.astype(dtype.newbyteorder("="), copy=False)
        self.read[name] = array = array[:count].reshape(shape)
        return array

    def use_window(self, name: str) -> int:
        """The side of the window of ones with which the pool `name` counts."""
        shape = self.use(f"{name}/weight").shape
        if len(shape) != 4:
            raise _refuse(f"pool {name!r:.80} has a window of shape {shape}")
        self._windows[name] = shape
        return int(shape[2])

    def check_windows(self, graph: SpikingGraph) -> None:
        """A window must have the shape that the writer gives it, before the writer makes one."""
        for node in graph.nodes:
            if node.name in self._windows and isinstance(node, Pool):
                expected = (graph.shapes[node.source][0], 1, node.kernel, node.kernel)
                if self._windows[node.name] != expected:
                    raise _refuse(f"pool {node.name} has a window of another shape than {expected}")


def _image(proto: GraphProto, tensors: Tensors, fit: Fit) -> Image:
    if len(proto.input) != 1 or proto.input[0].name != INPUT:
        raise _refuse(f"has {len(proto.input)} inputs, expected one called 'image'")
    if len(proto.output) != 1 or proto.output[0].name != OUTPUT:
        raise _refuse(f"has {len(proto.output)} outputs, expected one called 'logits'")
    dims = _dims(proto.input[0])
    kind = proto.input[0].type.tensor_type.elem_type
    if kind != TensorProto.UINT8 or len(dims) != 4 or dims[0] or dims[3] != 3 or 0 in dims[1:]:
        shape = [size or "?" for size in dims[:6]]
        raise _refuse(f"input of shape {shape}, expected uint8 [batch, height, width, 3]")
    offset = tensors.use(OFFSET)
    if offset.shape != (1, 3, 1, 1) or not all(0 <= m <= 255 for m in offset.flat):
        raise _refuse("the offset is not three numbers from 0 to 255")
    red, green, blue = (int(m) if m == int(m) else float(m) for m in offset.flat)
    return Image(dims[1], dims[2], (red, green, blue), fit)


def _dims(value: ValueInfoProto) -> list[int]:
    """Sizes, 0 for a dimension without one."""
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def _blocks(proto: GraphProto) -> Iterator[tuple[str, _Block]]:
    block: dict[str, NodeProto] = {}
    for node in proto.node:
        if len(node.output) != 1:
            raise _refuse(f"a {node.op_type} has {len(node.output)} outputs, expected one")
        output = node.output[0]
        block[output] = node
        if "/" not in output:
            yield output, block
            block = {}
    if block:
        raise _refuse(f"operation {next(iter(block))!r:.80} leads nowhere")


def _node(name: str, block: _Block, tensors: Tensors) -> Node:
    last = block[name]
    if last.op_type == "MaxPool":
        return Pool(name, _input(last, 0), "max", _attribute(last, "kernel_shape", 2)[0])
    if last.op_type == "Conv":
        return Pool(name, _input(last, 0), "sum", tensors.use_window(name))
    comparisons = sum(node.op_type == "Greater" for node in block.values())
    if last.op_type in _ELEMENTWISE and not comparisons:
        product = block.get(f"{name}/both", last)  # of IAND: x − x y
        return Elementwise(name, _ELEMENTWISE[last.op_type], _input(last, 0), _input(product, 1))
    if last.op_type not in ("Cast", "Add"):
        raise _refuse(f"{name!r:.80} ends in {last.op_type}, expected a node of the graph")
    projections = tuple(
        _projection(node, block, tensors)
        for node in block.values()
        if node.op_type in ("Conv", "Gemm")
    )
    return Population(name, projections, _threshold(name, comparisons, tensors))


def _threshold(name: str, levels: int, tensors: Tensors) -> Array:
    """`[O]`, `[O, H, W]` or `[K, O]`."""
    if levels > 1:
        each = [tensors.use(f"{name}/threshold/{k}").reshape(-1) for k in range(levels)]
        if len({theta.shape for theta in each}) > 1:
            raise _refuse(f"{name!r:.80} has levels with unlike numbers of thresholds")
        return np.stack(each)
    theta = tensors.use(f"{name}/threshold")
    positions = theta.ndim == 4 and theta.shape[0] == 1 and theta.shape[2:] != (1, 1)
    return np.asarray(theta[0] if positions else theta.reshape(-1))


def _projection(node: NodeProto, block: _Block, tensors: Tensors) -> Projection:
    source = _source(node, block)
    weight = _weight(node, block, tensors)
    if node.op_type == "Gemm":
        return Projection(source, weight)
    stride, pads = _attribute(node, "strides", 2), _attribute(node, "pads", 4)
    groups = _attribute(node, "group", 1)[0]
    return Projection(source, weight, (stride[0], stride[1]), (pads[0], pads[1]), groups)


def _source(node: NodeProto, block: _Block) -> str:
    """The node whose spikes come in, before they were flattened."""
    source = _input(node, 0)
    if source in block and block[source].op_type == "Flatten":
        source = _input(block[source], 0)
    return INPUT if source == CENTRED else source


def _weight(node: NodeProto, block: _Block, tensors: Tensors) -> Array:
    name = _input(node, 1)
    return tensors.use(_input(block[name], 0) if name in block else name)


def _readout(block: _Block, tensors: Tensors) -> Readout:
    gemm = next((node for node in block.values() if node.op_type == "Gemm"), None)
    if gemm is None:
        raise _refuse("the output is not a weighted sum")
    weight = _weight(gemm, block, tensors)
    scale, bias = tensors.use(f"{READOUT}/scale"), tensors.use(f"{READOUT}/bias")
    return Readout(_source(gemm, block), weight, scale, bias)


def _input(node: NodeProto, index: int) -> str:
    if index >= len(node.input):
        raise _refuse(f"a {node.op_type} has {len(node.input)} inputs")
    return str(node.input[index])


def _attribute(node: NodeProto, name: str, count: int) -> tuple[int, ...]:
    for attribute in node.attribute:
        if attribute.name == name:
            values = tuple(attribute.ints) or (attribute.i,)
            if len(values) == count:
                return values
    raise _refuse(f"a {node.op_type} needs {count} values in its attribute {name}")
