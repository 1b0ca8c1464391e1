"""ONNX's messages, filled field by field and not by onnx.helper.

A reader compares files with what the writer makes, and engines are built from the very bytes, so
nothing here may change with the onnx library.
"""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

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

OPSET, PACKED_OPSET = 17, 21
"""Of the operators; the second where weights are stored two to a byte."""
IR_VERSIONS = {OPSET: 8, PACKED_OPSET: 10}
PRODUCER = "iir-snn"

BATCH = -1
"""The free dimension in a shape,"""
FREE = "batch"
"""and what models call it."""

Attribute: TypeAlias = int | tuple[int, ...]

_ELEMENTS = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float16): TensorProto.FLOAT16,
    np.dtype(np.int8): TensorProto.INT8,
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(np.int32): TensorProto.INT32,
    np.dtype(np.int64): TensorProto.INT64,
    np.dtype(np.bool_): TensorProto.BOOL,
}


def model(name: str, version: str, operators: int = OPSET) -> ModelProto:
    """Return a model without operators; `version` is its producer's, left out if empty."""
    return ModelProto(
        ir_version=IR_VERSIONS[operators],
        producer_name=PRODUCER,
        producer_version=version or None,
        opset_import=[opset("", operators)],
        graph=GraphProto(name=name),
    )


def opset(domain: str, version: int) -> OperatorSetIdProto:
    """Return which version of a domain's operators a model uses."""
    return OperatorSetIdProto(domain=domain, version=version)


def node(
    op: str, name: str, inputs: Iterable[str], domain: str, attributes: Mapping[str, Attribute]
) -> NodeProto:
    """Return a node that is called like its one output."""
    return NodeProto(
        op_type=op,
        name=name,
        domain=domain or None,
        input=inputs,
        output=[name],
        attribute=[_attribute(key, value) for key, value in attributes.items()],
    )


def value(name: str, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> ValueInfoProto:
    """Return a tensor's description."""
    tensor = TypeProto.Tensor(
        elem_type=element(dtype), shape=TensorShapeProto(dim=[_dimension(size) for size in shape])
    )
    return ValueInfoProto(name=name, type=TypeProto(tensor_type=tensor))


def element(dtype: npt.DTypeLike) -> int:
    """Return ONNX's number for a type."""
    return _ELEMENTS[np.dtype(dtype)]


_HALVES = np.arange(256, dtype=np.uint8).view(np.int8)
_PAIRS = np.stack([_HALVES << 4 >> 4, _HALVES >> 4], axis=-1).view(np.uint16)[:, 0]
"""The two numbers of every byte, side by side in memory."""


def packed(array: npt.NDArray[np.int8]) -> bytes:
    """Return the bytes of an INT4 tensor of numbers from −8 to 7: two to a byte, the first in its
    lower half."""
    halves = array.reshape(-1).view(np.uint8) & 15
    halves = np.append(halves, np.zeros(halves.size % 2, np.uint8))
    return (halves[::2] | halves[1::2] << 4).tobytes()


def unpacked(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    """The inverse of `packed`: two numbers of every byte."""
    numbers: npt.NDArray[np.int8] = _PAIRS[data].view(np.int8)
    return numbers


def _dimension(size: int) -> TensorShapeProto.Dimension:
    if size == BATCH:
        return TensorShapeProto.Dimension(dim_param=FREE)
    return TensorShapeProto.Dimension(dim_value=size)


def _attribute(name: str, value: Attribute) -> AttributeProto:
    if isinstance(value, int):
        return AttributeProto(name=name, type=AttributeProto.INT, i=value)
    return AttributeProto(name=name, type=AttributeProto.INTS, ints=value)
