"""The program of a torch module: run, to see what its calls give."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from snn_export.importers.spiking import Framework, several_steps

PICTURES = 2
"""In the trial run: two, so that their axis differs from one of time, whose length is 1."""
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


def runs(
    network: nn.Module, framework: Framework, graph: fx.Graph, size: tuple[int, int]
) -> Iterator[Run]:
    """Try the program on pictures of (height, width) in every form it may want them in:
    as a map or as one row, with an axis of time in front or without. The likeliest form is first.
    """
    channels = _channels(network, graph, size)
    maps, row = (-1, channels, *size), (-1, channels * size[0] * size[1])
    plain, timed = [maps, row], [(1, *maps), (1, *row)]
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
        super().__init__(fx.GraphModule(network, graph))
        self.run_of = run
        self.pictured: set[fx.Node] = set()
        self.at: fx.Node | None = None

    def run_node(self, n: fx.Node) -> Any:
        self.at = n
        value = super().run_node(n)
        depends = n.op == "placeholder" or any(m in self.pictured for m in n.all_input_nodes)
        if depends and name_of(n) not in SHAPES_ONLY and _holds_tensor(value):
            self.pictured.add(n)
            self.run_of.values[n] = _shape_of(value)
        else:
            self.run_of.values[n] = value
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


def _channels(network: nn.Module, graph: fx.Graph, size: tuple[int, int]) -> int:
    """Colours of the picture, known from the first weights."""
    modules = dict(network.named_modules())
    for node in graph.nodes:
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, nn.Conv2d):
            return module.in_channels
        if isinstance(module, nn.Linear):
            return 1 if module.in_features == size[0] * size[1] else 3
    return 3


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return any(_holds_tensor(part) for part in value)
    return isinstance(value, Tensor)


def _shape_of(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_shape_of(part) for part in value]
    return value.to("meta") if isinstance(value, Tensor) else value
