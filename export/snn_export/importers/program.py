"""The program of a torch module: run, to see what its calls give."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from snn_export.importers.spiking import Framework, several_steps

PICTURES = 2
"""In the trial run: two, so that their axis differs from one of time, whose length is 1."""
COLOURS = (3, 1)
SIZES = ("size", "dim", "numel", "getattr", "len", "ndimension")
"""Ask for a shape, a type or a place, and for no number."""
SHAPES_ONLY = ("zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full")
"""Take no number from what they are given."""


@dataclass(frozen=True, eq=False)
class Run:
    """What every call of a program gave for `PICTURES` pictures."""

    shape: tuple[int, ...]
    """In which the program takes the pictures, the number of them left out (−1)."""
    values: dict[fx.Node, Any] = field(default_factory=dict)
    """Constants as they are; of what depends on the pictures only the shape (a meta tensor)."""
    problems: dict[fx.Node, str] = field(default_factory=dict)
    """The call at which the program broke off, if it did."""
    stale: dict[tuple[fx.Node, fx.Node], fx.Node] = field(default_factory=dict)
    """(reader, value): the call that changed the value in place before it was read."""


def runs(
    network: nn.Module, framework: Framework, graph: fx.Graph, size: tuple[int, int]
) -> Iterator[Run]:
    """Try the program on pictures of (height, width) in every form it may want them in: as a map or
    as one row, with an axis of time in front or without, in three colours or in one. The likeliest
    form is first.
    """
    maps = [(-1, channels, *size) for channels in COLOURS]
    rows = [(-1, channels * size[0] * size[1]) for channels in COLOURS]
    plain: list[tuple[int, ...]] = [*maps, *rows]
    timed = [(1, *shape) for shape in plain]
    several = any(several_steps(module) for module in network.modules())
    for shape in [*timed, *plain] if several else [*plain, *timed]:
        yield _run(network, framework, graph, shape)


def value_of(
    network: nn.Module, framework: Framework, graph: fx.Graph, images: Tensor, wanted: fx.Node
) -> Tensor:
    """Return what the program's call `wanted` gives for `images`."""
    framework.reset(network)
    watch = _Watch(network, graph, wanted)
    watch.run(images)
    answer: Tensor = watch.answer
    return answer


class _Watch(fx.Interpreter):
    """Runs a program call by call, for one of its values."""

    def __init__(self, network: nn.Module, graph: fx.Graph, wanted: fx.Node) -> None:
        super().__init__(fx.GraphModule(network, graph))
        self.wanted = wanted
        self.answer: Any = None

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n is self.wanted:
            self.answer = value
        return value


class _Observer(fx.Interpreter):
    def __init__(self, network: nn.Module, graph: fx.Graph, run: Run) -> None:
        # Nothing is freed: another value would have its place in memory.
        super().__init__(fx.GraphModule(network, graph), garbage_collect_values=False)
        self.run_of = run
        self.pictured: set[fx.Node] = set()
        self.at: fx.Node | None = None
        self.versions: dict[fx.Node, list[int]] = {}
        """How often the numbers of every value had been changed when a call gave it."""
        self.changed: dict[int, fx.Node] = {}
        """The last call that changed what lies at a place in memory."""

    def run_node(self, n: fx.Node) -> Any:
        self.at = n
        for read in n.all_input_nodes:
            if _versions(self.env[read]) != self.versions[read]:
                places = (_place(tensor) for tensor in _tensors(self.env[read]))
                changers = (self.changed[place] for place in places if place in self.changed)
                self.run_of.stale[n, read] = next(changers, read)
        value = self._watched(n)
        depends = n.op == "placeholder" or any(m in self.pictured for m in n.all_input_nodes)
        if depends and name_of(n) not in SHAPES_ONLY and _tensors(value):
            self.pictured.add(n)
            self.run_of.values[n] = _shape_of(value)
        else:
            self.run_of.values[n] = value
        return value

    def _watched(self, n: fx.Node) -> Any:
        """What the call gives; views and `out=` change a value as well as methods in place."""
        read = [tensor for node in n.all_input_nodes for tensor in _tensors(self.env[node])]
        before = _versions(read)
        value = super().run_node(n)
        pairs = zip(read, before, _versions(read), strict=True)
        self.changed |= {_place(tensor): n for tensor, old, new in pairs if old != new}
        self.versions[n] = _versions(value)
        return value


@torch.no_grad()
def _run(network: nn.Module, framework: Framework, graph: fx.Graph, shape: tuple[int, ...]) -> Run:
    sizes = [PICTURES if side == -1 else side for side in shape]
    noise = torch.randn(sizes, generator=torch.Generator().manual_seed(0))
    run = Run(shape)
    observer = _Observer(network, graph, run)
    framework.reset(network)
    try:
        observer.run(noise)
    except Exception as error:  # the user's own code can raise anything
        assert observer.at is not None, "a program begins with what it is given"
        run.problems[observer.at] = " ".join(str(error).split("\n\n")[0].split())[:150]
    framework.reset(network)
    return run


def name_of(node: fx.Node) -> str:
    """The name of the function, method or module that the node calls."""
    target = node.target
    return target if isinstance(target, str) else getattr(target, "__name__", str(target))


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, (tuple, list)):
        return [tensor for part in value for tensor in _tensors(part)]
    return [value] if isinstance(value, Tensor) else []


def _versions(value: Any) -> list[int]:
    """torch counts how often numbers in memory are changed, but of inference tensors."""
    return [0 if each.is_inference() else each._version for each in _tensors(value)]


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _shape_of(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_shape_of(part) for part in value]
    return value.to("meta") if isinstance(value, Tensor) else value
