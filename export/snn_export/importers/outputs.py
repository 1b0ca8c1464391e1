"""What a program returns, and the calls that lead to it: nobody reads the others."""

from collections.abc import Iterator
from typing import Any, TypeAlias

from torch import Tensor, fx

from snn_export.importers.program import PICTURES, Run, name_of

Place: TypeAlias = tuple[Any, ...]
"""Indices and keys, one after another, at which something lies in what forward returns."""


def returned(graph: fx.Graph, run: Run, classes: int) -> list[tuple[Place, fx.Node]]:
    """The values in what forward returns, those of one number a class first."""
    (output,) = (node for node in graph.nodes if node.op == "output")
    values = list(_values((), output.args[0]))
    return sorted(values, key=lambda each: _size(run.values.get(each[1])) != PICTURES * classes)


def needed(graph: fx.Graph, end: fx.Node) -> list[fx.Node]:
    """The calls that `end` depends on, and itself, in their order."""
    found: set[fx.Node] = set()
    left = [end]
    while left:
        node = left.pop()
        if node not in found:
            found.add(node)
            left += node.all_input_nodes
            # What changes a value in place is read with it, under its old name.
            left += [user for user in node.users if _changes(user) and user.args[:1] == (node,)]
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


def _changes(node: fx.Node) -> bool:
    name = name_of(node)
    by_name = name.endswith("_") and not name.endswith("__")
    in_place = by_name or name in ("setitem", "iadd", "isub", "imul", "itruediv")
    return node.op != "call_module" and (in_place or bool(node.kwargs.get("inplace")))
