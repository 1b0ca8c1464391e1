"""What a program returns, and the calls that lead to it: nobody reads the others."""

from collections.abc import Iterator
from typing import Any, TypeAlias

from torch import Tensor, fx

from snn_export.importers.program import PICTURES, Run

Place: TypeAlias = tuple[Any, ...]
"""Indices and keys, one after another, at which something lies in what forward returns."""


def returned(graph: fx.Graph, run: Run, classes: int) -> list[tuple[Place, fx.Node]]:
    """The values in what forward returns, those of one number a class first."""
    values = list(_values((), graph.output_node().args[0]))
    return sorted(values, key=lambda each: not one_a_class(run, each[1], classes))


def one_a_class(run: Run, value: fx.Node, classes: int) -> bool:
    """Whether `value` has as many numbers as there are classes."""
    return _size(run.values.get(value)) == PICTURES * classes


def needed(graph: fx.Graph, end: fx.Node) -> list[fx.Node]:
    """The calls that `end` depends on, and itself, in their order."""
    found: set[fx.Node] = set()
    left = [end]
    while left:
        node = left.pop()
        if node not in found:
            found.add(node)
            left += node.all_input_nodes
    return [node for node in graph.nodes if node in found]


def _values(place: Place, structure: Any) -> Iterator[tuple[Place, fx.Node]]:
    if isinstance(structure, fx.Node):
        yield place, structure
    elif isinstance(structure, (tuple, list)):
        for index, part in enumerate(structure):
            yield from _values((*place, index), part)
    elif isinstance(structure, dict):
        for key, part in structure.items():
            yield from _values((*place, key), part)


def _size(value: Any) -> int:
    """How many numbers it holds; of spikes and membrane, the spikes."""
    value = value[0] if isinstance(value, list) and value else value
    return value.numel() if isinstance(value, Tensor) else 0
