"""Folded weights as they are, in float32: the graph that no engine owes exact spikes."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from snn_export.fold import Array, FoldedNetwork, Neurons, Synapse
from snn_runtime.graph import Population, Projection, Readout, SpikingGraph


def to_float32(network: FoldedNetwork) -> SpikingGraph:
    """Return the graph with unrounded weights, for comparison: no engine owes it exact spikes."""
    nodes = tuple(
        Population(
            node.name,
            tuple(projection(s, float32(s.weight)) for s in node.synapses),
            _float32_threshold(node),
        )
        if isinstance(node, Neurons)
        else node
        for node in network.nodes
    )
    weight, bias = float32(network.readout.weight), float32(network.readout.bias)
    readout = Readout(network.readout.source, weight, np.ones_like(bias), bias)
    red, green, blue = (float(m) for m in float32(np.array(network.image.offset, np.float64)))
    image = replace(network.image, offset=(red, green, blue))
    return SpikingGraph(image, nodes, readout, network.labels)


def _float32_threshold(node: Neurons) -> npt.NDArray[np.float32]:
    """θ, or for neurons that fire at θ too the number below it: x ≥ θ ⇔ x > θ⁻."""
    theta = float32(node.threshold)
    tiny = np.finfo(np.float32).tiny
    below = np.nextafter(theta, np.float32(-np.inf))
    # Without subnormals, the number below 0 is −tiny and the one below tiny is 0.
    below = np.where(np.abs(below) < tiny, np.where(theta > 0, np.float32(0), -tiny), below)
    closed = np.broadcast_to(node.closed, theta.shape[:-1])
    return np.where(closed[..., np.newaxis], below, theta)


def float32(values: Array) -> npt.NDArray[np.float32]:
    """Rounded to float32, subnormals to zero: engines differ in whether they flush those."""
    with np.errstate(over="ignore"):  # a graph refuses infinities by name
        rounded = values.astype(np.float32)
    return np.where(np.abs(rounded) < np.finfo(np.float32).tiny, np.float32(0), rounded)


def projection(
    synapse: Synapse, weight: npt.NDArray[np.int8] | npt.NDArray[np.float32]
) -> Projection:
    """The same connections with weights as they are stored."""
    return Projection(synapse.source, weight, synapse.stride, synapse.padding, synapse.groups)
