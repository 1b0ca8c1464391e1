"""What other people's networks are made of, as data: layers before anything is folded.

Every importer ends here, so `lower` (which folds) and `execute` (which does not) are written once.
A layer reads what another one, or the picture (`INPUT`), gives:

    Weighted     W ∗ x + b                      Pooled     max, mean or sum of k×k windows
    Normalised   γ (x − μ) / √(σ² + ε) + β      Joined     x + y
    Flattened    C, H, W in one row             Fired      1 if a x + v₀ > θ, or ≥ θ, else 0

a and v₀ are what one timestep makes of a neuron: its input's gain and the membrane it starts from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from snn_export.fold import Array, Norm
from snn_runtime.errors import ModelError


@dataclass(frozen=True, eq=False)
class Weighted:
    name: str
    source: str
    weight: Array
    """`[O, I/groups, kh, kw]` or `[O, I]`"""
    bias: Array | None = None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1


@dataclass(frozen=True, eq=False)
class Normalised:
    name: str
    source: str
    norm: Norm


@dataclass(frozen=True, eq=False)
class Pooled:
    name: str
    source: str
    kind: Literal["max", "average", "sum"]
    kernel: int
    """Side of the window and stride; 0 for the whole map."""


@dataclass(frozen=True, eq=False)
class Joined:
    name: str
    sources: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Flattened:
    name: str
    source: str


@dataclass(frozen=True, eq=False)
class Fired:
    name: str
    source: str
    threshold: Array
    """θ, of any shape that broadcasts to what the neurons receive, without the batch."""
    gain: Array
    """a"""
    rest: Array
    """v₀"""
    closed: bool = False
    """Fires at θ too."""


Layer: TypeAlias = Weighted | Normalised | Pooled | Joined | Flattened | Fired


@dataclass(frozen=True, eq=False)
class Layers:
    """A feed-forward network of one timestep."""

    layers: tuple[Layer, ...]
    """In an order in which every source comes before its use."""
    output: str
    """Whose values are the logits; of neurons, it is the membrane that counts."""


def square(name: str, what: str, value: object) -> int:
    """Return the side of a square given as one number or two.

    Raises:
        ModelError: `unsupported`.
    """
    given = np.atleast_1d(np.asarray(value))
    sides = {int(side) for side in given}
    if len(sides) != 1:
        raise unsupported(name, f"{what} is {given.tolist()}, expected a square")
    return sides.pop()


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """Return (height, width) for one number or two."""
    height, width = np.broadcast_to(np.asarray(value), 2).tolist()
    return int(height), int(width)


def unsupported(name: str, problem: str) -> ModelError:
    """A layer that has no place in a T = 1 graph, by its name."""
    return ModelError("unsupported", f"{name}: {problem}")
