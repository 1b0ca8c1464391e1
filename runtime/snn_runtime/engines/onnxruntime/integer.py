"""SpikingGraph with int8 weights to integer operators of ONNX Runtime: uint8 in, uint8 out.

    image → Concat(m) → Transpose                        six planes x, m with weights W, −W
    (Concat →) QLinearConv | QGemm (→ Clip)              a population, thresholds and all
    MaxPool, or QLinearConv with ones                    a pool
    QLinearAdd, or Cast → Where                          an elementwise node
    MatMulInteger (→ Div) → Cast → Mul(a) → Add(b)       the readout

A spike is the 255 at which a quantiser saturates. With u = 255 for spikes, 1 for counts and pixels,

    sent = min(255, max(0, round((Σ w u s − u k) · f))),    k = floor(θ),  u f ≥ 255

and θ = k + ½, so current > θ ⇔ current ≥ k + 1 ⇔ u · current − u k ≥ u: what fires saturates, and
all else is 0 or less: nothing is left to be rounded.

Two levels are two steps of the quantiser. With k and k + d the floors of their thresholds,

    sent = min(2, max(0, round((Σ w u s − u a) · f / u))),    a = k − ⌊d/2⌋,    1/f = d + ⅓ [d even]

The steps, f (c − a) = ½ and 1½, lie between c = k and k + 1 and between k + d and k + d + 1, and
1 / (6 d + 2) or more from all four: several times what float32 rounds while d ≤ 2¹⁷. Three levels
at unlike distances are no quantiser, so more than two are compared in float32.

The operators are written as they are executed: the QDQ form of the same fuses to them only where
the optimiser is on and recognises the pattern. No integer operator compares the sum of several
convolutions fast (ConvInteger is five times as slow as floats). What cannot be merged into one
convolution, could leave 32 bits, or has a threshold a position is summed in float32: exact too.
"""

import numpy as np

from snn_runtime.engines.onnxruntime.merge import Merged, merge, six_planes
from snn_runtime.engines.onnxruntime.operators import SPIKE, IntegerOperators, WeightType
from snn_runtime.graph import (
    INPUT,
    READOUT,
    Elementwise,
    Image,
    Numbers,
    Pool,
    Population,
    SpikingGraph,
)
from snn_runtime.graph.values import reach
from snn_runtime.onnx_build import Value
from snn_runtime.onnx_build.float32 import SUMS, Float32, flat, ones_of

LARGEST_COUNT = 255
"""The largest count that a sum pool may send in uint8."""
WIDEST = 2**17
"""Between two thresholds of a neuron, where a quantiser makes both steps."""
INTEGER_BOUND = 2**22
"""Currents below this: 255 · (|current| + |k|) < 2³¹, as k is never further out than a current."""


