"""The one walk over a graph, for whatever makes another form of it."""

from abc import abstractmethod
from typing import TYPE_CHECKING, TypeVar

from snn_runtime.graph.ends import Image
from snn_runtime.graph.nodes import Visitor
from snn_runtime.graph.values import INPUT

if TYPE_CHECKING:
    from snn_runtime.graph.graph import SpikingGraph

T = TypeVar("T")


class Lowering(Visitor[T]):
    """Makes another form of a graph: of its image, then of its nodes in their order."""

    def __init__(self, graph: "SpikingGraph") -> None:
        self.graph = graph
        self.sent: dict[str, T] = {}
        """What the image and each node became."""

    @abstractmethod
    def image(self, image: Image) -> T: ...

    def walk(self) -> None:
        """Visit everything once: what a node reads is in `sent` by then."""
        self.sent[INPUT] = self.image(self.graph.image)
        for node in self.graph.nodes:
            self.sent[node.name] = node.accept(self)
