"""Firing rates: thresholds that cause an asked one, and what a network's rates are.

A layer's rate is that of the spikes that *enter* the next one, the mean of what is sent over the
neurons that send it: behind a max pool of one level the share of ones, behind a sum pool the mean
of counts / k². Each of a neuron's spikes counts.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from snn_bench.propagation import current, propagate
from snn_runtime.graph import INPUT, FloatArray, Node, Pool, Population, SpikingGraph


def at_rate(graph: SpikingGraph, images: npt.NDArray[np.uint8], rate: float) -> SpikingGraph:
    """Return the graph with thresholds, one a channel, by which `rate` of the spikes are ones.

    Every channel fires equally often, as nearly as its number of currents allows; what it cannot
    do is made up for by the next. For int8 weights and uint8 `[N, H, W, 3]`.
    """
    pools = {n.source: n for n in graph.nodes if isinstance(n, Pool) and not n.counts}
    sent = {INPUT: graph.image.centred(images, np.float32)}
    nodes: list[Node] = []
    for node in graph.nodes:
        if isinstance(node, Population):
            currents = node.compute(sent, current)
            if node.name in pools:
                # [max of currents > θ] is the OR of the spikes.
                currents = pools[node.name].compute({node.name: currents})
            node = replace(node, threshold=thresholds(currents, rate))
        nodes.append(node)
        sent[node.name] = node.respond(sent, current)
    return replace(graph, nodes=tuple(nodes))


def thresholds(current: FloatArray, rate: float) -> FloatArray:
    """Return half-integers θ `[C]` that `rate` of the integer currents `[N, C, ...]` exceed."""
    channels = current.swapaxes(0, 1).reshape(current.shape[1], -1)
    size = channels.shape[1]
    theta = np.empty(len(channels), np.float32)
    fired = 0
    for index, values in enumerate(channels):
        due = rate * size * (index + 1) - fired
        wanted = int(np.clip(round(due), 0, size - 1))
        edge = np.partition(values, size - 1 - wanted)[size - 1 - wanted]
        above, at_least = int((values > edge).sum()), int((values >= edge).sum())
        ties_fire = abs(at_least - due) < abs(above - due)
        theta[index] = edge - 0.5 if ties_fire else edge + 0.5
        fired += at_least if ties_fire else above
    return theta


def entering_rates(graph: SpikingGraph, images: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Rate of every source that some layer reads, in graph order; of a residual sum's, each one."""
    read = {p.source for node in graph.populations for p in node.projections}
    read.add(graph.readout.source)
    rates: dict[str, float] = {}
    neurons = {INPUT: 1}
    for node, sent in propagate(graph, images):
        neurons[node.name] = 1 if node.fires else node.bound(neurons, graph.exact)
        if node.name in read:
            rates[node.name] = float(sent.mean(dtype=np.float64)) / neurons[node.name]
    return rates
