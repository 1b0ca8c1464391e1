"""An ONNX graph that grows node by node, and the constants that integer operators share."""

from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, ValueInfoProto, helper, numpy_helper

from snn_runtime.model_file.messages import IR_VERSION, OPSET

ORT_DOMAIN = "com.microsoft"
SPIKE = 255
"""Where a uint8 quantiser saturates: what a spike is."""

ONE, ZERO = "/one", "/zero"
SATURATING = "/saturating"
"""The scale of a quantiser that makes 255 of 1 and of all above."""
SPIKE_TO_ONE = "/spike_to_one"
"""The scale of a quantiser that makes 1 of a spike, 2 of two spikes, and so on."""
_WEIGHT_ZERO = "/weight_zero"


class Nodes:
    """Nodes and tensors under names of the caller's choice; a second one of a name is the first."""

    def __init__(self, *, signed: bool) -> None:
        self._proto: GraphProto = helper.make_graph([], "integer_spiking_graph", [], [])
        self._names: set[str] = set()
        self._signed = signed
        self.tensor(ONE, np.float32(1))
        self.tensor(ZERO, np.uint8(0))
        self.tensor(SATURATING, np.float32(1 / 256))
        self.tensor(SPIKE_TO_ONE, np.float32(SPIKE))
        self.tensor(_WEIGHT_ZERO, np.int8(0) if signed else np.uint8(128))

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        if output not in self._names:
            self._proto.node.append(helper.make_node(op, inputs, [output], output, **attributes))
            self._names.add(output)
        return output

    def tensor(self, name: str, array: npt.NDArray[Any] | np.generic) -> str:
        if name not in self._names:
            self._proto.initializer.append(numpy_helper.from_array(np.asarray(array), name))
            self._names.add(name)
        return name

    def weight(self, prefix: str, weight: npt.NDArray[Any]) -> list[str]:
        """Three inputs of an operator: int8 numbers (or the same as uint8 + 128), scale, zero."""
        if not self._signed:
            weight = np.ascontiguousarray(weight).view(np.uint8) ^ 128
        return [self.tensor(f"{prefix}/weight", weight), ONE, _WEIGHT_ZERO]

    def model(self, inputs: list[ValueInfoProto], outputs: list[ValueInfoProto]) -> ModelProto:
        self._proto.input.extend(inputs)
        self._proto.output.extend(outputs)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ORT_DOMAIN, 1)]
        return helper.make_model(self._proto, ir_version=IR_VERSION, opset_imports=opsets)


def value(name: str, element: int, shape: tuple[int, ...]) -> ValueInfoProto:
    """A tensor whose first dimension is the batch."""
    return helper.make_tensor_value_info(name, element, ("batch", *shape))
