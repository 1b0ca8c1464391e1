"""What a program makes of two layers' values, number by number: sum, difference or product."""

import numpy as np
from torch import fx

from snn_export.importers.bindings import Values
from snn_export.importers.layers import Joined, Scaled, unsupported

JOINS = {
    "sum": ("add", "iadd", "add_"),
    "difference": ("sub", "isub", "sub_"),
    "product": ("mul", "imul", "mul_", "multiply"),
}
"""How two layers' values are joined, and the functions that do it."""


def join(values: Values, node: fx.Node, name: str) -> str:
    """x + y, x − y, x y"""
    if name == "stack":
        raise unsupported(node.name, "stacks more than one timestep")
    kind = next((kind for kind, names in JOINS.items() if name in names), None)
    if kind is not None and node.kwargs:
        words = ", ".join(f"{word}=" for word in node.kwargs)
        raise unsupported(node.name, f"{name} with {words} cannot be exported, expected x, y alone")
    if kind is None:
        raise unsupported(
            node.name, f"{name} of two layers' values cannot be exported, only sums and products"
        )
    sources = [values.layer(node, argument) for argument in node.args[:2]]
    shape, other = (values.shape(argument) for argument in node.args[:2])
    if shape != other:
        raise unsupported(
            node.name, f"joins values of different shapes, {shape[1:]} and {other[1:]}"
        )
    own = values.shapes[sources[0]]
    if kind == "difference":
        negative = Scaled(
            values.fresh(f"{node.name}.minus"), sources[1], -np.ones(()), np.zeros(())
        )
        sources[1] = values.add(negative, own)
    joined = Joined(
        values.fresh(node.name), tuple(sources), "product" if kind == "product" else "sum"
    )
    return values.add(joined, own)
