"""Graphs of realistic width whose thresholds are set while they grow, from currents that occur."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from graphs import in_order, pictures, reads_picture

from snn_runtime.graph import (
    INPUT,
    Elementwise,
    FloatArray,
    Image,
    Node,
    Pool,
    Population,
    Projection,
    Readout,
    Shape,
    SpikingGraph,
)

FIRING = ("edge", "all", "none", "sparse", "dense", "far", "mixed")
KINDS = (
    *("random", "extreme", "signed", "halves", "alternating", "lanes", "one", "brim"),
    *("half_bytes", "half_byte_ends"),
)
FAR = [2.0**15 + d for d in (-2, -1, 0, 1)] + [2.0**16 + d for d in (-1, 0)] + [2.0**23 - 1]
"""Thresholds (+ ½, both signs) around and far beyond the ends of 16 bits."""
BRIMS = [32766, 32767, 32768, 32769, 65535, 65536]
Weight = npt.NDArray[np.int8]


@dataclass
class Growing:
    """A graph under construction that knows what its nodes send for a few pictures."""

    height: int
    width: int
    seed: int = 0
    offset: tuple[int, int, int] = (128, 1, 255)
    nodes: list[Node] = field(default_factory=list)
    sent: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.image = Image(self.height, self.width, self.offset)
        images = pictures(self.image, 4, self.seed)
        self.sent[INPUT] = self.image.centred(images, np.int64)

    def shape(self, name: str) -> Shape:
        return tuple(self.sent[name].shape[1:])

    def weight(self, kind: str, limit: int, *shape: int) -> Weight:
        """Weights of up to ± limit, in a pattern over the inputs of each output channel."""
        out, inputs = shape[0], int(np.prod(shape[1:]))
        flip = self.rng.choice([-1, 1], (out, 1))
        if kind == "random":
            rows = self.rng.integers(-limit, limit + 1, (out, inputs))
        elif kind == "extreme":
            rows = self.rng.choice([-limit, limit], (out, inputs))
        elif kind == "half_bytes":  # all that four bits hold, which is one more below zero
            rows = self.rng.integers(-min(limit, 8), min(limit, 7) + 1, (out, inputs))
        elif kind == "half_byte_ends":
            rows = self.rng.choice([-min(limit, 8), min(limit, 7)], (out, inputs))
        elif kind == "signed":
            rows = flip * limit * np.ones((out, inputs), np.int64)
        elif kind == "halves":  # far out, and back to nothing
            rows = flip * np.where(np.arange(inputs) < inputs // 2, limit, -limit)
        elif kind == "alternating":
            rows = flip * np.where(np.arange(inputs) % 2, limit, -limit)
        elif kind == "lanes":
            rows = self.rng.choice([-limit, limit], (out, inputs))
            rows[self.rng.integers(0, 2) :: 2] = 0
        elif kind == "one":
            rows = np.zeros((out, inputs), np.int64)
            rows[np.arange(out), self.rng.integers(0, inputs, out)] = flip[:, 0] * limit
        else:
            rows = flip * np.stack(
                [_brim(BRIMS[o % len(BRIMS)], inputs, limit) for o in range(out)]
            )
        return rows.reshape(shape).astype(np.int8)

    def add(
        self,
        name: str,
        *projections: Projection,
        firing: str = "edge",
        positions: bool = False,
        levels: int = 1,
    ) -> str:
        """A population, its thresholds such that it fires as asked; one a position, if `positions`
        and it reads the picture: a ring around what lies inside, or each of its own."""
        node = Population(name, projections, np.full(len(projections[0].weight), 0.5, np.float32))
        current = node.compute(self.sent)
        theta = in_order(np.stack([self.threshold(current, firing) for _ in range(levels)]))
        if positions and levels == 1 and reads_picture(node, current):
            theta = self.positioned(theta, current)
        node = Population(name, projections, theta)
        return self.append(node)

    def append(self, node: Node) -> str:
        self.sent[node.name] = node.respond(self.sent)
        self.nodes.append(node)
        return node.name

    def pool(self, source: str, kind: str, kernel: int) -> str:
        name = f"{kind}{kernel}.{len(self.nodes)}"
        return self.append(Pool(name, source, "max" if kind == "max" else "sum", kernel))

    def join(self, kind: Literal["add", "and", "iand"], first: str, second: str) -> str:
        return self.append(Elementwise(f"{kind}.{len(self.nodes)}", kind, first, second))

    def convolve(
        self,
        name: str,
        source: str,
        out: int,
        kernel: tuple[int, int] = (1, 1),
        *,
        kind: str = "random",
        limit: int = 127,
        firing: str = "edge",
        positions: bool = False,
        levels: int = 1,
        **geometry: Any,
    ) -> str:
        inputs = self.shape(source)[0] // int(geometry.get("groups", 1))
        weight = self.weight(kind, limit, out, inputs, *kernel)
        projection = Projection(source, weight, **geometry)
        return self.add(name, projection, firing=firing, positions=positions, levels=levels)

    def dense(
        self, name: str, *sources: str, out: int, kind: str = "random", limit: int = 127
    ) -> str:
        sizes = [int(np.prod(self.shape(source))) for source in sources]
        weights = [self.weight(kind, limit, out, size) for size in sizes]
        return self.add(name, *map(Projection, sources, weights))

    def threshold(self, current: npt.NDArray[np.int64], firing: str) -> FloatArray:
        channels = np.sort(current.swapaxes(0, 1).reshape(current.shape[1], -1), axis=1)
        count, samples = channels.shape
        modes = np.array(FIRING[:-1] if firing == "mixed" else [firing])[
            self.rng.integers(0, 6 if firing == "mixed" else 1, count)
        ]
        somewhere = channels[np.arange(count), self.rng.integers(0, samples, count)]
        far = self.rng.choice(FAR, count) * self.rng.choice([-1, 1], count)
        choices = {
            "edge": somewhere - self.rng.integers(0, 2, count),
            "all": channels[:, 0] - 1,
            "none": channels[:, -1],
            "sparse": channels[:, int(samples * 0.95)],
            "dense": channels[:, int(samples * 0.1)] - 1,
            "far": far,
        }
        theta = np.select([modes == mode for mode in choices], list(choices.values()))
        return np.asarray(theta.clip(-(2.0**23), 2.0**23 - 1) + 0.5, np.float32)

    def positioned(self, theta: FloatArray, current: npt.NDArray[np.int64]) -> FloatArray:
        """`[O, H, W]`: θ inside and some other current on a ring, or everywhere another."""
        others = self.rng.permuted(current, axis=0)[0]
        ring = int(self.rng.integers(0, 4))  # 0: no inside at all
        inside = np.zeros(current.shape[2:], bool)
        inside[ring : -ring or 0, ring : -ring or 0] = True
        away = others - self.rng.integers(0, 2, others.shape) + 0.5
        theta = np.where(inside, theta[:, None, None], away)
        return theta.clip(0.5 - 2.0**23, 2.0**23 - 0.5).astype(np.float32)

    def graph(
        self, source: str | None = None, *, classes: int = 10, kind: str = "random", limit: int = 9
    ) -> SpikingGraph:
        source = source or self.nodes[-1].name
        weight = self.weight(kind, limit, classes, int(np.prod(self.shape(source))))
        scale, bias = self.rng.normal(0, 1, (2, classes)).astype(np.float32)
        scale[::5], bias[::3] = np.float32(-0.0), np.float32(-0.0)
        scale[1::7], bias[1::7] = np.float32(-1.5e-38), np.float32(1.2e-38)  # almost subnormal
        scale[2::7], bias[2::7] = np.float32(1e30), np.float32(-1e37)
        labels = tuple(f"class {i}" for i in range(classes))
        return SpikingGraph(
            self.image, tuple(self.nodes), Readout(source, weight, scale, bias), labels
        )


def _brim(total: int, inputs: int, limit: int) -> npt.NDArray[np.int64]:
    """Weights that add up to `total` if everybody fires, or come as near as they can."""
    row = np.full(inputs, limit)
    full = min(inputs, total // limit)
    row[full:] = 0
    if full < inputs:
        row[full] = total - full * limit
    return row
