"""A torch module whose forward pass is one timestep, as layers: read with torch.fx.

The module's own program says what follows what; its neurons are opaque to the tracer and are asked
by their `Framework`. A neuron that is called twice means two timesteps, or a recurrence.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from snn_export.importers.layers import (
    Fired,
    Flattened,
    Joined,
    Layer,
    Layers,
    unsupported,
)
from snn_export.importers.modular import CONTAINERS, idle, layer_of
from snn_export.importers.program import graph_of
from snn_export.importers.spiking import Framework
from snn_runtime.errors import ModelError
from snn_runtime.graph import INPUT


class Membrane(str):
    """A layer's name, when it is the membrane and not the spikes that is meant."""


class Pair(tuple[str, Membrane]):
    """Spikes and membrane of one layer."""


@dataclass(frozen=True, eq=False)
class Traced:
    """What a module's program says."""

    layers: Layers
    neurons: dict[str, str]
    """The module behind every layer of neurons."""
    adds_time: bool
    """Whether forward itself adds the axis of time that multi-step modules want."""


Found: TypeAlias = str | Pair | list[Any] | None
"""The layer that a traced value is; None for states, sizes and other constants."""


def trace(network: nn.Module, framework: Framework) -> Traced:
    """Return the layers of a network in evaluation mode.

    Raises:
        ModelError: `unsupported`, naming the module or function.
    """
    walk = _Walk(network, framework)
    for node in graph_of(network, framework).nodes:
        walk.visit(node)
    return walk.traced()


