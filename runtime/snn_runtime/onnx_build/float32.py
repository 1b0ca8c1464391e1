"""A SpikingGraph in float32, from which every other form differs by what it overrides.

    image → Cast → Transpose → Sub(m)                   the picture, per colour − m
    Conv | Gemm (→ Add) → Greater(θ) → Cast             a population
                          K Greater → K Cast → Add      one of K levels
    MaxPool, or Conv with ones                          a pool
    Add, Mul, or Mul → Sub                              an elementwise node: add, and, iand
    Gemm → readout/sum (→ Mul(a) → Add(b) → logits)     the readout

θ is `[1, O, 1, 1]`, `[1, O]` for a dense population or, where each position has its own,
`[1, O, H, W]`.

The value that a node sends has the node's name. All others are called `name/what`; names of nodes
hold no slash.
"""

import numpy as np
import numpy.typing as npt

from snn_runtime.graph import (
    INPUT,
    OUTPUT,
    READOUT,
    Elementwise,
    Image,
    Lowering,
    Pool,
    Population,
    Projection,
    Readout,
    SpikingGraph,
    Weights,
)
from snn_runtime.onnx_build.operators import BATCH, Operators, Value

CENTRED = f"{INPUT}/centred"
OFFSET = f"{INPUT}/offset"
SUMS = f"{READOUT}/sum"
"""The readout's weighted sums, before its scale and bias, `[N, classes]`."""


def spikes_of(population: str) -> str:
    """Name of the value that holds a population's spikes: bool, or of several levels uint8."""
    return f"{population}/fires"


def projection_of(readout: Readout) -> Projection:
    """The readout's weights, as those of a population."""
    return Projection(readout.source, readout.weight)


def ones_of(node: Pool, graph: SpikingGraph) -> Weights:
    """The kernel of a sum pool, `[C, 1, k, k]`, one group a channel."""
    return np.ones((graph.shapes[node.source][0], 1, node.kernel, node.kernel), np.int8)


def prefix_of(node: Population, index: int) -> str:
    """Begins the names of a projection's values; a single one has its population's name."""
    return node.name if len(node.projections) == 1 else f"{node.name}/{index}"


def project(
    op: Operators, name: str, projection: Projection, source: Value, weight: Value, *bias: Value
) -> Value:
    """`W ∗ s (+ bias)`: a convolution, or a product with the source flattened."""
    if projection.weight.ndim == 2:
        return op.gemm(name, flat(op, source), weight, *bias)
    return op.conv(
        name,
        source,
        weight,
        *bias,
        stride=projection.stride,
        pads=projection.padding * 2,
        groups=projection.groups,
    )


def flat(op: Operators, x: Value) -> Value:
    return op.flatten(f"{x.name}/flat", x)


