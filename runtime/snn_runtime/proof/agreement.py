"""Whether an engine's spikes are right, judged one population at a time.

The reference is fed the *engine's* spikes, so a difference in one layer does not cascade into the
next, and each population answers for itself:

    a spike is explained if it is [current > θ], or if |current − θ| ≤ γ · Σ |w| |sent|,
    level by level where neurons have several thresholds;

    γ = n u / (1 − n u),  u = 2^-24,  n additions and multiplications, and one for the subtraction
    of m from the picture: Higham's bound on a float32 sum in any order. With integer weights
    nothing rounds and γ = 0: equality.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from snn_runtime.graph import INPUT, FloatArray, Numbers, Population, SpikingGraph
from snn_runtime.graph.activations import last_reads
from snn_runtime.graph.reference import Spikes, centred

UNIT_ROUNDOFF = 2.0**-24


def unexplained(
    graph: SpikingGraph, images: npt.NDArray[np.uint8], spikes: Mapping[str, Spikes]
) -> dict[str, int]:
    """Count, for every population, the spikes that no rounding of float32 explains."""
    sent = {INPUT: centred(graph, images)}
    wrong: dict[str, int] = {}
    for node, dead in zip(graph.nodes, last_reads(graph.nodes, graph.readout), strict=True):
        value = node.compute(sent)
        sent[node.name] = node.send(value)
        if isinstance(node, Population):
            theirs = spikes[node.name].astype(value.dtype)
            differs = sent[node.name] != theirs
            if not graph.exact and differs.any():
                differs = _unexplained(node, value, theirs, _margin(node, sent))
            wrong[node.name] = int(differs.sum())
            sent[node.name] = theirs
        for name in dead:
            del sent[name]
    return wrong


def logits_of(graph: SpikingGraph, spikes: Mapping[str, Spikes]) -> FloatArray:
    """What the readout makes of an engine's spikes."""
    needed = {graph.readout.source}  # from the last populations on
    for node in reversed(graph.nodes):
        if node.name in needed and not node.fires:
            needed.update(node.sources)
    sent: dict[str, Numbers] = {}
    for node in graph.nodes:
        if node.name in needed and node.fires:
            sent[node.name] = spikes[node.name].astype(np.int64 if graph.exact else np.float64)
        elif node.name in needed:
            sent[node.name] = node.respond(sent)
    return graph.readout.logits(sent[graph.readout.source])


def follow(graph: SpikingGraph, spikes: Mapping[str, Spikes], logits: FloatArray) -> bool:
    """Whether an engine's logits are those that come of its spikes.

    An engine may compute spikes another way than logits, and in float32 decide otherwise there
    where a current lies within rounding of its threshold. So of float32 networks half of the
    pictures are enough: what is wrong with an engine is wrong on most.
    """
    apart = np.abs(logits.astype(np.float64) - logits_of(graph, spikes))
    right = (apart <= logits_tolerance(graph)).all(axis=1)
    return bool(right.all() if graph.exact else np.mean(right) >= 0.5)


def logits_tolerance(graph: SpikingGraph) -> FloatArray | float:
    """What logits of the same spikes may differ by, `[classes]`: nothing in integers, otherwise
    Higham's bound at the largest input, twice for a second engine."""
    if graph.exact:
        return 0.0
    readout = graph.readout
    bare = replace(readout, weight=np.abs(readout.weight), scale=np.abs(readout.scale))
    largest = bare.scale * bare.weight.sum(axis=1) * graph.largest_sent(readout.source)
    largest = largest + np.abs(bare.bias)
    return np.asarray(2 * gamma(readout.weight.shape[1] + 2) * largest, np.float32)


def gamma(operations: int) -> float:
    """γ = n u / (1 − n u): what a sum of n operations in float32 may be off, in any order."""
    return operations * UNIT_ROUNDOFF / (1 - operations * UNIT_ROUNDOFF)


def magnitudes(node: Population) -> Population:
    """The same with |w|, whose currents are Σ |w| |sent| of magnitudes."""
    return replace(
        node, projections=tuple(replace(p, weight=np.abs(p.weight)) for p in node.projections)
    )


def _unexplained(node: Population, value: Numbers, theirs: Numbers, margin: Numbers) -> Numbers:
    """Where a spike more or less cannot come of rounding, bool."""
    wrong = np.zeros(value.shape, np.bool_)
    for number, theta in enumerate(node.comparands, 1):
        differs = (value > theta) != (theirs >= number)
        wrong |= differs & (np.abs(value - theta) > margin)
    return wrong


def _margin(node: Population, sent: Mapping[str, Numbers]) -> Numbers:
    operations = sum(count for _, count in node.fan_in) + len(node.projections)
    operations += INPUT in node.sources
    sizes = {name: np.abs(values) for name, values in sent.items()}
    return gamma(operations) * magnitudes(node).compute(sizes)
