"""A dense INT8 network in LiteRT (TensorFlow Lite), whose kernels for CPUs are XNNPACK's.

The operators between the QDQ nodes that `onnx_build.int8` makes become those of a .tflite file, one
by one. Both count alike: a byte q stands for scale · (q − zero), and there both are 128 less. Maps
are `[N, H, W, C]` there, so the weights behind a flattened map change places.
"""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from snn_bench.litert_file import FLOAT32, Array, File, Scale, Value
from snn_runtime.errors import DeviceError
from snn_runtime.graph import FloatArray
from snn_runtime.onnx_build import ModelProto

SAME, VALID = 0, 1
ATTRIBUTES = {
    "Conv": {"kernel_shape", "strides", "pads", "group"},
    "MaxPool": {"kernel_shape", "strides"},
    "AveragePool": {"kernel_shape", "strides"},
    "Gemm": {"transB"},
    "Flatten": {"axis"},
    "Add": set[str](),
    "Relu": set[str](),
}
"""What is looked at of each operator; with anything else it would mean another."""
DTYPES = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4"}
"""Of ONNX's tensors."""


def installed() -> bool:
    """Whether the package is here."""
    return importlib.util.find_spec("ai_edge_litert") is not None


def open_litert(content: bytes, threads: int) -> Callable[[FloatArray], Array]:
    """Return the call that answers float32 `[N, H, W, 3]` with the int8 logits."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]

    def run(images: FloatArray) -> Array:
        interpreter.set_tensor(source, images)
        interpreter.invoke()
        logits: Array = interpreter.get_tensor(target)
        return logits

    return run


def to_litert(model: ModelProto, batch: int, largest_logit: float) -> bytes:
    """Return the .tflite file of an INT8 network with one image as its input.

    Args:
        largest_logit: The largest magnitude that the logits come to; there they are bytes too.

    Raises:
        DeviceError: `backend_failed`: it has operators, or numbers, that are not looked for here.
    """
    try:
        return _Conversion(model, batch, largest_logit).content
    except (KeyError, ValueError, IndexError) as error:
        text = f"litert: not an INT8 network as export-snn --dense writes it ({error!s:.80})"
        raise DeviceError("backend_failed", text) from error


class _Conversion:
    """A file, node by node."""

    def __init__(self, model: ModelProto, batch: int, largest_logit: float) -> None:
        graph, self.file = model.graph, File()
        self.constants = {tensor.name: _values(tensor) for tensor in graph.initializer}
        self.quantised = {n.input[0]: n for n in graph.node if n.op_type == "QuantizeLinear"}
        self.rounded = {n.output[0]: n.input[0] for n in self.quantised.values()}
        self.restored = {n.output[0]: n for n in graph.node if n.op_type == "DequantizeLinear"}
        self.logits = Scale(np.array([largest_logit / 127], np.float32))
        image = graph.input[0]
        _, channels, height, width = (dim.dim_value for dim in image.type.tensor_type.shape.dim)
        shape = (batch, height, width, channels)
        source, scale = self.file.tensor(shape, FLOAT32), self.scale(image.name)
        pixels = self.file.operator("QuantizeLinear", [source], shape, scale, "Quantize")
        self.values = {image.name: pixels}
        for node in graph.node:
            if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
                self.values[node.output[0]] = self.convert(node)
        self.content = self.file.to_bytes(source, self.values[graph.output[0].name].index)

    def convert(self, node: Any) -> Value:
        unknown = {attribute.name for attribute in node.attribute} - ATTRIBUTES[node.op_type]
        if unknown:
            raise ValueError(f"a {node.op_type} with {', '.join(sorted(unknown))}")
        x, scale = self.source(node.input[0]), self.scale(node.output[0])
        match node.op_type:
            case "Conv":
                return self.convolution(node, x, scale)
            case "Gemm":
                return self.product(node, x, scale)
            case "MaxPool" | "AveragePool":
                return self.pool(node, x, scale)
            case "Flatten":
                size = (x.shape[0], int(np.prod(x.shape[1:])))
                inputs = [x.index, self.file.constant(np.array(size, np.int32))]
                flat = self.file.operator("Flatten", inputs, size, x.scale, "Reshape")
                return replace(flat, was=x.shape[1:])
            case "Add":
                both = [x.index, self.source(node.input[1]).index]
                return self.file.operator("Add", both, x.shape, scale, "Add")
        return self.file.operator("Relu", [x.index], x.shape, scale)

    def convolution(self, node: Any, x: Value, scale: Scale) -> Value:
        kernel, strides = _sides(node, "kernel_shape"), _sides(node, "strides")
        top, left, bottom, right = _sides(node, "pads")
        if _sides(node, "group") != [1]:
            raise ValueError("a convolution has groups")
        weight, factors = self.constant(node.input[1])
        padded = (x.shape[1] + top + bottom, x.shape[2] + left + right)
        size = (x.shape[0], *_steps(padded, kernel, strides), len(weight))
        # `SAME` is symmetrical only without strides; else the map is padded beforehand.
        sides = zip((top, left, bottom, right), (*kernel, *kernel), strict=True)
        same = strides == [1, 1] and all(2 * pad + 1 == k for pad, k in sides)
        if not same and any((top, left, bottom, right)):
            amounts = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
            shape = (x.shape[0], *padded, x.shape[3])
            inputs = [x.index, self.file.constant(amounts)]
            x = self.file.operator("Pad", inputs, shape, x.scale, "Pad")
        stored = self.file.constant(weight.transpose(0, 2, 3, 1), Scale(factors))
        inputs = [x.index, stored, self.bias(node)]
        options = {"dilationHFactor": 1, "dilationWFactor": 1, "padding": SAME if same else VALID}
        return self.file.operator(
            "Conv", inputs, size, scale, "Conv2D", options | _strides(strides)
        )

    def product(self, node: Any, x: Value, scale: Scale) -> Value:
        weight, factors = self.constant(node.input[1])
        if _sides(node, "transB") != [1]:
            raise ValueError("a Gemm of weights [in, out]")
        if x.was:
            height, width, channels = x.was
            maps = weight.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
            weight = maps.reshape(weight.shape)
        inputs = [x.index, self.file.constant(weight, Scale(factors)), self.bias(node)]
        size = (x.shape[0], len(weight))
        return self.file.operator("Gemm", inputs, size, scale, "FullyConnected")

    def pool(self, node: Any, x: Value, scale: Scale) -> Value:
        kernel, strides = _sides(node, "kernel_shape"), _sides(node, "strides")
        options = {"filterHeight": kernel[0], "filterWidth": kernel[1], "padding": VALID}
        size = (x.shape[0], *_steps(x.shape[1:3], kernel, strides), x.shape[3])
        options |= _strides(strides)
        return self.file.operator(node.op_type, [x.index], size, scale, "Pool2D", options)

    def source(self, name: str) -> Value:
        return self.values[self.rounded[self.restored[name].input[0]]]

    def bias(self, node: Any) -> int:
        integers, factors = self.constant(node.input[2])
        return self.file.constant(integers, Scale(factors))

    def constant(self, name: str) -> tuple[Array, Array]:
        """The integers of a constant and their factors."""
        stored, factors = self.restored[name].input[:2]
        return self.constants[stored], np.atleast_1d(self.constants[factors])

    def scale(self, name: str) -> Scale:
        """Of a value's bytes; the logits have none in ONNX."""
        if name not in self.quantised:
            return self.logits
        factor, zero = (self.constants[key] for key in self.quantised[name].input[1:3])
        if zero.dtype != np.uint8:
            raise ValueError(f"activations of {zero.dtype}")
        return Scale(np.atleast_1d(factor), int(zero) - 128)


def _values(tensor: Any) -> Array:
    dtype = np.dtype(DTYPES[tensor.data_type])
    if tensor.raw_data:
        return np.frombuffer(tensor.raw_data, dtype).reshape(tuple(tensor.dims))
    return np.array(tensor.float_data or tensor.int32_data, dtype).reshape(tuple(tensor.dims))


def _sides(node: Any, name: str) -> list[int]:
    found = next((each for each in node.attribute if each.name == name), None)
    if found is None:
        raise ValueError(f"a {node.op_type} without {name}")
    return list(found.ints) or [found.i]


def _strides(strides: Sequence[int]) -> dict[str, int]:
    return {"strideH": strides[0], "strideW": strides[1]}


def _steps(size: Sequence[int], kernel: Sequence[int], strides: Sequence[int]) -> list[int]:
    return [(n - k) // s + 1 for n, k, s in zip(size, kernel, strides, strict=True)]
