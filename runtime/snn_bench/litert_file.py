"""A .tflite file under construction: tensors of bytes and operators on them, added one by one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
FLOAT32, INT32, INT8 = 0, 2, 9
OPERATORS = {
    "Add": (0, 2),
    "AveragePool": (1, 2),
    "Conv": (3, 3),
    "Gemm": (9, 4),
    "MaxPool": (17, 2),
    "Relu": (19, 2),
    "Flatten": (22, 1),
    "Pad": (34, 2),
    "QuantizeLinear": (114, 1),
}
"""The number that such files have for an operator of ONNX, and its version with int8."""


@dataclass(frozen=True)
class Scale:
    """What a byte q stands for: `factor · (q − zero)`; one factor, or one a channel."""

    factor: Array
    zero: int = 0


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the file."""

    index: int
    shape: tuple[int, ...]
    scale: Scale
    was: tuple[int, ...] = ()
    """Height, width and channels of the map that it was before it was flattened."""


class File:
    """Tensors and operators; the package's classes hold them."""

    def __init__(self) -> None:
        from ai_edge_litert import schema_py_generated

        self._schema: Any = schema_py_generated
        self._buffers: list[Any] = [self._schema.BufferT()]
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._kinds: list[str] = []

    def tensor(
        self,
        shape: Sequence[int],
        kind: int,
        scale: Scale | None = None,
        data: Array | None = None,
    ) -> int:
        """Add a tensor, a constant one with `data`, and return its index."""
        made = self._schema.TensorT()
        made.shape, made.type, made.name = list(shape), kind, str(len(self._tensors))
        if data is not None:
            made.buffer = len(self._buffers)
            self._buffers.append(self._schema.BufferT())
            self._buffers[-1].data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        if scale is not None:
            made.quantization = self._schema.QuantizationParametersT()
            made.quantization.scale = scale.factor
            made.quantization.zeroPoint = np.full(len(scale.factor), scale.zero, np.int64)
        self._tensors.append(made)
        return len(self._tensors) - 1

    def constant(self, data: Array, scale: Scale | None = None) -> int:
        """Add integers, int8 or int32."""
        return self.tensor(data.shape, INT8 if data.dtype == np.int8 else INT32, scale, data)

    def operator(
        self,
        kind: str,
        inputs: Sequence[int],
        shape: tuple[int, ...],
        scale: Scale,
        options: str = "",
        values: Mapping[str, int] | None = None,
    ) -> Value:
        """Add an operator of the kind that ONNX calls so, and return what it makes, int8.

        Args:
            options: The package's name for its options, of which `values` are set.
        """
        made = Value(self.tensor(shape, INT8, scale), shape, scale)
        operator = self._schema.OperatorT()
        if kind not in self._kinds:
            self._kinds.append(kind)
        operator.opcodeIndex = self._kinds.index(kind)
        operator.inputs, operator.outputs = list(inputs), [made.index]
        if options:
            operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, f"{options}Options")
            operator.builtinOptions = getattr(self._schema, f"{options}OptionsT")()
            for key, value in (values or {}).items():
                setattr(operator.builtinOptions, key, value)
        self._operators.append(operator)
        return made

    def to_bytes(self, source: int, target: int) -> bytes:
        """The file, whose input and output are these tensors."""
        import flatbuffers

        model, graph = self._schema.ModelT(), self._schema.SubGraphT()
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs, graph.outputs = [source], [target]
        model.version, model.subgraphs, model.buffers = 3, [graph], self._buffers
        model.operatorCodes = []
        for kind in self._kinds:
            code = self._schema.OperatorCodeT()
            code.builtinCode, code.version = OPERATORS[kind]
            code.deprecatedBuiltinCode = code.builtinCode
            model.operatorCodes.append(code)
        builder = flatbuffers.Builder(2**16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
