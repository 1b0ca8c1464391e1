"""Small random SpikingGraphs, with thresholds set right beside currents that really occur."""

import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from snn_runtime.graph import (
    INPUT,
    Builder,
    Elementwise,
    Image,
    Node,
    Population,
    Projection,
    SpikingGraph,
    Weights,
    reference,
)

ELEMENTWISE: tuple[Literal["add", "and", "iand"], ...] = ("add", "and", "iand")


def pictures(image: Image, count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Noise, and among it the blackest and the whitest picture there is."""
    rng = np.random.default_rng(seed)
    batch = rng.integers(0, 256, (count, image.height, image.width, 3), np.uint8)
    batch[1:2], batch[2:3] = 0, 255
    return batch


class Drawn(Builder):
    """Grows a graph whose every piece is drawn; large arrays come from a seeded generator."""

    def __init__(
        self, draw: st.DrawFn, rng: np.random.Generator, image: Image, exact: bool
    ) -> None:
        super().__init__(image, exact=exact)
        self.draw, self.rng = draw, rng

    def weight(self, *shape: int) -> Weights:
        if not self.exact:
            return self.rng.normal(0, 1, shape).astype(np.float32)
        kind = self.draw(st.sampled_from(["small", "full", "extreme", "sparse"]))
        if kind == "extreme":
            return self.rng.choice(np.array([-127, 127], np.int8), shape)
        limit = {"small": 3, "full": 127, "sparse": 60}[kind]
        values = self.rng.integers(-limit, limit + 1, shape).astype(np.int8)
        if kind == "sparse":
            values[self.rng.random(shape) < 0.8] = 0
        return values

    def threshold(self, channels: int) -> npt.NDArray[np.float32]:
        """Of one level or several."""
        levels = self.draw(st.integers(1, 3))
        theta = self.rng.normal(0, 1, (levels, channels)).astype(np.float32)
        if self.exact:
            theta = self.rng.integers(-50, 200, (levels, channels)) + np.float32(0.5)
        return in_order(theta.astype(np.float32))

    def source(self) -> str:
        return self.draw(st.sampled_from(list(self.shapes)))

    def convolution(self, name: str, source: str) -> None:
        """A convolution, and now and then others of the same shape into the same population."""
        channels, *size = self.shapes[source]
        groups = self.draw(st.sampled_from([g for g in (1, 2, 3, 4) if channels % g == 0]))
        out = groups * self.draw(st.integers(1, 8 // groups))
        kernel = tuple(self.draw(st.integers(1, min(3, side))) for side in size)
        stride = (self.draw(st.integers(1, 2)), self.draw(st.integers(1, 3)))
        padding = (
            self.draw(st.integers(0, kernel[0] - 1)),
            self.draw(st.integers(0, kernel[1] - 1)),
        )
        weight = self.weight(out, channels // groups, *kernel)
        projections = [Projection(source, weight, stride, padding, groups)]
        same = [n for n, s in self.shapes.items() if s[1:] == tuple(size)]
        for other in self.draw(st.lists(st.sampled_from(same), max_size=2)):
            weight = self.weight(out, self.shapes[other][0], *kernel)
            projections.append(Projection(other, weight, stride, padding))
        self.add(Population(name, tuple(projections), self.threshold(out)))

    def dense(self, name: str) -> None:
        out = self.draw(st.integers(1, 8))
        sources = self.draw(st.lists(st.sampled_from(list(self.shapes)), min_size=1, max_size=3))
        projections = [
            Projection(s, self.weight(out, int(np.prod(self.shapes[s])))) for s in sources
        ]
        self.add(Population(name, tuple(projections), self.threshold(out)))

    def window(self, name: str, source: str) -> None:
        kernel = self.draw(st.integers(1, min(3, *self.shapes[source][1:])))
        self.pool(name, "max" if self.draw(st.booleans()) else "sum", kernel, source)

    def elementwise(self, name: str, source: str) -> None:
        """Joined with another of its shape, or with itself; and the result again."""
        for again in range(self.draw(st.integers(1, 3))):
            alike = [n for n, shape in self.shapes.items() if shape == self.shapes[source]]
            pair = (source, self.draw(st.sampled_from([n for n in alike if n != INPUT])))
            bits = all(self.largest[n] == 1 for n in pair)
            kind = self.draw(st.sampled_from(ELEMENTWISE if bits else ELEMENTWISE[:1]))
            source = self.add(Elementwise(f"{name}.{again}", kind, *pair))

    def node(self, name: str) -> None:
        source = self.source()
        flat = len(self.shapes[source]) == 1
        kinds = ["convolution", "elementwise", "pool", "convolution", "dense"]
        kind = self.draw(st.sampled_from(kinds))
        if kind == "elementwise" and source != INPUT:
            self.elementwise(name, source)
        elif kind == "dense" or flat:
            self.dense(name)
        elif kind == "pool" and source != INPUT:
            self.window(name, source)
        else:
            self.convolution(name, source)

    def finished(self, classes: int) -> SpikingGraph:
        weight = self.weight(classes, math.prod(self.shape))
        scale, bias = (self.rng.normal(0, 1, classes).astype(np.float32) for _ in range(2))
        return self.graph(weight, scale, bias, [f"class {i}" for i in range(classes)])


@st.composite
def spiking_graphs(draw: st.DrawFn, exact: bool = True) -> SpikingGraph:
    """Graphs of up to six nodes; the first is a convolution of the picture."""
    height, width = draw(st.integers(3, 9)), draw(st.integers(3, 9))
    means = [0, 1, 104, 128, 255] + ([] if exact else [127.5, float(np.float32(125.307))])
    offset = draw(st.tuples(*[st.sampled_from(means)] * 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    image = Image(height, width, offset, draw(st.sampled_from(["crop", "stretch"])))
    drawn = Drawn(draw, rng, image, exact)
    drawn.convolution("first", INPUT)
    for number in range(draw(st.integers(0, 5))):
        drawn.node(f"node{number}")
    graph = drawn.finished(draw(st.integers(1, 5)))
    return on_the_edge(graph, pictures(image, 3), rng, positions=draw(st.booleans()))


def packed(graph: SpikingGraph) -> SpikingGraph:
    """The same with other weights, of −7 to 7, which a file holds two to a byte."""

    def small(weight: Weights) -> Weights:
        return (weight % 15 - 7).astype(np.int8)

    def narrow(node: Node) -> Node:
        if not isinstance(node, Population):
            return node
        projections = tuple(replace(p, weight=small(p.weight)) for p in node.projections)
        return replace(node, projections=projections)

    readout = replace(graph.readout, weight=small(graph.readout.weight))
    return replace(graph, nodes=tuple(map(narrow, graph.nodes)), readout=readout, packed=True)


def on_the_edge(
    graph: SpikingGraph,
    images: npt.NDArray[np.uint8],
    rng: np.random.Generator,
    *,
    positions: bool = False,
) -> SpikingGraph:
    """Set each threshold next to a current that occurs: θ = current ± ½, or the current itself.

    The last is for float32 weights, where no half-integer keeps them apart. With `positions` what
    reads the picture has a threshold for each of its neurons.
    """
    sent = {INPUT: reference.centred(graph, images)}
    nodes: list[Node] = []
    for node in graph.nodes:
        if isinstance(node, Population):
            current = node.compute(sent)
            if positions and node.levels == 1 and reads_picture(node, current):
                theta = rng.permuted(current, axis=0)[:1].astype(np.float32)
            else:
                channels = current.swapaxes(0, 1).reshape(current.shape[1], -1)
                theta = rng.permuted(channels, axis=1)[:, : node.levels].T.astype(np.float32)
            if graph.exact:
                theta += rng.choice(np.array([-0.5, 0.5], np.float32), theta.shape)
            node = replace(node, threshold=in_order(theta))
        sent[node.name] = node.respond(sent)
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def in_order(theta: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """`[K, …]` ascending as a graph wants them; a single level's by themselves."""
    return np.sort(theta, axis=0) if len(theta) > 1 else theta[0]


def reads_picture(node: Population, current: npt.NDArray[Any]) -> bool:
    """Whether it may have a threshold for each position on its map."""
    return any(p.source == INPUT for p in node.projections) and math.prod(current.shape[2:]) > 1


def example(exact: bool = True) -> SpikingGraph:
    """One fixed graph with everything in it: groups, a residual, both pools, two dense layers."""
    rng = np.random.default_rng(7)

    def weight(*shape: int) -> Weights:
        values = rng.integers(-127, 128, shape)
        return values.astype(np.int8) if exact else (values / 127).astype(np.float32)

    def threshold(channels: int, scale: int) -> npt.NDArray[np.float32]:
        theta = rng.integers(-scale, 2 * scale, channels).astype(np.float32) + np.float32(0.5)
        return theta if exact else theta / np.float32(127)

    net = Builder(Image(8, 8, (120, 115, 104)), exact=exact)
    first = weight(4, 3, 3, 3)
    second = weight(4, 2, 3, 3)
    third = (
        Projection("conv1", weight(6, 4, 3, 3), (2, 2), (1, 1)),
        Projection("pool2", weight(6, 4, 1, 1)),
    )
    net.neurons("conv1", first, threshold(4, 9999), padding=(1, 1))
    net.neurons("conv2", second, threshold(4, 99), padding=(1, 1), groups=2)
    net.pool("pool2", "max", 2)
    net.add(Population("conv3", third, threshold(6, 99)))
    net.pool("pool3", "sum", 2)
    net.neurons("fc1", weight(8, 24), threshold(8, 99))
    net.neurons("fc2", weight(5, 8), threshold(5, 99))
    scale, bias = rng.normal(0, 1, (2, 3)).astype(np.float32)
    labels = ("cat", "ship", "Straße")
    return net.graph(weight(3, 5), scale, bias, labels, provenance='{"accuracy": 0.9}')


def example_of_levels() -> SpikingGraph:
    """One fixed graph whose populations have two and three thresholds, with all that reads them."""
    rng = np.random.default_rng(11)

    def weight(*shape: int) -> Weights:
        return rng.integers(-20, 24, shape).astype(np.int8)

    def levels(count: int, channels: int, scale: int) -> npt.NDArray[np.float32]:
        theta = rng.integers(-scale // 4, scale, (count, channels)) + np.float32(0.5)
        return in_order(theta.astype(np.float32))

    net = Builder(Image(8, 8, (120, 115, 104)))
    net.neurons("conv1", weight(4, 3, 3, 3), levels(2, 4, 6000), padding=(1, 1))
    net.neurons("conv2", weight(4, 2, 3, 3), levels(3, 4, 120), padding=(1, 1), groups=2)
    net.add(Elementwise("both", "add", "conv1", "conv2"))
    net.pool("pool2", "max", 2, "conv2")
    third = (
        Projection("both", weight(6, 4, 3, 3), (2, 2), (1, 1)),
        Projection("pool2", weight(6, 4, 1, 1)),
    )
    net.add(Population("conv3", third, levels(2, 6, 300)))
    net.pool("pool3", "sum", 2)
    net.neurons("fc1", weight(8, 24), levels(1, 8, 200))
    net.neurons("fc2", weight(5, 8), levels(2, 5, 60))
    scale, bias = rng.normal(0, 1, (2, 3)).astype(np.float32)
    return net.graph(weight(3, 5), scale, bias, ("a", "b", "c"))
