"""Operations that a network and its dense twin need, priced by published energies: an estimate.

    E_DNN = e_MAC · Σ MACs                       E_SNN = e_MAC · MACs on pixels + e_add · additions
    additions of a projection = Σ_places value sent · outputs that read the place

A value is 0 or 1, or a sum pool's count c, which is c additions. A sum pool adds once a spike, an
average pool once a value. MACs are those of published counts, with zero padding, which spikes never
cause: the ratio is also given without. The readout adds its weights a spike and multiplies once a
class. An identity shortcut is one addition an output in the twin. Comparisons (thresholds or ReLU,
and max pools) are as many in both and not in the formula; nor is moving data, which costs more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from snn_bench.limit import reads
from snn_bench.propagation import propagate
from snn_bench.twin import is_identity
from snn_runtime.graph import INPUT, READOUT, Node, Population, Readout, Shape, SpikingGraph

SOURCE = "45 nm, M. Horowitz, ISSCC 2014"

Sent: TypeAlias = npt.NDArray[np.float64]
"""What a node sends, summed over the pictures, in its shape: whole numbers below 2⁵³."""


@dataclass(frozen=True)
class Cost:
    """Picojoules of one operation."""

    precision: str
    mac: float
    addition: float


COSTS = (Cost("fp32", 4.6, 0.9), Cost("fp16", 1.5, 0.4), Cost("int8", 0.23, 0.03))
WIDE = Cost("int8, 32-bit sums", 0.3, 0.1)
"""8-bit products in 32-bit sums, by the same source: 8 bits do not hold the sums of a layer."""


@dataclass(frozen=True)
class Operations:
    """Operations for one image, the mean over all images."""

    macs: float = 0.0
    additions: float = 0.0
    padding: float = 0.0
    """Multiply-adds, among `macs`, whose input is zero padding."""

    @property
    def unpadded(self) -> "Operations":
        return Operations(self.macs - self.padding, self.additions)

    def __add__(self, other: "Operations") -> "Operations":
        return Operations(
            self.macs + other.macs,
            self.additions + other.additions,
            self.padding + other.padding,
        )

    def microjoules(self, cost: Cost) -> float:
        return (self.macs * cost.mac + self.additions * cost.addition) * 1e-6


@dataclass(frozen=True)
class LayerCost:
    """Operations of one layer, pool or readout for one image, the mean over all images."""

    layer: str
    snn: Operations
    dnn: Operations
    comparisons: int = 0
    """Of the SNN: with thresholds, one a level where the twin has a ReLU, and in max pools."""


@dataclass(frozen=True)
class Priced:
    """The whole network at one precision."""

    precision: str
    mac_pj: float
    addition_pj: float
    snn_uj: float
    dnn_uj: float
    ratio: float
    """DNN ÷ SNN."""
    ratio_unpadded: float
    """DNN ÷ SNN, without multiply-adds whose input is zero padding."""


@dataclass(frozen=True)
class Estimate:
    """Operations for one image and their estimated energy."""

    source: str
    layers: list[LayerCost]
    snn: Operations
    dnn: Operations
    comparisons: int
    priced: list[Priced]
    """fp32, fp16, int8."""
    wide: Priced
    """int8 with the price of 32-bit additions."""


def estimate(graph: SpikingGraph, images: npt.NDArray[np.uint8]) -> Estimate:
    """Count on uint8 `[N, H, W, 3]` and price."""
    layers = count(graph, images)
    snn = sum((layer.snn for layer in layers), Operations())
    dnn = sum((layer.dnn for layer in layers), Operations())
    return Estimate(
        SOURCE,
        layers,
        snn,
        dnn,
        sum(layer.comparisons for layer in layers),
        [price(cost, snn, dnn) for cost in COSTS],
        price(WIDE, snn, dnn),
    )


def price(cost: Cost, snn: Operations, dnn: Operations) -> Priced:
    ours, other = snn.microjoules(cost), dnn.microjoules(cost)
    unpadded = dnn.unpadded.microjoules(cost) / snn.unpadded.microjoules(cost)
    return Priced(cost.precision, cost.mac, cost.addition, ours, other, other / ours, unpadded)


def count(graph: SpikingGraph, images: npt.NDArray[np.uint8]) -> list[LayerCost]:
    """Every node's operations in graph order; the readout comes last."""
    sent: dict[str, Sent] = {}
    layers = []
    for node, values in propagate(graph, images):
        sent[node.name] = values.sum(axis=0, dtype=np.float64)
        if isinstance(node, Population):
            layers.append(_population(node, graph.shapes, sent, len(images)))
        else:
            layers.append(_weightless(node, sent[node.name], len(images)))
    return [*layers, _readout(graph.readout, sent, len(images))]


def _population(
    node: Population, shapes: Mapping[str, Shape], sent: Mapping[str, Sent], pictures: int
) -> LayerCost:
    outputs = prod(shapes[node.name])
    snn, dnn = Operations(), Operations()
    for projection in node.projections:
        reached = reads(projection, shapes[projection.source])
        macs = outputs * projection.weight[0].size
        dense = Operations(macs, padding=macs - int(reached.sum()))
        dnn += Operations(additions=outputs) if is_identity(projection) else dense
        if projection.source == INPUT:
            snn += dense
        else:
            snn += Operations(additions=float((sent[projection.source] * reached).sum()) / pictures)
    return LayerCost(node.name, snn, dnn, outputs * node.levels)


def _weightless(node: Node, sent: Sent, pictures: int) -> LayerCost:
    """A count of c took c additions, in the twin one a value; a maximum compares each but one."""
    joined = sum(count for _, count in node.fan_in)
    if not node.counts:
        comparisons = sent.size * (joined - 1)
        return LayerCost(node.name, Operations(), Operations(), comparisons=comparisons)
    counted = Operations(additions=float(sent.sum()) / pictures)
    return LayerCost(node.name, counted, Operations(additions=sent.size * joined))


def _readout(readout: Readout, sent: Mapping[str, Sent], pictures: int) -> LayerCost:
    classes = len(readout.weight)
    additions = float(sent[readout.source].sum()) * classes / pictures
    return LayerCost(READOUT, Operations(classes, additions), Operations(readout.weight.size))