class Float32(Lowering[Value]):
    """The operators of a graph, node by node. The outputs are made when they are called for."""

    def __init__(self, graph: SpikingGraph, op: Operators | None = None) -> None:
        super().__init__(graph)
        self.op = op or Operators("spiking_graph")
        size = (graph.image.height, graph.image.width)
        self.pixels = self.op.input(INPUT, np.uint8, (BATCH, *size, 3))
        self.fires: dict[str, Value] = {}
        """`[current > θ]` of the populations that compare with one threshold."""
        self.walk()

    def sums(self) -> Value:
        """`Σ v s`, to which the readout's scale and bias are still to be applied."""
        readout = projection_of(self.graph.readout)
        return self.product(SUMS, READOUT, readout, self.floats(readout.source))

    def logits(self) -> Value:
        """`a · Σ v s + b`: one multiplication and one addition, each rounded once."""
        readout, sums = self.graph.readout, self.sums()
        scale = self.op.constant(f"{READOUT}/scale", readout.scale)
        bias = self.op.constant(f"{READOUT}/bias", readout.bias)
        return self.op.add(OUTPUT, self.op.mul(f"{READOUT}/scaled", sums, scale), bias)

    def spikes(self) -> list[Value]:
        """The spikes of every population: bool, or of several levels how many, uint8."""
        return [
            self.fired(node.name)
            if node.levels == 1
            else self.op.cast(spikes_of(node.name), self.sent[node.name], np.uint8)
            for node in self.graph.populations
        ]

    def fired(self, population: str) -> Value:
        """Its comparison or, where it has none, whether its values are other than 0."""
        if population in self.fires:
            return self.fires[population]
        return self.op.cast(spikes_of(population), self.sent[population], np.bool_)

    def image(self, image: Image) -> Value:
        """`x − m`, `[N, 3, H, W]`."""
        offset = np.array(image.offset, np.float32).reshape(1, 3, 1, 1)
        floats = self.op.cast(f"{INPUT}/float", self.pixels, np.float32)
        planes = self.op.transpose(f"{INPUT}/planes", floats, (0, 3, 1, 2))
        return self.op.sub(CENTRED, planes, self.op.constant(OFFSET, offset))

    def population(self, node: Population) -> Value:
        """`[Σ_p W_p ∗ s_p > θ]`, or of how many levels it exceeds the θ."""
        if node.levels > 1:
            return self.send_number(node)
        current = self.current(node)
        theta = self.op.constant(f"{node.name}/threshold", *node.comparands)
        self.fires[node.name] = self.op.greater(spikes_of(node.name), current, theta)
        return self.send(node.name, self.fires[node.name])

    def send(self, name: str, fires: Value) -> Value:
        """Spikes as numbers."""
        return self.op.cast(name, fires, np.float32)

    def send_number(self, node: Population) -> Value:
        """How many levels a current exceeds, as a number."""
        return self.exceeded(node.name, node)

    def exceeded(self, name: str, node: Population) -> Value:
        """`Σ_k [Σ_p W_p ∗ s_p > θ_k]`, float32, called `name`."""
        current = self.current(node)
        total, *others = (
            self.op.cast(f"{node.name}/spikes/{k}", self.beyond(node, k, current), np.float32)
            for k in range(node.levels)
        )
        for k, other in enumerate(others, 1):
            part = name if k == len(others) else f"{node.name}/spikes/{k}/sum"
            total = self.op.add(part, total, other)
        return total

    def beyond(self, node: Population, level: int, current: Value) -> Value:
        """`[current > θ]` of one level."""
        theta = self.op.constant(f"{node.name}/threshold/{level}", node.comparands[level])
        return self.op.greater(f"{node.name}/fires/{level}", current, theta)

    def pool(self, node: Pool) -> Value:
        """The maximum of spikes, which is OR, or their count."""
        if node.counts:
            return self.count(node)
        window = (node.kernel, node.kernel)
        return self.op.max_pool(node.name, self.sent[node.source], window, window)

    def count(self, node: Pool) -> Value:
        """The count of each window, float32."""
        return self.counted(node, self.floats(node.source))

    def counted(self, node: Pool, source: Value) -> Value:
        """A convolution with ones, in the type of the source. AveragePool · k² is not: 1/9 has no
        exact float32, and the thresholds behind it are compared with exact sums."""
        ones, window = ones_of(node, self.graph), (node.kernel, node.kernel)
        weight = self.weight(node.name, ones, source.dtype)
        return self.op.conv(node.name, source, weight, stride=window, groups=len(ones))

    def elementwise(self, node: Elementwise) -> Value:
        """`x + y`, `x y`, or `x − x y` for `x (1 − y)`."""
        return self.combined(node.name, node, self.floats(node.first), self.floats(node.second))

    def combined(self, name: str, node: Elementwise, x: Value, y: Value) -> Value:
        """The same in the numbers of x and y."""
        if node.kind == "add":
            return self.op.add(name, x, y)
        if node.kind == "and":
            return self.op.mul(name, x, y)
        return self.op.sub(name, x, self.op.mul(f"{node.name}/both", x, y))

    def current(self, node: Population) -> Value:
        """`Σ_p W_p ∗ s_p`, float32."""
        total, *others = [self.part(node, i) for i in range(len(node.projections))]
        for i, other in enumerate(others, 1):
            name = f"{node.name}/current" if i == len(others) else f"{node.name}/{i}/sum"
            total = self.op.add(name, total, other)
        return total

    def part(self, node: Population, index: int) -> Value:
        """`W_p ∗ s_p` of one projection, float32."""
        projection, prefix = node.projections[index], prefix_of(node, index)
        source = self.floats(projection.source)
        return self.product(f"{prefix}/current", prefix, projection, source)

    def product(self, name: str, prefix: str, projection: Projection, source: Value) -> Value:
        """`W ∗ s`, in the type of the source."""
        weight = self.weight(prefix, projection.weight, source.dtype)
        return project(self.op, name, projection, source, weight)

    def floats(self, source: str) -> Value:
        """The values of a source, as float32."""
        sent = self.sent[source]
        if sent.dtype == np.float32:
            return sent
        return self.op.cast(f"{source}/float", sent, np.float32)

    def weight(self, prefix: str, weight: Weights, dtype: npt.DTypeLike) -> Value:
        """Weights for values of one type."""
        return self.op.constant(f"{prefix}/weight", weight.astype(dtype, copy=False))