class _Walk:
    def __init__(self, network: nn.Module, framework: Framework) -> None:
        self.network, self.framework = network, framework
        self.modules = dict(network.named_modules())
        self.found: dict[fx.Node, Found] = {}
        self.made: list[Layer] = []
        self.neurons: dict[str, str] = {}
        self.adds_time = False
        self.output: Found = None

    def traced(self) -> Traced:
        output = self.output
        if isinstance(output, (Pair, list)):  # networks often give (spikes, membrane)
            output = next((o for o in output if isinstance(o, str)), None)
        if not isinstance(output, str) or output == INPUT:
            raise ModelError("unsupported", "output: is no layer's value")
        return Traced(Layers(tuple(self.made), str(output)), self.neurons, self.adds_time)

    def visit(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            self.found[node] = self._placeholder(node)
        elif node.op == "get_attr":
            self.found[node] = None
        elif node.op == "output":
            self.output = self._argument(node.args[0])
        elif node.op == "call_module":
            self.found[node] = self._module(node)
        else:
            self.found[node] = self._function(node)

    def _placeholder(self, node: fx.Node) -> Found:
        if INPUT not in self.found.values():
            return INPUT
        if not node.args:
            raise unsupported(str(node.target), "forward takes more than the picture")
        return None

    def _module(self, node: fx.Node) -> Found:
        name = str(node.target)
        return self._apply(name, self.modules[name], node)

    def _apply(self, name: str, module: nn.Module, node: fx.Node) -> Found:
        source = self._value(node, 0)
        if self.framework.owns(module):
            return self._neuron(name, module, source, node)
        return self._plain(name, module, source)

    def _plain(self, name: str, module: nn.Module, source: str) -> str:
        if idle(module):
            return source
        if type(module).__name__ in CONTAINERS:
            for child_name, child in module.named_children():
                source = self._plain(f"{name}.{child_name}", child, source)
            return source
        return self._add(layer_of(self._fresh(name), module, source))

    def _neuron(self, name: str, module: nn.Module, source: str, node: fx.Node) -> Found:
        if name in self.neurons.values():
            raise unsupported(
                name, "is called again: more than one timestep, a recurrence or shared neurons"
            )
        states = [self._argument(a) for a in (*node.args[1:], *node.kwargs.values())]
        if any(state is not None for state in states):
            raise unsupported(name, "is given another layer's state, expected none or zeros")
        self._check_states(name, node)
        neuron = self.framework.neuron(name, module)
        layer = Fired(
            self._fresh(name), source, neuron.threshold, neuron.gain, neuron.rest, neuron.closed
        )
        self.neurons[self._add(layer)] = name
        return Pair((layer.name, Membrane(layer.name))) if neuron.gives_pair else layer.name

    def _check_states(self, name: str, node: fx.Node) -> None:
        for argument in node.args[1:]:
            if isinstance(argument, fx.Node) and argument.op == "get_attr":
                state: Any = self.network
                for part in str(argument.target).split("."):
                    state = getattr(state, part)
                if isinstance(state, Tensor) and torch.count_nonzero(state):
                    raise unsupported(name, "starts from a membrane that is not zero")

    def _function(self, node: fx.Node) -> Found:
        target = node.target
        name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
        if name in ("size", "dim", "getattr", "init_leaky", "init_lapicque", "reset_mem"):
            return None
        if name == "getitem":
            return self._item(node)
        if name in ("add", "iadd"):
            return self._sum(node)
        if name == "stack":
            steps = self._argument(node.args[0])
            if not isinstance(steps, list) or len(steps) != 1:
                raise unsupported(node.name, "stacks more than one timestep")
            only: Found = steps[0]
            return only
        if target in (operator.mul, operator.floordiv, operator.sub) and self._constant(node):
            return None
        return self._tensor_function(node, name)

    def _tensor_function(self, node: fx.Node, name: str) -> Found:
        source = self._value(node, 0)
        if name in ("unsqueeze", "squeeze", "mean", "sum") and _first_axis(node):
            self.adds_time |= name == "unsqueeze"
            return source  # the axis of time, of length 1
        if name in ("contiguous", "float", "dropout", "clone", "detach"):
            return source
        if name == "repeat" and all(times == 1 for times in node.args[1:]):
            return source
        if name in ("flatten", "view", "reshape"):
            return self._add(Flattened(self._fresh(node.name), source))
        if name == "avg_pool2d" or node.target in _MAX_POOLS:
            make: Callable[..., nn.Module] = nn.AvgPool2d if name == "avg_pool2d" else nn.MaxPool2d
            options = {k: v for k, v in node.kwargs.items() if k not in ("input", "return_indices")}
            module = make(*node.args[1:], **options)
            return self._add(layer_of(self._fresh(node.name), module, source))
        raise unsupported(node.name, f"the function {name} is not among what can be exported")

    def _item(self, node: fx.Node) -> Found:
        whole, index = self._argument(node.args[0]), node.args[1]
        if isinstance(whole, (Pair, list)) and isinstance(index, int):
            item: Found = whole[index]
            return item
        if isinstance(whole, str) and index in (0, -1):
            return whole  # the only timestep
        if whole is None:
            return None
        raise unsupported(node.name, f"takes the part {index!r:.40} of a layer's values")

    def _sum(self, node: fx.Node) -> Found:
        if self._constant(node):
            return None
        sources = tuple(self._one(node, self._argument(a)) for a in node.args[:2])
        return self._add(Joined(self._fresh(node.name), sources))

    def _constant(self, node: fx.Node) -> bool:
        return all(
            isinstance(a, (int, float)) or (isinstance(a, fx.Node) and self.found[a] is None)
            for a in node.args
        )

    def _argument(self, argument: object) -> Found:
        if isinstance(argument, fx.Node):
            return self.found[argument]
        if isinstance(argument, (tuple, list)):
            return [self._argument(item) for item in argument]
        return None

    def _value(self, node: fx.Node, index: int) -> str:
        arguments = (*node.args, *node.kwargs.values())
        return self._one(node, self._argument(arguments[index]) if arguments else None)

    def _one(self, node: fx.Node, found: Found) -> str:
        if isinstance(found, Membrane):
            raise unsupported(node.name, "reads a membrane, which only the output may be")
        if not isinstance(found, str):
            raise unsupported(node.name, "reads what is no layer's value")
        return found

    def _add(self, layer: Layer) -> str:
        self.made.append(layer)
        return layer.name

    def _fresh(self, name: str) -> str:
        taken = {layer.name for layer in self.made} | {INPUT}
        number, fresh = 2, name
        while fresh in taken:
            fresh, number = f"{name}_{number}", number + 1
        return fresh


_MAX_POOLS = (F.max_pool2d, torch.max_pool2d)


def _first_axis(node: fx.Node) -> bool:
    axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    return axis in (0, (0,), [0])
