"""ONNX as functions of values: an operator takes values and returns the value that it makes.

    op = Operators("line")
    x = op.input("x", np.float32, (BATCH, 3))
    ax = op.mul("ax", x, op.constant("a", a))
    model = op.model(op.add("y", ax, op.constant("b", b)))

The name comes first, as in `y = ax + b`, and is the caller's: in model.onnx names are part of the
format, elsewhere they are how people find their way. Equal calls are one value, and a name is never
given to two. Nodes stand in the order of the calls, so equal calls make equal bytes, with any
version of the onnx library.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

from snn_runtime.onnx_build import messages
from snn_runtime.onnx_build.messages import BATCH, Attribute

__all__ = ["BATCH", "Array", "Operators", "ModelProto", "Pads", "Pair", "Value", "convolved"]

Array: TypeAlias = npt.NDArray[Any] | np.generic
Pair: TypeAlias = tuple[int, int]
"""Height and width."""
Pads: TypeAlias = tuple[int, int, int, int]
"""Top, left, bottom, right."""


@dataclass(frozen=True)
class Value:
    """A tensor of the graph under construction."""

    name: str
    dtype: npt.DTypeLike
    shape: tuple[int, ...]
    """With `BATCH` where the size is free."""


class Operators:
    """A graph under construction."""

    def __init__(self, name: str, version: str = "", opset: int = messages.OPSET) -> None:
        """Begin a graph called `name`; `version` is that of the model's producer, `opset` that of
        the operators."""
        self._model = messages.model(name, version, opset)
        # The model's own graph, and not one that is given to it, which would copy all weights.
        self._graph = self._model.graph
        self._made: dict[str, NodeProto | TensorProto] = {}

    def model(self, *outputs: Value) -> ModelProto:
        """Return the model that computes `outputs`."""
        self._graph.ClearField("output")
        self._graph.output.extend(map(_described, outputs))
        return self._model

    def input(self, name: str, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> Value:
        value = Value(name, dtype, shape)
        self._graph.input.append(_described(value))
        return value

    def annotate(self, value: Value) -> None:
        """Write down the type and shape of a value that is neither input nor output."""
        self._graph.value_info.append(_described(value))

    def constant(self, name: str, array: Array) -> Value:
        return self._stored(name, array, messages.element(array.dtype))

    def packed(self, name: str, array: Array) -> Value:
        """A constant of numbers from −8 to 7, as INT4."""
        return self._stored(name, array, TensorProto.INT4)

    def _stored(self, name: str, array: Array, element: int) -> Value:
        data = self.data(name, array, element)
        if name in self._made:
            assert self._made[name].raw_data == data, f"two constants are called {name}"
        else:
            # add() and not append(), which would copy the weights once more.
            tensor = self._graph.initializer.add(name=name, dims=array.shape, raw_data=data)
            tensor.data_type = element
            self._made[name] = tensor
        return Value(name, array.dtype, array.shape)

    def data(self, name: str, array: Array, element: int) -> bytes:
        """The bytes of a constant of ONNX's type `element`."""
        if element == TensorProto.INT4:
            return messages.packed(np.asarray(array, np.int8))
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()

    def node(
        self, op: str, made: Value, *inputs: Value, domain: str = "", **attributes: Attribute
    ) -> Value:
        """Any operator of one output: of ONNX's own, or of version 1 of another domain."""
        node = messages.node(op, made.name, [x.name for x in inputs], domain, attributes)
        if made.name in self._made:
            assert self._made[made.name] == node, f"two values are called {made.name}"
            return made
        self._made[made.name] = node
        self._graph.node.append(node)
        if domain not in {opset.domain for opset in self._model.opset_import}:
            self._model.opset_import.append(messages.opset(domain, 1))
        return made

    def add(self, name: str, a: Value, b: Value) -> Value:
        return self.node("Add", replace(a, name=name), a, b)

    def sub(self, name: str, a: Value, b: Value) -> Value:
        return self.node("Sub", replace(a, name=name), a, b)

    def mul(self, name: str, a: Value, b: Value) -> Value:
        return self.node("Mul", replace(a, name=name), a, b)

    def div(self, name: str, a: Value, b: Value) -> Value:
        return self.node("Div", replace(a, name=name), a, b)

    def greater(self, name: str, a: Value, b: Value) -> Value:
        return self.node("Greater", Value(name, np.bool_, a.shape), a, b)

    def minimum(self, name: str, a: Value, b: Value) -> Value:
        return self.node("Min", replace(a, name=name), a, b)

    def where(self, name: str, condition: Value, a: Value, b: Value) -> Value:
        """a where the condition holds, else b."""
        return self.node("Where", Value(name, a.dtype, condition.shape), condition, a, b)

    def relu(self, name: str, x: Value) -> Value:
        return self.node("Relu", replace(x, name=name), x)

    def cast(self, name: str, x: Value, dtype: npt.DTypeLike) -> Value:
        return self.node("Cast", Value(name, dtype, x.shape), x, to=messages.element(dtype))

    def quantize(self, name: str, x: Value, scale: Value, zero: Value) -> Value:
        """`round(x / scale) + zero`, saturated to the type of `zero`."""
        return self.node("QuantizeLinear", Value(name, zero.dtype, x.shape), x, scale, zero)

    def dequantize(self, name: str, x: Value, scale: Value, *zero: Value) -> Value:
        """`(x − zero) · scale`."""
        return self.node("DequantizeLinear", Value(name, scale.dtype, x.shape), x, scale, *zero)

    def transpose(self, name: str, x: Value, order: tuple[int, ...]) -> Value:
        shape = tuple(x.shape[axis] for axis in order)
        return self.node("Transpose", Value(name, x.dtype, shape), x, perm=order)

    def concat(self, name: str, parts: Sequence[Value], axis: int) -> Value:
        shape = list(parts[0].shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        return self.node("Concat", Value(name, parts[0].dtype, tuple(shape)), *parts, axis=axis)

    def flatten(self, name: str, x: Value) -> Value:
        """`[N, C, H, W]` to `[N, C·H·W]`; what is flat stays itself."""
        if len(x.shape) == 2:
            return x
        shape = (x.shape[0], math.prod(x.shape[1:]))
        return self.node("Flatten", Value(name, x.dtype, shape), x, axis=1)

    def gemm(self, name: str, x: Value, weight: Value, *bias: Value) -> Value:
        """`x · weightᵀ (+ bias)` of `[N, I]` and `[O, I]`."""
        made = Value(name, x.dtype, (x.shape[0], weight.shape[0]))
        return self.node("Gemm", made, x, weight, *bias, transB=1)

    def conv(
        self,
        name: str,
        x: Value,
        weight: Value,
        *bias: Value,
        stride: Pair = (1, 1),
        pads: Pads = (0, 0, 0, 0),
        groups: int = 1,
    ) -> Value:
        """`weight ∗ x (+ bias)` of `[N, I, H, W]` and `[O, I/groups, kh, kw]`."""
        kernel = weight.shape[2:]
        made = Value(name, x.dtype, convolved(x, weight.shape[0], kernel, stride, pads))
        return self.node(
            "Conv",
            made,
            *(x, weight, *bias),
            group=groups,
            kernel_shape=kernel,
            pads=pads,
            strides=stride,
        )

    def max_pool(
        self, name: str, x: Value, kernel: Pair, stride: Pair, pads: Pads = (0, 0, 0, 0)
    ) -> Value:
        made = replace(x, name=name, shape=convolved(x, x.shape[1], kernel, stride, pads))
        if not any(pads):
            return self.node("MaxPool", made, x, kernel_shape=kernel, strides=stride)
        return self.node("MaxPool", made, x, kernel_shape=kernel, pads=pads, strides=stride)

    def average_pool(self, name: str, x: Value, kernel: Pair, stride: Pair) -> Value:
        made = replace(x, name=name, shape=convolved(x, x.shape[1], kernel, stride))
        return self.node("AveragePool", made, x, kernel_shape=kernel, strides=stride)


def convolved(
    x: Value,
    channels: int,
    kernel: tuple[int, ...],
    stride: Pair,
    pads: Pads = (0, 0, 0, 0),
) -> tuple[int, ...]:
    """The shape of `[N, C, H, W]` after a kernel went over it."""
    padded = [size + pads[i] + pads[i + 2] for i, size in enumerate(x.shape[2:])]
    steps = [(size - k) // s + 1 for size, k, s in zip(padded, kernel, stride, strict=True)]
    return (x.shape[0], channels, *steps)


def _described(value: Value) -> ValueInfoProto:
    return messages.value(value.name, value.dtype, value.shape)
