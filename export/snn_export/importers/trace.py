"""A torch module whose forward pass is one timestep, as layers: read with torch.fx.

The module's own program says what follows what; its neurons are opaque to the tracer and are asked
by their `Framework`. A neuron that is called twice means two timesteps, or a recurrence. What a
function does is probed in `calls`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

from snn_export.importers.bindings import Binding, Head, Membrane, Pair, Values
from snn_export.importers.calls import read_call
from snn_export.importers.layers import Fired, Layers, unsupported
from snn_export.importers.outputs import Place, needed, one_a_class, returned
from snn_export.importers.program import Run, name_of, runs
from snn_export.importers.spiking import Framework, given_to, several_steps
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
    spikes: bool
    """Whether it is spikes that lie there, whose membranes are the logits."""
    head: Head | None = None
    """What stands behind the logits and leaves their order as it is."""
    others: int = 0
    """How many other values of one number a class forward returns, behind it."""


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
        begin, walks = partial(_Walk, network, framework, graph, run, size), list[_Walk]()
        try:
            return _traced(begin, broken or returned(graph, run, classes), classes, walks)
        except ModelError as refusal:
            read = max((len(walk.values.bindings) for walk in walks), default=0)
            refusals.append(((read, not broken), refusal))
    # The form in which most of the program could be read, and run, is the one that is meant.
    raise max(refusals, key=lambda pair: pair[0])[1]


def _traced(
    begin: "Callable[[], _Walk]",
    ends: list[tuple[Place, fx.Node]],
    classes: int,
    walks: "list[_Walk]",
) -> Traced:
    """The first of `ends` that is a layer's value; what was walked through is left in `walks`."""
    for number, (place, end) in enumerate(ends, 1):
        walk = begin()
        walks.append(walk)
        traced = walk.read(place, end)
        if traced is not None:
            rivals = [each for _, each in ends[number:] if one_a_class(walk.run, each, classes)]
            rivals = rivals if one_a_class(walk.run, end, classes) else []
            return replace(traced, others=sum(begin().differs(each, traced) for each in rivals))
    raise ModelError("unsupported", "output: is no layer's value")


class _Walk:
    def __init__(
        self,
        network: nn.Module,
        framework: Framework,
        graph: fx.Graph,
        run: Run,
        size: tuple[int, int],
    ) -> None:
        self.framework, self.graph, self.run, self.size = framework, graph, run, size
        self.modules = dict(network.named_modules())
        self.values = Values(run)
        self.neurons: dict[str, str] = {}
        self.resetting: set[str] = set()
        """Layers of neurons that give their membrane as it is after the reset."""

    def read(self, place: Place, end: fx.Node) -> Traced | None:
        """What was read, if `end`, which lies at `place`, is a layer's value."""
        for node in needed(self.graph, end):
            self.visit(node)
        self.check_fresh(self.graph.output_node(), end)
        return self._traced(place, end)

    def differs(self, end: fx.Node, found: Traced) -> bool:
        """Whether `end` is the value of another layer than the one that was found."""
        try:
            other = self.read((), end)
        except ModelError:  # of which nobody can say what it is
            return True
        return other is not None and other.layers.output != found.layers.output

    def _traced(self, place: Place, end: fx.Node) -> Traced | None:
        output = self.values.bindings[end]
        if isinstance(output, Pair):  # networks often give (spikes, membrane)
            output, place = output[0], (*place, 0)
        head = output if isinstance(output, Head) else None
        name = output.layer if isinstance(output, Head) else output
        if not isinstance(name, str) or name == INPUT:
            return None
        membrane = isinstance(name, Membrane)
        if membrane and name in self.resetting:
            raise unsupported(
                name,
                "returns its membrane after the reset, in which the class that fires has lost its "
                "threshold; set reset_delay=True, or return the current in front of it",
            )
        layers = Layers(tuple(self.values.layers), str(name), self.values.shapes[INPUT][0])
        spikes = name in self.neurons and not membrane
        return Traced(layers, self.neurons, self.graph, self.run.shape, place, spikes, head)

    def visit(self, node: fx.Node) -> None:
        for read in node.all_input_nodes:
            self.check_fresh(node, read)
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

    def check_fresh(self, reader: fx.Node, value: fx.Node) -> None:
        """Refuse what is read after it was changed in place: it is no longer what its call gave."""
        changer = self.run.stale.get((reader, value))
        if changer is not None and self.values.bindings[value] is not None:
            name, kind = self._named(changer)
            raise unsupported(
                name,
                f"{kind} changes {value.name} in place, which {reader.name} reads later; write the "
                "result under a new name, such as y = x.mul(2)",
            )

    def _named(self, node: fx.Node) -> tuple[str, str]:
        """The name of a call, and of what it calls."""
        if node.op == "call_module":
            return str(node.target), type(self.modules[str(node.target)]).__name__
        return node.name, name_of(node)

    def _check_ran(self, node: fx.Node) -> None:
        problem = self.run.problems.get(node)
        if problem is not None:
            height, width = self.size
            name, kind = self._named(node)
            doubt = "; give a module that computes in float32" if "type" in problem else ""
            if OF_SIZE.search(problem):
                doubt = "; pictures have 3 channels or 1; is --image-size right?"
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
        current = given_to(node.args, node.kwargs)
        source = self.values.layer(node, current)
        self._check_states(name, node, current)
        shape = self.values.shape(current)
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
        if neuron.resets_at_once:
            self.resetting.add(layer.name)
        return Pair((layer.name, Membrane(layer.name))) if neuron.gives_pair else layer.name

    def _check_states(self, name: str, node: fx.Node, current: fx.Node) -> None:
        for argument in (*node.args, *node.kwargs.values()):
            if argument is current:
                continue
            if self.values.argument(argument) is not None:
                raise unsupported(name, "is given another layer's state, expected none or zeros")
            state: Any = self.run.values.get(argument) if isinstance(argument, fx.Node) else None
            if isinstance(state, Tensor) and torch.count_nonzero(state):
                raise unsupported(name, "starts from a membrane that is not zero")
