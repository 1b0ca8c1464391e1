"""The dense twin: the same topology as an ordinary ReLU network, for engines made for those.

    y = ReLU(Σ_p ŵ_p ∗ x_p + b)        ŵ = (w − w̄) √(2 / Σ (w − w̄)²)

Weights are centred and scaled, a channel at a time, so that what leaves a layer is as large as what
came (He) and half of it is positive: thresholds, which did that for the spikes, are gone.

Where spikes are pooled by OR it takes the maximum, where they are summed the average. Of two
sources it takes the sum for ADD, the minimum for AND, ReLU(x − y) for IAND: of spikes the same. An
identity shortcut, which a SpikingGraph spells as a 1×1 depthwise convolution, is a plain addition.
The input is float32 `[N, 3, H, W]`, so that no pixel preprocessing is on the twin's bill.
"""

import numpy as np
import numpy.typing as npt

from snn_bench.limit import reads
from snn_runtime.graph import (
    INPUT,
    OUTPUT,
    Elementwise,
    FloatArray,
    Image,
    Lowering,
    Pool,
    Population,
    Projection,
    SpikingGraph,
)
from snn_runtime.onnx_build import BATCH, ModelProto, Operators, Value
from snn_runtime.onnx_build.float32 import flat, project

SPREAD = 64.0
"""Pixels are divided by this after the offset is subtracted: about their standard deviation."""


def twin_input(graph: SpikingGraph, images: npt.NDArray[np.uint8]) -> FloatArray:
    """float32 `[N, 3, H, W]` for uint8 `[N, H, W, 3]`, centred and scaled."""
    offset = np.array(graph.image.offset, np.float32)
    scaled = (images.astype(np.float32) - offset) / np.float32(SPREAD)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def relu_twin(graph: SpikingGraph, seed: int = 0) -> ModelProto:
    """Return the float32 twin as an ONNX model with a free batch dimension."""
    twin = _Twin(graph, np.random.default_rng(seed))
    return twin.op.model(twin.logits())


def multiply_adds(graph: SpikingGraph) -> int:
    """Of a picture in the twin, zero padding left out: no engine has to multiply it."""
    layers = (
        int(reads(projection, graph.shapes[projection.source]).sum())
        for node in graph.populations
        for projection in node.projections
        if not is_identity(projection)
    )
    return sum(layers) + int(graph.readout.weight.size)


def centred(projection: Projection) -> FloatArray:
    """The weights less each output channel's mean."""
    weight = projection.weight.astype(np.float32)
    weight -= weight.mean(axis=tuple(range(1, weight.ndim)), keepdims=True)
    return weight


def is_identity(projection: Projection) -> bool:
    """Whether a projection hands each channel on by itself: an identity shortcut, scaled."""
    alone = projection.weight.shape[2:] == (1, 1) and projection.stride == (1, 1)
    return alone and projection.sums


class _Twin(Lowering[Value]):
    """The twin's operators, node by node."""

    def __init__(self, graph: SpikingGraph, rng: np.random.Generator) -> None:
        super().__init__(graph)
        self.op = Operators("relu_twin")
        self._rng = rng
        self.walk()

    def image(self, image: Image) -> Value:
        return self.op.input(INPUT, np.float32, (BATCH, 3, image.height, image.width))

    def population(self, node: Population) -> Value:
        square = np.zeros(node.channels)
        for projection in node.projections:
            if not is_identity(projection):
                square += np.square(centred(projection)).reshape(len(square), -1).sum(axis=1)
        scale = np.sqrt(2 / np.maximum(square, 1)).astype(np.float32)
        bias = self._rng.normal(0, 0.1, len(scale)).astype(np.float32)
        parts: list[Value] = []
        # Weights first, so that the bias rides on a convolution.
        for index, projection in enumerate(sorted(node.projections, key=is_identity)):
            shift = np.zeros_like(bias) if index else bias
            parts.append(self._projection(projection, f"{node.name}/{index}", scale, shift))
        total = parts[0]
        for index, part in enumerate(parts[1:], 1):
            total = self.op.add(f"{node.name}/sum{index}", total, part)
        return self.op.relu(node.name, total)

    def pool(self, node: Pool) -> Value:
        pool = self.op.average_pool if node.counts else self.op.max_pool
        window = (node.kernel, node.kernel)
        return pool(node.name, self.sent[node.source], window, window)

    def elementwise(self, node: Elementwise) -> Value:
        x, y = self.sent[node.first], self.sent[node.second]
        if node.kind == "add":
            return self.op.add(node.name, x, y)
        if node.kind == "and":
            return self.op.minimum(node.name, x, y)
        return self.op.relu(node.name, self.op.sub(f"{node.name}/difference", x, y))

    def logits(self) -> Value:
        readout = self.graph.readout
        rows = readout.weight.astype(np.float32)
        scale = 1 / np.sqrt(np.maximum(np.einsum("oi,oi->o", rows, rows), 1))
        weight = self.op.constant("readout/weight", rows * scale[:, None])
        bias = self.op.constant("readout/bias", np.zeros(len(rows), np.float32))
        return self.op.gemm(OUTPUT, flat(self.op, self.sent[readout.source]), weight, bias)

    def _projection(
        self, projection: Projection, prefix: str, scale: FloatArray, bias: FloatArray
    ) -> Value:
        source = self.sent[projection.source]
        if is_identity(projection):
            return source
        weight = centred(projection)
        weight *= scale.reshape(-1, *(1,) * (weight.ndim - 1))
        stored = self.op.constant(f"{prefix}/weight", weight)
        shift = self.op.constant(f"{prefix}/bias", bias)
        return project(self.op, prefix, projection, source, stored, shift)
