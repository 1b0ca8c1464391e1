"""A torch module whose forward pass is one timestep, as layers: read with torch.fx.

The module's own program says what follows what; its neurons are opaque to the tracer and are asked
by their `Framework`. A neuron that is called twice means two timesteps, or a recurrence. What a
function does is probed in `calls`.
"""

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from snn_export.importers.bindings import Binding, Head, Membrane, Pair, Values
from snn_export.importers.calls import read_call
from snn_export.importers.layers import Fired, Layers, unsupported
from snn_export.importers.outputs import Place, needed, returned
from snn_export.importers.program import Run, name_of, runs
from snn_export.importers.spiking import Framework, several_steps
from snn_export.importers.tracer import graph_of
from snn_runtime.errors import ModelError
from snn_runtime.graph import INPUT

OF_SIZE = re.compile(r"size|shape|dimension|channels", re.IGNORECASE)
"""In what torch says of values that do not fit."""


@dataclass(frozen=True, eq=False)
class Traced:
    """What a module's program says."""

    layers: Layers
    neurons: dict[str, str]
    """The module behind every layer of neurons."""
    graph: fx.Graph
    shape: tuple[int, ...]
    """In which forward takes the pictures, see `program.Run`."""
    place: Place
    """Where in what forward returns the logits lie."""
    head: Head | None = None
    """What stands behind the logits and leaves their order as it is."""


def trace(network: nn.Module, framework: Framework, size: tuple[int, int], classes: int) -> Traced:
    """Return the layers of a network in evaluation mode, for pictures of (height, width).

    Of several values that forward returns, the one of a number a class is meant.

    Raises:
        ModelError: `unsupported`, naming the module or function.
    """
    graph = graph_of(network, framework)
    refusals: list[tuple[tuple[int, bool], ModelError]] = []
    for run in runs(network, framework, graph, size):
        broken: list[tuple[Place, fx.Node]] = [((), node) for node in run.problems]
        read = 0
        try:
            for place, end in broken or returned(graph, run, classes):
                walk = _Walk(network, framework, run, size)
                for node in needed(graph, end):
                    walk.visit(node)
                    read = max(read, len(walk.values.bindings))
                traced = walk.traced(graph, place, end)
                if traced is not None:
                    return traced
            raise ModelError("unsupported", "output: is no layer's value")
        except ModelError as refusal:
            refusals.append(((read, not broken), refusal))
    # The form in which most of the program could be read, and run, is the one that is meant.
    raise max(refusals, key=lambda pair: pair[0])[1]


class _Walk:
    def __init__(
        self, network: nn.Module, framework: Framework, run: Run, size: tuple[int, int]
    ) -> None:
        self.network, self.framework, self.run, self.size = network, framework, run, size
        self.modules = dict(network.named_modules())
        self.values = Values(run)
        self.neurons: dict[str, str] = {}

    def traced(self, graph: fx.Graph, place: Place, end: fx.Node) -> Traced | None:
        """What was read, if `end`, which lies at `place`, is a layer's value."""
        output = self.values.bindings[end]
        if isinstance(output, Pair):  # networks often give (spikes, membrane)
            output, place = output[0], (*place, 0)
        head = output if isinstance(output, Head) else None
        name = output.layer if isinstance(output, Head) else output
        if not isinstance(name, str) or name == INPUT:
            return None
        layers = Layers(tuple(self.values.layers), str(name))
        return Traced(layers, self.neurons, graph, self.run.shape, place, head)

    def visit(self, node: fx.Node) -> None:
        self._check_ran(node)
        if node.op == "placeholder":
            self.values.begin(node, self.size)
            self.values.bindings[node] = INPUT
        elif node.op == "get_attr":
            self.values.bindings[node] = None
        elif node.op == "call_module" and self.framework.owns(self.modules[str(node.target)]):
            self.values.bindings[node] = self._neuron(node)
        else:
            self.values.bindings[node] = read_call(self.values, node, self.modules)

    def _check_ran(self, node: fx.Node) -> None:
        problem = self.run.problems.get(node)
        if problem is not None:
            height, width = self.size
            name, kind = node.name, name_of(node)
            if node.op == "call_module":
                name, kind = str(node.target), type(self.modules[str(node.target)]).__name__
            doubt = "; give a module that computes in float32" if "type" in problem else ""
            doubt = "; is --image-size right?" if OF_SIZE.search(problem) else doubt
            raise unsupported(
                name, f"{kind} cannot be run on pictures of {height}x{width} ({problem}){doubt}"
            )

    def _neuron(self, node: fx.Node) -> Binding:
        name = str(node.target)
        module = self.modules[name]
        # Whether or not the output depends on the other call.
        calls = [n for n in node.graph.nodes if n.op == node.op and n.target == node.target]
        if len(calls) > 1:
            raise unsupported(
                name, "is called again: more than one timestep, a recurrence or shared neurons"
            )
        source = self.values.layer(node, node.args[0] if node.args else None)
        self._check_states(name, node)
        shape = self.values.shape(node.args[0])
        if several_steps(module) and shape[0] != 1:
            raise unsupported(name, f"is given {shape[0]} timesteps, expected one")
        try:
            neuron = self.framework.neuron(name, module)
        except AttributeError as error:
            kind = type(module).__name__
            problem = " ".join(str(error).split())[:100]
            raise unsupported(
                name, f"{kind} of a version that is not understood ({problem})"
            ) from error
        layer = Fired(
            self.values.fresh(name),
            source,
            neuron.threshold,
            neuron.gain,
            neuron.rest,
            neuron.closed,
            neuron.higher,
        )
        self.values.add(layer, self.values.shapes[source])
        self.neurons[layer.name] = name
        return Pair((layer.name, Membrane(layer.name))) if neuron.gives_pair else layer.name

    def _check_states(self, name: str, node: fx.Node) -> None:
        for argument in (*node.args[1:], *node.kwargs.values()):
            if self.values.argument(argument) is not None:
                raise unsupported(name, "is given another layer's state, expected none or zeros")
            state: Any = self.run.values.get(argument) if isinstance(argument, fx.Node) else None
            if isinstance(state, Tensor) and torch.count_nonzero(state):
                raise unsupported(name, "starts from a membrane that is not zero")
