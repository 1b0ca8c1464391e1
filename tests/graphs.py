"""Small random SpikingGraphs, with thresholds set right beside currents that really occur."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from snn_runtime.graph import (
    INPUT,
    Image,
    Node,
    Pool,
    Population,
    Projection,
    Readout,
    Shape,
    SpikingGraph,
    Weights,
    reference,
)


def pictures(image: Image, count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Noise, and among it the blackest and the whitest picture there is."""
    rng = np.random.default_rng(seed)
    batch = rng.integers(0, 256, (count, image.height, image.width, 3), np.uint8)
    batch[1:2], batch[2:3] = 0, 255
    return batch


@dataclass
class Builder:
    """Grows a graph whose every piece is drawn; large arrays come from a seeded generator."""

    draw: st.DrawFn
    rng: np.random.Generator
    exact: bool
    shapes: dict[str, Shape]
    nodes: list[Node] = field(default_factory=list)

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
        if not self.exact:
            return self.rng.normal(0, 1, channels).astype(np.float32)
        return self.rng.integers(-50, 200, channels).astype(np.float32) + np.float32(0.5)

    def source(self) -> str:
        return self.draw(st.sampled_from(list(self.shapes)))

    def add(self, node: Node, shape: Shape) -> None:
        self.nodes.append(node)
        self.shapes[node.name] = shape

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
        rows, columns = (
            (side + 2 * p - k) // s + 1
            for side, p, k, s in zip(size, padding, kernel, stride, strict=True)
        )
        shape = (out, rows, columns)
        self.add(Population(name, tuple(projections), self.threshold(out)), shape)

    def dense(self, name: str) -> None:
        out = self.draw(st.integers(1, 8))
        sources = self.draw(st.lists(st.sampled_from(list(self.shapes)), min_size=1, max_size=3))
        projections = [
            Projection(s, self.weight(out, int(np.prod(self.shapes[s])))) for s in sources
        ]
        self.add(Population(name, tuple(projections), self.threshold(out)), (out,))

    def pool(self, name: str, source: str) -> None:
        channels, *size = self.shapes[source]
        kernel = self.draw(st.integers(1, min(3, *size)))
        kind = "max" if self.draw(st.booleans()) else "sum"
        shape = (channels, size[0] // kernel, size[1] // kernel)
        self.add(Pool(name, source, "max" if kind == "max" else "sum", kernel), shape)

    def node(self, name: str) -> None:
        source = self.source()
        flat = len(self.shapes[source]) == 1
        kind = self.draw(st.sampled_from(["convolution", "convolution", "pool", "dense"]))
        if kind == "dense" or flat:
            self.dense(name)
        elif kind == "pool" and source != INPUT:
            self.pool(name, source)
        else:
            self.convolution(name, source)

    def readout(self, classes: int) -> Readout:
        source = self.nodes[-1].name
        return Readout(
            source,
            self.weight(classes, math.prod(self.shapes[source])),
            self.rng.normal(0, 1, classes).astype(np.float32),
            self.rng.normal(0, 1, classes).astype(np.float32),
        )


@st.composite
def spiking_graphs(draw: st.DrawFn, exact: bool = True) -> SpikingGraph:
    """Graphs of up to six nodes; the first is a convolution of the picture."""
    height, width = draw(st.integers(3, 9)), draw(st.integers(3, 9))
    means = [0, 1, 104, 128, 255] + ([] if exact else [127.5, float(np.float32(125.307))])
    offset = draw(st.tuples(*[st.sampled_from(means)] * 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    builder = Builder(draw, rng, exact, {INPUT: (3, height, width)})
    builder.convolution("first", INPUT)
    for number in range(draw(st.integers(0, 5))):
        builder.node(f"node{number}")
    classes = draw(st.integers(1, 5))
    labels = tuple(f"class {i}" for i in range(classes))
    image = Image(height, width, offset, draw(st.sampled_from(["crop", "stretch"])))
    graph = SpikingGraph(image, tuple(builder.nodes), builder.readout(classes), labels)
    return on_the_edge(graph, pictures(image, 3), rng, positions=draw(st.booleans()))


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
        if isinstance(node, Pool):
            sent[node.name] = reference.pool(node, sent[node.source])
        else:
            current = reference.total(node, sent)
            if positions and reads_picture(node, current):
                theta = rng.permuted(current, axis=0)[0].astype(np.float32)
            else:
                channels = current.swapaxes(0, 1).reshape(current.shape[1], -1)
                theta = rng.permuted(channels, axis=1)[:, 0].astype(np.float32)
            if graph.exact:
                theta += rng.choice(np.array([-0.5, 0.5], np.float32), theta.shape)
            node = replace(node, threshold=theta)
            sent[node.name] = reference.fired(node, current).astype(current.dtype)
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


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

    around = ((1, 1), (1, 1))  # stride and padding
    conv1 = Projection(INPUT, weight(4, 3, 3, 3), *around)
    conv2 = Projection("conv1", weight(4, 2, 3, 3), *around, groups=2)
    conv3 = (
        Projection("conv1", weight(6, 4, 3, 3), (2, 2), (1, 1)),
        Projection("pool2", weight(6, 4, 1, 1)),
    )
    nodes = (
        Population("conv1", (conv1,), threshold(4, 9999)),
        Population("conv2", (conv2,), threshold(4, 99)),
        Pool("pool2", "conv2", "max", 2),
        Population("conv3", conv3, threshold(6, 99)),
        Pool("pool3", "conv3", "sum", 2),
        Population("fc1", (Projection("pool3", weight(8, 24)),), threshold(8, 99)),
        Population("fc2", (Projection("fc1", weight(5, 8)),), threshold(5, 99)),
    )
    floats = rng.normal(0, 1, (2, 3)).astype(np.float32)
    readout = Readout("fc2", weight(3, 5), floats[0], floats[1])
    image = Image(8, 8, (120, 115, 104))
    return SpikingGraph(image, nodes, readout, ("cat", "ship", "Straße"), '{"accuracy": 0.9}')
