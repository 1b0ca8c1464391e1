"""The kinds of node that a graph is made of: frozen records, each with its equation.

Vocabulary as in NIR and the field: a *population* of neurons fires spikes, a *projection* carries
the spikes of one source to it through weights, a *pool* joins the spikes of a window.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

import numpy as np

from snn_runtime.graph.kind import NodeKind, Project
from snn_runtime.graph.population import Population
from snn_runtime.graph.projection import Projection
from snn_runtime.graph.values import INPUT, Numbers, Shape, refuse, source_shape

T = TypeVar("T")
SCHEMA = 2
"""Latest version of model.onnx, which has all that stands here."""


@dataclass(frozen=True)
class Pool(NodeKind):
    """A window of k × k spikes that tiles the map: whether any spiked, or how many.

    max: sent = max s (OR)        sum: sent = Σ s (0 … k², an average with 1/k² folded on)
    """

    name: str
    source: str
    kind: Literal["max", "sum"]
    kernel: int
    """k, which is also the stride; a remainder at the border is dropped."""

    @property
    def fan_in(self) -> tuple[tuple[str, int], ...]:
        return ((self.source, self.kernel**2),)

    def shape(self, shapes: Mapping[str, Shape], exact: bool) -> Shape:
        shape = source_shape(self.name, self.source, shapes)
        if self.kind not in ("max", "sum"):
            raise refuse(self.name, f"pool kind is {self.kind!r}, expected max or sum")
        if self.source == INPUT:
            raise refuse(self.name, "pools spikes, not the image")
        k = self.kernel
        if len(shape) != 3 or not 1 <= k <= min(shape[1:]):
            raise refuse(self.name, f"window of {k} does not fit a source of shape {shape}")
        return (shape[0], shape[1] // k, shape[2] // k)

    def bound(self, sent: Mapping[str, int], exact: bool) -> int:
        return sent[self.source] * (self.kernel**2 if self.counts else 1)

    @property
    def counts(self) -> bool:
        return self.kind == "sum"

    def compute(
        self, sent: Mapping[str, Numbers], project: Project = Projection.current
    ) -> Numbers:
        values, k = sent[self.source], self.kernel
        n, c, h, w = values.shape
        rows, columns = h // k, w // k
        windows = values[:, :, : rows * k, : columns * k].reshape(n, c, rows, k, columns, k)
        over = windows.sum if self.counts else windows.max
        return np.asarray(over(axis=(3, 5)))

    def describe(self) -> list[list[object]]:
        return [["pool", self.name, self.source, self.kind, self.kernel]]

    def accept(self, visitor: "Visitor[T]") -> T:
        return visitor.pool(self)


Weightless: TypeAlias = Pool
Node: TypeAlias = Population | Weightless


class Visitor(ABC, Generic[T]):
    """A method for each kind of node: for what must know the kind, such as an engine's lowering.

    A kind that is new is a method that mypy and Python miss.
    """

    @abstractmethod
    def population(self, node: Population) -> T: ...

    @abstractmethod
    def pool(self, node: Pool) -> T: ...
