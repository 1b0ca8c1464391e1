"""ONNX's messages, filled field by field and not by onnx.helper.

A reader compares files with what the writer makes, and engines are built from the very bytes, so
nothing here may change with the onnx library.
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

OPSET = 17
IR_VERSION = 8
PRODUCER = "iir-snn"

Attribute: TypeAlias = int | tuple[int, ...]

_ELEMENTS = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float16): TensorProto.FLOAT16,
    np.dtype(np.int8): TensorProto.INT8,
}


def model(graph: GraphProto, version: str = "") -> ModelProto:
    """Return a model around `graph`; `version` is that of its producer."""
    return ModelProto(
        ir_version=IR_VERSION,
        producer_name=PRODUCER,
        producer_version=version or None,
        opset_import=[OperatorSetIdProto(domain="", version=OPSET)],
        graph=graph,
    )


def node(op: str, inputs: list[str], output: str, **attributes: Attribute) -> NodeProto:
    """Return a node that is called like its one output."""
    return NodeProto(
        op_type=op,
        name=output,
        input=inputs,
        output=[output],
        attribute=[_attribute(key, value) for key, value in attributes.items()],
    )


def value(name: str, element: int, shape: tuple[int, ...]) -> ValueInfoProto:
    """Return a tensor's description; its first dimension, the batch, is not in `shape`."""
    dims = [TensorShapeProto.Dimension(dim_param="batch")]
    dims += [TensorShapeProto.Dimension(dim_value=size) for size in shape]
    tensor = TypeProto.Tensor(elem_type=element, shape=TensorShapeProto(dim=dims))
    return ValueInfoProto(name=name, type=TypeProto(tensor_type=tensor))


def add_tensor(
    graph: GraphProto, name: str, array: npt.NDArray[Any], *, hollow: bool = False
) -> None:
    """Put a constant into `graph`, or only its type and shape."""
    # add() and not append(): the weights are not copied once more.
    tensor = graph.initializer.add(name=name, data_type=_ELEMENTS[array.dtype], dims=array.shape)
    if not hollow:
        tensor.raw_data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _attribute(name: str, value: Attribute) -> AttributeProto:
    if isinstance(value, int):
        return AttributeProto(name=name, type=AttributeProto.INT, i=value)
    return AttributeProto(name=name, type=AttributeProto.INTS, ints=value)
