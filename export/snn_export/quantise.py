"""Folded weights to a SpikingGraph: integers with half-integer thresholds, or float32 as they are.

A neuron only compares, so each channel's scale is free: with any q > 0

    Σ w s > θ   ⇔   Σ (q w) s > q θ ,        q = L / max |w|     over all projections of the channel

and after rounding q w to integers the current k is an integer, for which

    k > q θ     ⇔   k > ⌊q θ⌋ + ½
    k ≥ q θ     ⇔   k > ⌈q θ⌉ − ½          for neurons that fire at θ too

L = 2^(bits−1) − 1 is 127, 31 or 7, and all are kept as int8. There is no requantisation and no
activation scale: rounding the weights is the whole loss. Weights that are integers up to L already,
as those trained through this rounding, have q = 1 and stay what they are.
"""

import numpy as np
import numpy.typing as npt

from snn_export.fold import Array, FoldedNetwork, FoldedReadout, Neurons, Synapse
from snn_runtime.graph import INPUT, Node, Pool, Population, Projection, Readout, SpikingGraph


def to_int8(network: FoldedNetwork) -> SpikingGraph:
    """Return the integer graph of `network`.

    Raises:
        ModelError: `bad_graph`, e.g. a current that could leave 24 bits.
    """
    sent: dict[str, float] = {INPUT: max(max(m, 255 - m) for m in network.image.offset)}
    nodes: list[Node] = []
    largest = 2 ** (network.bits - 1) - 1
    for node in network.nodes:
        if isinstance(node, Pool):
            sent[node.name] = sent[node.source] * (node.kernel**2 if node.kind == "sum" else 1)
            nodes.append(node)
        else:
            nodes.append(_population(node, sent, largest))
            sent[node.name] = 1
    readout = _int8_readout(network.readout, largest)
    return SpikingGraph(network.image, tuple(nodes), readout, network.labels)


def to_float32(network: FoldedNetwork) -> SpikingGraph:
    """Return the graph with unrounded weights, for comparison: no engine owes it exact spikes."""
    nodes = tuple(
        node
        if isinstance(node, Pool)
        else Population(
            node.name,
            tuple(_projection(s, _float32(s.weight)) for s in node.synapses),
            _float32_threshold(node),
        )
        for node in network.nodes
    )
    weight, bias = _float32(network.readout.weight), _float32(network.readout.bias)
    readout = Readout(network.readout.source, weight, np.ones_like(bias), bias)
    return SpikingGraph(network.image, nodes, readout, network.labels)


def _population(node: Neurons, sent: dict[str, float], largest: int) -> Population:
    scale = _scale(np.max([_largest(s.weight) for s in node.synapses], axis=0), largest)
    projections = tuple(_projection(s, _rounded(s.weight, scale)) for s in node.synapses)
    reach = sum(
        np.abs(p.weight.astype(np.int64)).reshape(len(scale), -1).sum(axis=1) * sent[p.source]
        for p in projections
    )
    # Beyond ± reach a threshold is never, or always, exceeded: clipping it there changes nothing.
    exact = node.threshold * scale
    below = np.ceil(exact) - 1 if node.closed else np.floor(exact)
    theta = np.clip(below, -reach - 1, reach) + 0.5
    return Population(node.name, projections, theta.astype(np.float32))


def _int8_readout(readout: FoldedReadout, largest: int) -> Readout:
    scale = _scale(_largest(readout.weight), largest)
    weight = _rounded(readout.weight, scale)
    return Readout(readout.source, weight, _float32(1 / scale), _float32(readout.bias))


def _float32(values: Array) -> npt.NDArray[np.float32]:
    """Rounded to float32, subnormals to zero: engines differ in whether they flush those."""
    rounded = values.astype(np.float32)
    return np.where(np.abs(rounded) < np.finfo(np.float32).tiny, np.float32(0), rounded)


def _float32_threshold(node: Neurons) -> npt.NDArray[np.float32]:
    """θ, or for neurons that fire at θ too the number below it: x ≥ θ ⇔ x > θ⁻."""
    theta = _float32(node.threshold)
    if not node.closed:
        return theta
    tiny = np.finfo(np.float32).tiny
    below = np.nextafter(theta, np.float32(-np.inf))
    # Without subnormals, the number below 0 is −tiny and the one below tiny is 0.
    return np.where(np.abs(below) < tiny, np.where(theta > 0, np.float32(0), -tiny), below)


def _largest(weight: Array) -> Array:
    """`[O]`: the largest |w| of each output channel."""
    return np.asarray(np.abs(weight).reshape(len(weight), -1).max(axis=1))


def _scale(magnitude: Array, largest: int) -> Array:
    """q, `[O]`. A channel without weights never changes: any scale will do."""
    return np.where(magnitude > 0, largest / np.where(magnitude > 0, magnitude, 1), 1)


def _rounded(weight: Array, scale: Array) -> npt.NDArray[np.int8]:
    return np.rint(weight * scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8)


def _projection(
    synapse: Synapse, weight: npt.NDArray[np.int8] | npt.NDArray[np.float32]
) -> Projection:
    return Projection(synapse.source, weight, synapse.stride, synapse.padding, synapse.groups)
