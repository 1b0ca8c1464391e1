"""Whether an engine's spikes are right, judged one population at a time.

The reference is fed the *engine's* spikes, so a difference in one layer does not cascade into the
next, and each population answers for itself:

    a spike is explained if it is [current > θ], or if |current − θ| ≤ γ · Σ |w| |sent|,

    γ = n u / (1 − n u),  u = 2^-24,  n additions and multiplications, and one for the subtraction
    of m from the picture: Higham's bound on a float32 sum in any order. With integer weights
    nothing rounds and γ = 0: equality.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from snn_runtime.graph import INPUT, FloatArray, Pool, Population, SpikingGraph
from snn_runtime.graph.activations import last_reads
from snn_runtime.graph.reference import Numbers, Spikes, centred, fired, pool, read_out, total

UNIT_ROUNDOFF = 2.0**-24


def unexplained(
    graph: SpikingGraph, images: npt.NDArray[np.uint8], spikes: Mapping[str, Spikes]
) -> dict[str, int]:
    """Count, for every population, the spikes that no rounding of float32 explains."""
    sent = {INPUT: centred(graph, images)}
    number = sent[INPUT].dtype
    wrong: dict[str, int] = {}
    for node, dead in zip(graph.nodes, last_reads(graph.nodes, graph.readout), strict=True):
        if isinstance(node, Pool):
            sent[node.name] = pool(node, sent[node.source])
        else:
            current = total(node, sent)
            differs = fired(node, current) != spikes[node.name]
            if not graph.exact and differs.any():
                differs &= np.abs(current - node.comparand) > _margin(node, sent)
            wrong[node.name] = int(differs.sum())
            sent[node.name] = spikes[node.name].astype(number)
        for name in dead:
            del sent[name]
    return wrong


def logits_of(graph: SpikingGraph, spikes: Mapping[str, Spikes]) -> FloatArray:
    """What the readout makes of an engine's spikes."""
    nodes = {node.name: node for node in graph.nodes}
    pools: list[Pool] = []  # between the last population and the readout
    source = graph.readout.source
    while isinstance(node := nodes[source], Pool):
        pools.insert(0, node)
        source = node.source
    sent: Numbers = spikes[source].astype(np.int64 if graph.exact else np.float64)
    for node in pools:
        sent = pool(node, sent)
    return read_out(graph, sent)


def _margin(node: Population, sent: Mapping[str, Numbers]) -> Numbers:
    operations = sum(p.weight.size // len(p.weight) for p in node.projections)
    operations += len(node.projections)
    operations += any(p.source == INPUT for p in node.projections)
    gamma = operations * UNIT_ROUNDOFF / (1 - operations * UNIT_ROUNDOFF)
    magnitudes = replace(
        node, projections=tuple(replace(p, weight=np.abs(p.weight)) for p in node.projections)
    )
    return gamma * total(magnitudes, {name: np.abs(values) for name, values in sent.items()})
