"""The kinds of node that a graph is made of: frozen records, each with its equation.

Vocabulary as in NIR and the field: a *population* of neurons fires spikes, a *projection* carries
the spikes of one source to it through weights, a *pool* joins the spikes of a window, an
*elementwise* node those of two sources.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

import numpy as np

from snn_runtime.graph.kind import NodeKind, Project
from snn_runtime.graph.population import Population
from snn_runtime.graph.projection import Projection
from snn_runtime.graph.values import INPUT, Numbers, Shape, check_events, refuse, source_shape

T = TypeVar("T")
SCHEMA = 6
"""Latest version of model.onnx, which has all that stands here."""


@dataclass(frozen=True)
class Pool(NodeKind):
    """A window of k × k neurons that tiles the map: whether any spiked, or how many spikes came.

    max: sent = max s (OR)        sum: sent = Σ s (0 … k², an average with 1/k² folded on)

    Behind K levels a maximum goes to K and a sum to K k². The maximum of counts is the count of the
    maximum, max Σ_k [c > θ_k] = Σ_k [max c > θ_k], for a step never falls. So what pools currents
    in training is a pool behind the neurons here, and level by level it is OR all the same.
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
            raise refuse(self.name, f"pool kind is {self.kind!r}, expected 'max' or 'sum'")
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


@dataclass(frozen=True)
class Elementwise(NodeKind):
    """Spikes of two sources x and y, joined element by element: the shortcut of a SEW-ResNet.

        add: sent = x + y (a count)        and: sent = x · y        iand: sent = x · (1 − y)

    A count may be added to again, and so on; AND and IAND take spikes only. See W. Fang et al.,
    "Deep Residual Learning in Spiking Neural Networks", NeurIPS 2021.
    """

    name: str
    kind: Literal["add", "and", "iand"]
    first: str
    """x"""
    second: str
    """y, of the same shape"""

    @property
    def fan_in(self) -> tuple[tuple[str, int], ...]:
        return ((self.first, 1), (self.second, 1))

    def shape(self, shapes: Mapping[str, Shape], exact: bool) -> Shape:
        first, second = (source_shape(self.name, source, shapes) for source in self.sources)
        if self.kind not in ("add", "and", "iand"):
            raise refuse(self.name, f"kind is {self.kind!r}, expected 'add', 'and' or 'iand'")
        if INPUT in self.sources:
            raise refuse(self.name, "joins spikes, not the image")
        if first != second:
            raise refuse(self.name, f"sources of different shapes {first} and {second}")
        return first

    def bound(self, sent: Mapping[str, int], exact: bool) -> int:
        first, second = (sent[source] for source in self.sources)
        if self.counts:
            check_events(self.name, first + second)
            return first + second
        if max(first, second) > 1:
            problem = f"is {self.kind} of counts up to {max(first, second)}, expected spikes"
            raise refuse(self.name, problem)
        return 1

    @property
    def schema(self) -> int:
        return 3

    @property
    def counts(self) -> bool:
        return self.kind == "add"

    def compute(
        self, sent: Mapping[str, Numbers], project: Project = Projection.current
    ) -> Numbers:
        x, y = (sent[source] for source in self.sources)
        if self.kind == "add":
            return np.asarray(x + y)
        return np.asarray(x * y if self.kind == "and" else x * (1 - y))

    def describe(self) -> list[list[object]]:
        return [["elementwise", self.name, self.kind, self.first, self.second]]

    def accept(self, visitor: "Visitor[T]") -> T:
        return visitor.elementwise(self)


Weightless: TypeAlias = Pool | Elementwise
Node: TypeAlias = Population | Weightless


class Visitor(ABC, Generic[T]):
    """A method for each kind of node: for what must know the kind, such as an engine's lowering.

    A kind that is new is a method that mypy and Python miss.
    """

    @abstractmethod
    def population(self, node: Population) -> T: ...

    @abstractmethod
    def pool(self, node: Pool) -> T: ...

    @abstractmethod
    def elementwise(self, node: Elementwise) -> T: ...
