"""Graphs made node by node, in a line or with branches.

    net = Builder(Image(32, 32, (120, 115, 104)))
    net.neurons("conv1", weight1, threshold1, padding=(1, 1))        # reads the image
    net.pool("pool1", "max", 2)                                      # reads conv1
    net.neurons("conv2", weight2, threshold2)
    both = (Projection("conv2", weight3), Projection("pool1", weight4))
    net.add(Population("conv3", both, threshold3))
    graph = net.graph(weight, scale, bias, labels)                   # read out from conv3

A node reads the last one unless another source is given.
"""

from collections.abc import Sequence
from typing import Literal

from snn_runtime.graph.ends import Image, Readout
from snn_runtime.graph.graph import SpikingGraph
from snn_runtime.graph.nodes import Node, Pool
from snn_runtime.graph.population import Population
from snn_runtime.graph.projection import Projection
from snn_runtime.graph.values import INPUT, FloatArray, Shape, Weights, refuse


class Builder:
    """A SpikingGraph under construction.

    Every method that adds a node returns its name, and raises `ModelError` (`bad_graph`) at once if
    the node does not fit its sources.
    """

    def __init__(self, image: Image, *, exact: bool = True) -> None:
        """`exact` says that weights are int8; they are float32 otherwise."""
        self.image = image
        self.exact = exact
        self.nodes: list[Node] = []
        self.shapes: dict[str, Shape] = {INPUT: (3, image.height, image.width)}
        """What the image and each node send for one example: `(C, H, W)` or `(O,)`."""
        self.largest: dict[str, int] = {INPUT: image.largest}
        """The largest |number| that they send."""
        self.last = INPUT
        """The node that the next one reads."""

    @property
    def shape(self) -> Shape:
        """What the last node sends."""
        return self.shapes[self.last]

    def add(self, node: Node) -> str:
        """Add any node.

        Raises:
            ModelError: `bad_graph`: it does not fit its sources, or its name is taken.
        """
        if node.name in self.shapes:
            raise refuse(node.name, "stands in the graph already, expected a name of its own")
        shape = node.shape(self.shapes, self.exact)
        largest = node.largest(node.bound(self.largest, self.exact))
        self.shapes[node.name], self.largest[node.name] = shape, largest
        self.nodes.append(node)
        self.last = node.name
        return node.name

    def neurons(
        self,
        name: str,
        weight: Weights,
        threshold: FloatArray,
        source: str | None = None,
        *,
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int] = (0, 0),
        groups: int = 1,
    ) -> str:
        """Add a population with one projection, see there."""
        projection = Projection(source or self.last, weight, stride, padding, groups)
        return self.add(Population(name, (projection,), threshold))

    def pool(
        self, name: str, kind: Literal["max", "sum"], kernel: int, source: str | None = None
    ) -> str:
        """Add a pool over windows of kernel × kernel."""
        return self.add(Pool(name, source or self.last, kind, kernel))

    def graph(
        self,
        weight: Weights,
        scale: FloatArray,
        bias: FloatArray,
        labels: Sequence[str],
        source: str | None = None,
        provenance: str = "{}",
    ) -> SpikingGraph:
        """Return the graph that is read out from `source`, `logit = scale · weight s + bias`."""
        readout = Readout(source or self.last, weight, scale, bias)
        return SpikingGraph(self.image, tuple(self.nodes), readout, tuple(labels), provenance)
