"""The parts of other people's networks, as data: layers before anything is folded.

Every importer ends here, so `lower` (which folds) and `execute` (which does not) are written once.
A layer reads what another one, or the picture (`INPUT`), gives:

    Weighted     W ∗ x + b                      Pooled   max, mean or sum of windows of the map
    Normalised   γ (x − μ) / √(σ² + ε) + β      Joined   x + y, or x · y
    Scaled       g x + c                        Fired    1 if a x + v₀ > θ, or ≥ θ, else 0
    Flattened    C, H, W in one row

a and v₀ are what one timestep makes of a neuron: its input's gain and the membrane it starts from.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from snn_export.fold import Array, Norm
from snn_export.pools import Window
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
class Scaled:
    name: str
    source: str
    gain: Array
    """g, of any shape that broadcasts to what it scales, without the batch."""
    shift: Array
    """c"""


@dataclass(frozen=True, eq=False)
class Pooled:
    name: str
    source: str
    kind: Literal["max", "average", "sum"]
    window: Window


@dataclass(frozen=True, eq=False)
class Joined:
    name: str
    sources: tuple[str, ...]
    kind: Literal["sum", "product"] = "sum"


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
    higher: tuple[tuple[Array, bool], ...] = ()
    """θ and closed of further levels, each above the last: a spike more."""


Layer: TypeAlias = Weighted | Normalised | Scaled | Pooled | Joined | Flattened | Fired


@dataclass(frozen=True, eq=False)
class Layers:
    """A feed-forward network of one timestep."""

    layers: tuple[Layer, ...]
    """In an order in which every source comes before its use."""
    output: str
    """Whose values are the logits; of neurons, it is the membrane that counts."""
    channels: int | None = None
    """Of the picture, where it is known of more than the weights that read it."""

    def __post_init__(self) -> None:
        names = [layer.name for layer in self.layers]
        assert len(set(names)) == len(names), "one layer would stand for another of its name"


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """Return (height, width) for one number or two."""
    height, width = np.broadcast_to(np.asarray(value), 2).tolist()
    return int(height), int(width)


def real(name: str, what: str, values: object) -> Array:
    """Return what a file says as float64.

    Raises:
        ModelError: `bad_checkpoint`: these are no real numbers; `bad_weights` for NaN.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise ModelError("bad_checkpoint", f"{name}: {what}: no real numbers")
    if not np.isfinite(array).all():
        raise ModelError("bad_weights", f"{name}: {what}: a number is not finite")
    return array.astype(np.float64)


def sides(name: str, what: str, value: object, least: int) -> tuple[int, int]:
    """Return (rows, columns) for one whole number or two of a file, each at least `least`.

    Raises:
        ModelError: `bad_checkpoint`.
    """
    numbers = real(name, what, value).ravel()
    if len(numbers) not in (1, 2) or not ((numbers % 1 == 0) & (numbers >= least)).all():
        expected = f"expected one or two whole numbers, {least} or more"
        raise ModelError("bad_checkpoint", f"{name}: {what} is {value!r:.40}, {expected}")
    return int(numbers[0]), int(numbers[-1])


def dilated(weight: Array, dilation: tuple[int, int]) -> Array:
    """Return `[O, I, kh, kw]` with the gaps of a dilation as zeros: the same convolution."""
    down, right = dilation
    out, inputs, height, width = weight.shape
    full = np.zeros((out, inputs, (height - 1) * down + 1, (width - 1) * right + 1))
    full[:, :, ::down, ::right] = weight
    return full


def unused(name: str, used: Container[str], joint: str = "_") -> str:
    """`name`, with the first number behind it that makes it another than those `used`."""
    number, found = 2, name
    while found in used:
        found, number = f"{name}{joint}{number}", number + 1
    return found


def readout_notes(layers: Layers) -> list[str]:
    """What a user has to know of logits that no layer computes but the last neurons' membranes."""
    if not any(isinstance(la, Fired) and la.name == layers.output for la in layers.layers):
        return []
    return [
        f"the last neurons, {layers.output}, became the readout: logits are their membranes, "
        "because the spikes of one timestep would tie"
    ]


def unsupported(name: str, problem: str) -> ModelError:
    """A layer that has no place in a T = 1 graph, by its name."""
    return ModelError("unsupported", f"{name}: {problem}")
