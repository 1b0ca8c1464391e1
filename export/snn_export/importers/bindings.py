"""What the values of a program are, while it is read: layers, in one shape or another."""

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor, fx

from snn_export.importers.layers import Flattened, Layer, unsupported, unused
from snn_export.importers.program import PICTURES, Run
from snn_runtime.graph import INPUT

Shape: TypeAlias = tuple[int, ...]


class Membrane(str):
    """A layer's name, when it is the membrane and not the spikes that is meant."""


class Pair(tuple[str, Membrane]):
    """Spikes and membrane of one layer."""


@dataclass(frozen=True, eq=False)
class Head:
    """Logits behind a function that keeps their order, such as a sigmoid: nothing may read them."""

    layer: str
    """A `Membrane`, if the logits are that of neurons."""
    before: fx.Node
    """Whose values are the logits."""
    kinds: tuple[str, ...]


Binding: TypeAlias = str | Pair | Head | list[Any] | None
"""The layer that a traced value is; None for states, sizes and other constants."""


class Values:
    """The layers read so far, and which of them each call of the program gives."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.bindings: dict[fx.Node, Binding] = {}
        self.layers: list[Layer] = []
        self.shapes: dict[str, Shape] = {}
        """The shape of each layer's values for one picture: (C, H, W) or (O,)."""

    def begin(self, picture: fx.Node, size: tuple[int, int]) -> None:
        """`picture` is what the program is given."""
        self.shapes[INPUT] = (math.prod(self.shape(picture)) // PICTURES // math.prod(size), *size)

    def shape(self, node: Any) -> Shape:
        """What torch gave for `PICTURES` pictures."""
        value = self.run.values.get(node) if isinstance(node, fx.Node) else None
        return tuple(value.shape) if isinstance(value, Tensor) else ()

    def argument(self, argument: object) -> Binding:
        if isinstance(argument, fx.Node):
            return self.bindings[argument]
        if isinstance(argument, (tuple, list)):
            return [self.argument(item) for item in argument]
        return None

    def layer(self, node: fx.Node, argument: object) -> str:
        """The layer that `node` reads.

        Raises:
            ModelError: `unsupported`: it reads something else.
        """
        binding = self.argument(argument)
        if isinstance(binding, Head):
            kind = binding.kinds[-1]
            raise unsupported(node.name, f"reads what {kind} gives, which only the output may be")
        if isinstance(binding, Membrane):
            raise unsupported(node.name, "reads a membrane, which only the output may be")
        if not isinstance(binding, str):
            raise unsupported(node.name, "reads what is no layer's value")
        return binding

    def add(self, layer: Layer, shape: Shape) -> str:
        self.layers.append(layer)
        self.shapes[layer.name] = shape
        return layer.name

    def same(self, name: str, source: str, shape: Shape) -> str:
        """The numbers of `source` in another shape: in one row, as a map again, or as they were."""
        own = self.shapes[source]
        if len(own) == 3 and shape[-3:] != own and shape[-1] == math.prod(own):
            return self.add(Flattened(self.fresh(name), source), (math.prod(own),))
        layer = next((layer for layer in self.layers if layer.name == source), None)
        if isinstance(layer, Flattened) and shape[-3:] == self.shapes[layer.source]:
            return layer.source
        return source

    def fresh(self, name: str) -> str:
        """A name that no layer has."""
        return unused(name, {layer.name for layer in self.layers} | {INPUT})
