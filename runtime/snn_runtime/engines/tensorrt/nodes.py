"""An ONNX graph that grows node by node; a second node of a name is the first."""

from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto

from snn_runtime.model_file import messages
from snn_runtime.model_file.messages import Attribute


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
            self._proto.node.append(messages.node(op, inputs, output, **attributes))
        return output

    def tensor(self, name: str, array: npt.NDArray[Any] | np.generic) -> str:
        if name not in self._names:
            self._names.add(name)
            messages.add_tensor(self._proto, name, np.asarray(array))
        return name

    def input(self, name: str, element: int, shape: tuple[int, ...]) -> None:
        self._proto.input.append(messages.value(name, element, shape))

    def output(self, name: str, element: int, shape: tuple[int, ...]) -> None:
        self._proto.output.append(messages.value(name, element, shape))

    def model(self) -> ModelProto:
        return messages.model(self._proto)