class Integer(Float32):
    """A graph of int8 weights: uint8 numbers where they hold what is sent, else float32."""

    op: IntegerOperators

    def __init__(self, graph: SpikingGraph, weights: WeightType) -> None:
        self.unit = {INPUT: 1}
        """For each source of uint8 numbers, the one that stands for a spike or a count of one."""
        self._shapes = graph.shapes | {INPUT: (6, graph.image.height, graph.image.width)}
        super().__init__(graph, IntegerOperators(weights))

    def image(self, image: Image) -> Value:
        """The colour offsets beside the pixels: Σ w (x − m) = Σ w x + Σ (−w) m.

        As m has planes of its own, padding them with zeros is padding after the subtraction.
        """
        m = self.op.constant(f"{INPUT}/m", np.array(image.offset, np.uint8).reshape(1, 1, 1, 3))
        offsets = self.op.expand(f"{INPUT}/offsets", m, self.pixels)
        both = self.op.concat(f"{INPUT}/both", [self.pixels, offsets], axis=3)
        return self.op.transpose(f"{INPUT}/six_planes", both, (0, 3, 1, 2))

    def population(self, node: Population) -> Value:
        merged = self.merged(node)
        if merged is None:
            return super().population(node)
        if node.levels == 2:
            self.unit[node.name] = 1
            return self.both_at_once(node, merged)
        self.unit[node.name] = SPIKE
        return self.fired_at_once(node, merged)

    def send(self, name: str, fires: Value) -> Value:
        self.unit[name] = 1
        return self.op.cast(name, fires, np.uint8)

    def send_number(self, node: Population) -> Value:
        return self.send(node.name, self.exceeded(f"{node.name}/number", node))

    def pool(self, node: Pool) -> Value:
        unit = self.unit.get(node.source)
        if unit and (node.kind == "max" or self.graph.bounds[node.name] <= LARGEST_COUNT):
            self.unit[node.name] = unit if node.kind == "max" else 1
        return super().pool(node)

    def count(self, node: Pool) -> Value:
        if node.name not in self.unit:
            return super().count(node)
        # Off by a rounding of 1/255 at most, and then rounded to the count itself.
        scale = self.op.spike_to_one if self.unit[node.source] == SPIKE else self.op.one
        source, ones = self.sent[node.source], ones_of(node, self.graph)
        return self.op.conv_integer(
            node.name,
            source,
            self.op.weight(node.name, ones),
            scale,
            stride=(node.kernel, node.kernel),
            groups=len(ones),
        )

    def elementwise(self, node: Elementwise) -> Value:
        """A count of both in one unit; for AND and IAND x where y fired, or did not, else 0."""
        integers = self.unit.keys() >= set(node.sources)
        if not integers or self.graph.bounds[node.name] > LARGEST_COUNT:
            return super().elementwise(node)
        if node.counts:
            self.unit[node.name] = 1
            unit = min(self.unit[source] for source in node.sources)
            x, y = (self.in_unit(source, unit) for source in node.sources)
            scale = self.op.spike_to_one if unit == SPIKE else self.op.one
            return self.op.add_integer(node.name, x, y, scale)
        self.unit[node.name] = self.unit[node.first]
        x, y = self.sent[node.first], self.fired(node.second)
        if node.kind == "and":
            return self.op.where(node.name, y, x, self.op.zero)
        return self.op.where(node.name, y, self.op.zero, x)

    def sums(self) -> Value:
        readout, unit = self.graph.readout, self.unit.get(self.graph.readout.source)
        # A sum of counts is below 2^24 in any graph; one of spikes, times 255, may be too large.
        if not unit or reach(readout.weight).max() * unit >= 2**31:
            return super().sums()
        x = flat(self.op, self.sent[readout.source])
        total = self.op.matmul_integer(
            f"{READOUT}/total", x, self.op.weight(READOUT, readout.weight.T)
        )
        if unit != 1:
            spike = self.op.constant(f"{READOUT}/spike", np.int32(unit))
            total = self.op.div(f"{READOUT}/whole", total, spike)
        return self.op.cast(SUMS, total, np.float32)

    def floats(self, source: str) -> Value:
        if source == INPUT:
            return super().image(self.graph.image)
        if self.unit.get(source) == SPIKE:
            return self.op.cast(f"{source}/float", self.fired(source), np.float32)
        return super().floats(source)

    def merged(self, node: Population) -> Merged | None:
        """All projections as one, if one operator can sum and compare them."""
        integers = all(p.source in self.unit for p in node.projections)
        if not integers or node.threshold.ndim == 3 or node.levels > 2:
            return None
        if self.graph.bounds[node.name] >= INTEGER_BOUND:
            return None
        if np.ptp(self.floors(node), axis=0).max() > WIDEST:
            return None
        projections = [six_planes(p) if p.source == INPUT else p for p in node.projections]
        return merge(projections, self._shapes, self._shapes[node.name])

    def fired_at_once(self, node: Population, merged: Merged) -> Value:
        """255 where the current exceeds the threshold, in one operator."""
        (k,) = self.floors(node)
        unit = self.unit_of(merged)
        scale = self.op.one if unit == SPIKE else self.op.saturating
        return self.summed(node.name, node, merged, k, scale)

    def both_at_once(self, node: Population, merged: Merged) -> Value:
        """How many of two thresholds the current exceeds."""
        low, high = self.floors(node)
        gap = high - low
        steepness = 1 / (gap + np.where(gap % 2, 0, 1 / 3)) / self.unit_of(merged)
        gain = self.op.constant(f"{node.name}/gain", steepness.astype(np.float32))
        start = low - gap // 2
        steps = self.summed(f"{node.name}/steps", node, merged, start, self.op.one, gain)
        return self.op.at_most(node.name, steps, 2)

    def floors(self, node: Population) -> Numbers:
        """`[K, O]`: ⌊θ⌋. One that no current reaches is moved to where none reaches it either."""
        bound = self.graph.bounds[node.name]
        floors = np.floor(np.atleast_2d(node.threshold)).astype(np.int64)
        return np.asarray(np.clip(floors, -bound - 1, bound))

    def unit_of(self, merged: Merged) -> int:
        """The unit of a population's sum."""
        return min(self.unit[source] for source in merged.sources)

    def summed(
        self,
        name: str,
        node: Population,
        merged: Merged,
        start: Numbers,
        scale: Value,
        gain: Value | None = None,
    ) -> Value:
        """`gain · unit · (current − start) / scale`, rounded and cut to 0 … 255."""
        unit = self.unit_of(merged)
        bias = self.op.constant(f"{node.name}/bias", (-unit * start).astype(np.int32))
        x = self.joined(node.name, merged, unit)
        if merged.weight.ndim == 2:
            weight = self.op.weight(node.name, merged.weight.T)
            return self.op.gemm_integer(name, x, weight, scale, bias, gain)
        return self.op.conv_integer(
            name,
            x,
            self.op.weight(node.name, merged.weight),
            scale,
            bias,
            gain=gain,
            stride=merged.stride,
            pads=merged.pads,
            groups=merged.groups,
        )

    def joined(self, name: str, merged: Merged, unit: int) -> Value:
        """All sources of a population side by side, in one unit."""
        parts: list[Value] = []
        for i, (source, every) in enumerate(zip(merged.sources, merged.every, strict=True)):
            x = self.in_unit(source, unit)
            if merged.weight.ndim == 2:
                x = flat(self.op, x)
            if every != (1, 1):
                # ONNX Runtime keeps this in its own memory layout, and Slice it does not.
                x = self.op.max_pool(f"{name}/{i}/kept", x, (1, 1), every)
            parts.append(x)
        return parts[0] if len(parts) == 1 else self.op.concat(f"{name}/all", parts, axis=1)

    def in_unit(self, source: str, unit: int) -> Value:
        """What a source sends, in its own unit or in 1."""
        if self.unit[source] == unit:
            return self.sent[source]
        return self.op.cast(f"{source}/bits", self.fired(source), np.uint8)
