"""An ONNX graph that grows node by node, message by message; a second node of a name is the first.

Messages are filled field by field as in `onnx_file.writer`, so that the bytes, which are what an
engine is built from, do not change with the onnx library.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    OperatorSetIdProto,
    TensorProto,
    TensorShapeProto,
    TypeProto,
    ValueInfoProto,
)

from snn_runtime.onnx_file.writer import IR_VERSION, OPSET, PRODUCER

Attribute: TypeAlias = int | tuple[int, ...]

_ELEMENTS = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float16): TensorProto.FLOAT16,
    np.dtype(np.int8): TensorProto.INT8,
}


class Nodes:
    """Nodes and tensors under names of the caller's choice."""

    def __init__(self) -> None:
        self._proto = GraphProto(name="spiking_graph")
        self._names: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def node(self, op: str, inputs: list[str], output: str, **attributes: Attribute) -> str:
        if output not in self._names:
            self._names.add(output)
            self._proto.node.append(
                NodeProto(
                    op_type=op,
                    name=output,
                    input=inputs,
                    output=[output],
                    attribute=[_attribute(key, value) for key, value in attributes.items()],
                )
            )
        return output

    def tensor(self, name: str, array: npt.NDArray[Any] | np.generic) -> str:
        if name not in self._names:
            self._names.add(name)
            array = np.asarray(array)
            tensor = self._proto.initializer.add(
                name=name, data_type=_ELEMENTS[array.dtype], dims=array.shape
            )
            tensor.raw_data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        return name

    def input(self, name: str, element: int, shape: tuple[int, ...]) -> None:
        self._proto.input.append(_value(name, element, shape))

    def output(self, name: str, element: int, shape: tuple[int, ...]) -> None:
        self._proto.output.append(_value(name, element, shape))

    def model(self) -> ModelProto:
        return ModelProto(
            ir_version=IR_VERSION,
            producer_name=PRODUCER,
            opset_import=[OperatorSetIdProto(domain="", version=OPSET)],
            graph=self._proto,
        )


def _attribute(name: str, value: Attribute) -> AttributeProto:
    if isinstance(value, int):
        return AttributeProto(name=name, type=AttributeProto.INT, i=value)
    return AttributeProto(name=name, type=AttributeProto.INTS, ints=value)


def _value(name: str, element: int, shape: tuple[int, ...]) -> ValueInfoProto:
    """A tensor whose first dimension is the batch."""
    dims = [TensorShapeProto.Dimension(dim_param="batch")]
    dims += [TensorShapeProto.Dimension(dim_value=size) for size in shape]
    tensor = TypeProto.Tensor(elem_type=element, shape=TensorShapeProto(dim=dims))
    return ValueInfoProto(name=name, type=TypeProto(tensor_type=tensor))
