"""What every kind of node answers, so that nobody has to ask which kind it is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, TypeAlias, TypeVar

from snn_runtime.graph.projection import Projection
from snn_runtime.graph.values import FloatArray, Numbers, Shape, Weights

if TYPE_CHECKING:
    from snn_runtime.graph.nodes import Visitor

T = TypeVar("T")
Project: TypeAlias = Callable[[Projection, Numbers], Numbers]
"""How `W ∗ s` is computed: `Projection.current`, or something faster that equals it."""


class NodeKind(ABC):
    """One operation of a graph: a value computed from its sources, and what it sends on of it.

        value = compute(sources)        sent = send(value)

    Soundness, digest, interpreter, rates and energy are made of these answers; what lowers a
    graph to another form has a method for each kind instead, see `nodes.Visitor`.
    """

    name: str
    fires: ClassVar[bool] = False
    """Whether the value is a current, of which only spikes are sent."""

    @property
    @abstractmethod
    def fan_in(self) -> tuple[tuple[str, int], ...]:
        """For each source read: its name, and how many of its values reach one of the node's."""

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(source for source, _ in self.fan_in)

    @abstractmethod
    def shape(self, shapes: Mapping[str, Shape], exact: bool) -> Shape:
        """Return the shape of the value of one example, given those of earlier nodes.

        Raises:
            ModelError: `bad_graph`: the node does not fit its sources, or its arrays are not
                those of an exact, or of a float32, graph.
        """

    @abstractmethod
    def bound(self, sent: Mapping[str, int], exact: bool) -> int:
        """Return the largest |value|, given the largest that earlier nodes send.

        Raises:
            ModelError: `bad_graph`: engines could not represent it.
        """

    def largest(self, bound: int) -> int:
        """Return the largest |number| sent, given the largest |value|."""
        return bound

    @abstractmethod
    def compute(
        self, sent: Mapping[str, Numbers], project: Project = Projection.current
    ) -> Numbers:
        """Return the value, `[N, …]`, in the numbers of its sources: int64 is exact."""

    def send(self, value: Numbers) -> Numbers:
        """Return what is sent of the value, in the same numbers."""
        return value

    def respond(
        self, sent: Mapping[str, Numbers], project: Project = Projection.current
    ) -> Numbers:
        """Return what is sent, given what the sources send."""
        return self.send(self.compute(sent, project))

    @abstractmethod
    def describe(self) -> list[list[object]]:
        """What a digest says of it besides its arrays."""

    @property
    def arrays(self) -> tuple[Weights | FloatArray, ...]:
        """The numbers that it holds."""
        return ()

    @property
    def schema(self) -> int:
        """The first version of model.onnx that has it."""
        return 1

    @property
    def counts(self) -> bool:
        """Whether the value is a count of spikes, to be had by additions and not by comparisons."""
        return False

    @abstractmethod
    def accept(self, visitor: "Visitor[T]") -> T:
        """Return what the visitor's method for this kind does."""
