"""Random SpikingGraphs of realistic width, for engines that work on many channels at once."""

import math
from dataclasses import dataclass
from typing import Any

from graphs import ELEMENTWISE
from growing import FIRING, KINDS, Growing
from hypothesis import strategies as st

from snn_runtime.graph import INPUT, Projection, SpikingGraph
from snn_runtime.graph.values import EXACT_BOUND

CHANNELS = (1, 2, 3, 16, 31, 32, 33, 63, 64, 65, 66, 95, 127, 128, 129, 130, 191, 192, 193, 255)
MORE_CHANNELS = (256, 257, 300, 319, 320, 321, 384, 449, 511, 512, 513, 577, 640, 1025)
LIMITS = (127, 1, 2, 3, 7, 8, 15, 16, 31, 32, 63, 64, 126)
KERNELS = (1, 3, 2, 5, 7)
STRIDES = (1, 2, 3, 4, 9)
WORK = 1_500_000
"""Multiply-adds of a node for one picture: the interpreter that answers the tests is slow."""
Geometry = tuple[int, int, int]
"""Kernel, stride and padding along one axis."""


@dataclass
class Wide:
    """Draws what the next node is; the growing graph fills in the numbers."""

    draw: st.DrawFn
    grown: Growing
    largest: dict[str, int]
    """What each source sends at most."""

    def pick(self, choices: Any) -> Any:
        return self.draw(st.sampled_from(list(choices)))

    def node(self, name: str) -> None:
        source = self.pick(self.largest)
        flat = len(self.grown.shape(source)) == 1
        kind = self.pick(["convolution", "elementwise", "pool", "convolution", "dense"])
        if kind == "elementwise" and source != INPUT:
            self.elementwise(source)
        elif kind == "dense" or flat:
            self.dense(name)
        elif kind == "pool" and source != INPUT:
            self.pool(source)
        else:
            self.convolution(name, source)

    def convolution(self, name: str, source: str) -> None:
        inputs, *size = self.grown.shape(source)
        groups = self.pick(sorted({1, inputs, *_divisors(inputs)}))
        axes = [self.axis(side) for side in size]
        pixels = math.prod(_steps(side, axis) for side, axis in zip(size, axes, strict=True))
        taps = math.prod(kernel for kernel, _, _ in axes)
        most = max(1, WORK // (pixels * taps * (inputs // groups)) // groups)
        each = self.pick(
            [c for c in (*CHANNELS, *MORE_CHANNELS) if c * groups <= 1300 and c <= most]
        )
        out = groups * each
        geometries = [(source, axes, groups)]
        shape = [_steps(side, axis) for side, axis in zip(size, axes, strict=True)]
        for other in self.draw(st.lists(st.sampled_from(list(self.largest)), max_size=2)):
            geometries += self.fitting(other, shape, out)
        projections = [self.projected(*geometry, out, len(geometries)) for geometry in geometries]
        self.add(name, projections)

    def fitting(self, source: str, shape: list[int], out: int) -> list[Any]:
        """Another way to the same shape, if there is one: kernels and strides of its own."""
        inputs, *size = self.grown.shape(source)
        axes: list[Geometry] = []
        for side, steps in zip(size, shape, strict=False):
            fits = [
                axis
                for kernel in KERNELS
                for stride in STRIDES
                for padding in range(kernel)
                if _steps(side, axis := (kernel, stride, padding)) == steps
            ]
            axes += [self.pick(fits)] if fits else []
        if len(axes) != 2:
            return []
        groups = self.pick([g for g in sorted({1, inputs, *_divisors(inputs)}) if out % g == 0])
        work = math.prod(shape) * out * inputs // groups * axes[0][0] * axes[1][0]
        return [(source, axes, groups)] if work <= WORK else []

    def projected(
        self, source: str, axes: list[Geometry], groups: int, out: int, others: int
    ) -> Projection:
        (height, stride_y, padding_y), (width, stride_x, padding_x) = axes
        inputs = self.grown.shape(source)[0] // groups
        weight = self.weight(source, others, out, inputs, height, width)
        return Projection(source, weight, (stride_y, stride_x), (padding_y, padding_x), groups)

    def dense(self, name: str) -> None:
        sources = self.draw(st.lists(st.sampled_from(list(self.largest)), min_size=1, max_size=3))
        sizes = [math.prod(self.grown.shape(source)) for source in sources]
        most = max(1, WORK // sum(sizes))
        out = self.pick([c for c in (*CHANNELS, *MORE_CHANNELS) if c <= most])
        projections = [
            Projection(source, self.weight(source, len(sources), out, size))
            for source, size in zip(sources, sizes, strict=True)
        ]
        self.add(name, projections)

    def pool(self, source: str) -> None:
        kernel = self.draw(st.integers(1, min(self.grown.shape(source)[1:])))
        kind = self.pick(["sum", "max"])
        largest = self.largest[source] * (kernel**2 if kind == "sum" else 1)
        if largest < 2**12:
            self.largest[self.grown.pool(source, kind, kernel)] = largest

    def elementwise(self, source: str) -> None:
        """Joined with another of its shape, or with itself; and the result again."""
        shape = self.grown.shape(source)
        for _ in range(self.draw(st.integers(1, 3))):
            alike = [n for n in self.largest if n != INPUT and self.grown.shape(n) == shape]
            other = self.pick(alike)
            counts = [self.largest[source], self.largest[other]]
            kind = self.pick(ELEMENTWISE if counts == [1, 1] else ELEMENTWISE[:1])
            if sum(counts) < 2**12:
                source = self.grown.join(kind, source, other)
                self.largest[source] = sum(counts) if kind == "add" else 1

    def axis(self, side: int) -> Geometry:
        kernel = self.pick(KERNELS)
        padding = self.draw(st.integers(max(0, -((side - kernel) // 2)), kernel - 1))
        return kernel, self.pick(STRIDES), padding

    def add(self, name: str, projections: list[Projection]) -> None:
        reach = sum(
            int(abs(p.weight.reshape(len(p.weight), -1).astype(int)).sum(1).max())
            * self.largest[p.source]
            for p in projections
        )
        if reach < EXACT_BOUND:
            firing = self.pick([*FIRING, "edge", "all"])
            positions, levels = self.draw(st.booleans()), self.pick((1, 1, 2, 3))
            self.grown.add(name, *projections, firing=firing, positions=positions, levels=levels)
            self.largest[name] = levels

    def weight(self, source: str, others: int, *shape: int) -> Any:
        """As large as `others` such projections may be together without leaving 24 bits."""
        allowed = (EXACT_BOUND - 1) // others // (math.prod(shape[1:]) * self.largest[source])
        limit = min(self.pick(LIMITS), max(1, allowed))
        return self.grown.weight(self.pick(KINDS), limit, *shape)


@st.composite
def wide_graphs(draw: st.DrawFn) -> SpikingGraph:
    """Graphs of up to seven nodes; any may see the picture, and some nobody listens to."""
    height, width = draw(st.integers(1, 12)), draw(st.sampled_from([1, 2, 3, 4, 5, 8, 13, 21]))
    offset = draw(st.tuples(*[st.sampled_from([0, 1, 104, 128, 255])] * 3))
    grown = Growing(height, width, draw(st.integers(0, 2**32 - 1)), offset)
    wide = Wide(draw, grown, {INPUT: max(max(m, 255 - m) for m in offset)})
    wide.convolution("first", INPUT)
    for number in range(draw(st.integers(0, 6))):
        wide.node(f"node{number}")
    if not grown.nodes:
        grown.convolve("only", INPUT, 65)
    source = draw(st.sampled_from([node.name for node in grown.nodes]))
    inputs = math.prod(grown.shape(source)) * wide.largest.get(source, 1)
    classes = draw(
        st.sampled_from([c for c in (1, 10, 63, 65, 200, 1000) if c * inputs < WORK or c < 2])
    )
    limit = max(1, min(draw(st.sampled_from(LIMITS)), (EXACT_BOUND - 1) // inputs))
    return grown.graph(source, classes=classes, kind=draw(st.sampled_from(KINDS)), limit=limit)


def _divisors(number: int) -> list[int]:
    return [d for d in (2, 3, 4, 5, 8, 13, 43, 64, 65) if number % d == 0]


def _steps(side: int, axis: Geometry) -> int:
    kernel, stride, padding = axis
    return (side + 2 * padding - kernel) // stride + 1
