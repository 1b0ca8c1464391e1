"""How far numbers may go before an arithmetic of TensorRT could get a spike wrong.

u = 2⁻²⁴ is half an ulp of float32, B the largest |current| of a population (`SpikingGraph.bounds`),
P the number of its projections. θ is a half-integer, so |c − θ| ≥ ½; where θ lies beyond ± B it is
moved to ± (B + ½), which changes no answer and keeps |c − θ| ≤ 2B + ½.

**float32.** Every partial sum is an integer below 2²⁴: exact in any order. TF32, which keeps 11
bits of each factor, would change nothing while factors are below 2¹¹, as weights, pixels, spikes
and all but the largest counts are; it is switched off all the same. What is not covered is a
kernel that transforms its tiles by fractions (Winograd's F(4×4) has 1/6 in it): the golden spikes
decide.

**int8.** A spike is 127 with the scale σ = fl(1/127) = (1 − 2⁻²⁸)/127, weights have the scale 1.
TensorRT may run such a convolution in one of two ways, and each is right:

  * in float32, after DequantizeLinear. fl(127 σ) = fl(1 − 2⁻²⁸) = 1: a spike is exactly 1.
  * in integers. The sum is 127 c exactly (127 · 2²⁴ < 2³¹) and becomes fl(fl(127 c) · σ): two
    roundings and the error of σ. Each further projection is added with one rounding, and −θ with
    one. No partial sum exceeds 2B + ½, so the result is off by at most
    (P + 2)(2B + 1) u ≤ ¼ for B ≤ `int8_limit`, and has the sign of c − θ with magnitude ≥ ¼.

Relu makes 0 of what is negative, and QuantizeLinear with the scale 1/512 makes at least 128 of ¼,
which saturates at 127: a spike again. Counts have the scale 1 and round nowhere up to 2²⁴.

A count comes from AveragePool: count / k² with a few roundings, divided by the scale fl(1/k²) and
rounded to the nearest integer, hence the count itself for any k with k² ≤ 127.

**float16.** Sums are of float16 products, which are exact, in float32, and are rounded once, when
they are stored: h(c). Rounding is monotone and every integer up to 2¹¹ is its own rounding. So with
θ = k + ½ and |θ| + ½ ≤ 2¹¹, c ≥ k + 1 ⇔ h(c) ≥ k + 1, infinities included: [h(c) > θ] is right
although h(c) need not be. The comparison itself is in float32, where θ is exact.

With several projections, let r be what all but the furthest can reach together. If
|θ| + ½ + r ≤ 2¹¹, those are exact, and the furthest is rounded only where it lies beyond ± 2¹¹ and
decides alone. Otherwise a projection is in float16 if it is exact there, and in float32 if not.
A kernel that accumulates in float16 is not covered by this: the golden spikes decide.
"""

from dataclasses import replace

import numpy as np

from snn_runtime.graph import Node, Population, SpikingGraph
from snn_runtime.graph.values import reach

SPIKE = 127
"""A spike: the number at which an int8 quantiser saturates."""
LARGEST_COUNT = 127
"""The largest count that a sum pool may send in int8."""
SATURATING = np.float32(1 / 512)
"""The scale of a quantiser that makes 127 of ¼ and of all above."""
HALF_BOUND = 2**11
"""Integers up to this are exact in float16."""
ADDITIVE_BOUND = 2**22
"""Below this c − θ may be summed in any order: half-integers below 2²³ are exact in float32."""
_INT8_BUDGET = 2**21


def int8_limit(projections: int) -> int:
    """The largest bound of a population whose currents may be sums of int8 products."""
    return _INT8_BUDGET // (projections + 2) - 1


def with_reachable_thresholds(graph: SpikingGraph) -> SpikingGraph:
    """θ moved to ± (B + ½) where it lies beyond: no current lies between."""
    return replace(graph, nodes=tuple(_reachable(graph, node) for node in graph.nodes))


def in_half(graph: SpikingGraph, node: Population) -> list[bool]:
    """Whether each projection of a population may be summed and stored in float16."""
    reaches = [reach(p.weight).max() * graph.largest_sent(p.source) for p in node.projections]
    theta = float(np.abs(node.threshold).max())
    if theta + 0.5 + sum(reaches) - max(reaches) <= HALF_BOUND:
        return [True] * len(reaches)
    return [bool(each <= HALF_BOUND) for each in reaches]


def _reachable(graph: SpikingGraph, node: Node) -> Node:
    if not graph.exact or not isinstance(node, Population):
        return node
    edge = graph.bounds[node.name] + 0.5
    theta = np.clip(node.threshold.astype(np.float64), -edge, edge).astype(np.float32)
    return replace(node, threshold=theta)
