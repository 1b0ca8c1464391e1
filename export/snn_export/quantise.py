"""Folded weights to a SpikingGraph: integers with half-integer thresholds, or float32 as they are.

A neuron only compares, so each channel's scale is free: with any q > 0

    Σ w s > θ   ⇔   Σ (q w) s > q θ ,        q = L / max |w|     over all projections of the channel

and after rounding q w to integers the current k is an integer, for which

    k > q θ     ⇔   k > ⌊q θ⌋ + ½
    k ≥ q θ     ⇔   k > ⌈q θ⌉ − ½          for neurons that fire at θ too

Pixels reach an integer graph less a whole number m, not less the mean M of training. With v = q w
rounded and r = M − m, |r| ≤ ½,

    Σ v (x − M) > q θ   ⇔   Σ v (x − m) > q θ + Σ v r

and the last sum is over the taps that lie inside the picture: a constant of the channel, and less
of it in a ring as wide as the padding. So there is a threshold for each position, unless they come
to the same integer everywhere.

L = 2^(bits−1) − 1 is 127, 31 or 7, and all are kept as int8. There is no requantisation and no
activation scale: rounding the weights is the whole loss. Weights that are integers up to L already,
as those trained through this rounding, have q = 1 and stay what they are.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from snn_export.fold import Array, FoldedNetwork, FoldedReadout, Neurons, Synapse
from snn_runtime.errors import ModelError
from snn_runtime.graph import (
    INPUT,
    FloatArray,
    Image,
    Node,
    Population,
    Projection,
    Readout,
    SpikingGraph,
)


def to_int8(network: FoldedNetwork) -> SpikingGraph:
    """Return the integer graph of `network`.

    Raises:
        ModelError: `bad_graph`, e.g. a current that could leave 24 bits; `unsupported`, thresholds
            that differ by position in neurons of several levels.
    """
    image = _with_whole_offset(network.image)
    rest = np.array(network.image.offset, np.float64) - image.offset  # r
    sent = {INPUT: image.largest}
    nodes: list[Node] = []
    largest = 2 ** (network.bits - 1) - 1
    for node in network.nodes:
        if isinstance(node, Neurons):
            projections, scale = _projections(node, largest)
            brought = _brought(projections, image, rest)
            theta = _integer_threshold(node, projections, scale, sent, brought)
            nodes.append(Population(node.name, projections, theta))
            sent[node.name] = nodes[-1].largest(0)
        else:
            nodes.append(node)
            sent[node.name] = node.largest(node.bound(sent, exact=True))
    readout = _int8_readout(network.readout, largest)
    return SpikingGraph(image, tuple(nodes), readout, network.labels)


def to_float32(network: FoldedNetwork) -> SpikingGraph:
    """Return the graph with unrounded weights, for comparison: no engine owes it exact spikes."""
    nodes = tuple(
        Population(
            node.name,
            tuple(projection(s, _float32(s.weight)) for s in node.synapses),
            _float32_threshold(node),
        )
        if isinstance(node, Neurons)
        else node
        for node in network.nodes
    )
    weight, bias = _float32(network.readout.weight), _float32(network.readout.bias)
    readout = Readout(network.readout.source, weight, np.ones_like(bias), bias)
    red, green, blue = (float(m) for m in _float32(np.array(network.image.offset, np.float64)))
    image = replace(network.image, offset=(red, green, blue))
    return SpikingGraph(image, nodes, readout, network.labels)


def _with_whole_offset(image: Image) -> Image:
    red, green, blue = (round(m) for m in image.offset)
    return replace(image, offset=(red, green, blue))


def _projections(node: Neurons, largest: int) -> tuple[tuple[Projection, ...], Array]:
    """v for every synapse, and q `[O]`."""
    scale = _scale(np.max([_largest(s.weight) for s in node.synapses], axis=0), largest)
    return tuple(projection(s, _rounded(s.weight, scale)) for s in node.synapses), scale


def _brought(projections: tuple[Projection, ...], image: Image, rest: Array) -> Array:
    """Σ v r over the taps inside the picture, `[O]` or `[O, H, W]`; `[1]` of 0 where that is none.

    Added up a colour at a time, from whole sums of v: what is alike comes to the same bits.
    """
    seen = tuple(p for p in projections if p.source == INPUT)
    if not seen or not rest.any():
        return np.zeros(1)
    inside = np.broadcast_to(
        np.eye(3, dtype=np.int64)[:, :, None, None], (3, 3, image.height, image.width)
    )
    silent = Population("", seen, np.zeros(0, np.float32))
    taps = silent.compute({INPUT: inside})  # (colour, O, ...)
    return sum((r * sums for r, sums in zip(rest, taps, strict=True)), np.zeros(taps.shape[1:]))


def _integer_threshold(
    node: Neurons,
    projections: tuple[Projection, ...],
    scale: Array,
    sent: dict[str, int],
    brought: Array,
) -> FloatArray:
    """`[O]`, `[K, O]` of several levels, or `[O, H, W]` where positions differ."""
    reach = sum(
        np.abs(p.weight.astype(np.int64)).reshape(len(scale), -1).sum(axis=1) * sent[p.source]
        for p in projections
    )
    # Beyond ± reach a threshold is never, or always, exceeded: clipping it there changes nothing.
    column = (len(scale), *(1,) * (brought.ndim - 1))
    reach = np.reshape(reach, column)
    levels = node.threshold.shape[:-1]
    exact = (node.threshold * scale).reshape(*levels, *column) + brought
    closed = np.broadcast_to(node.closed, levels).reshape(*levels, *(1,) * len(column))
    below = np.where(closed, np.ceil(exact) - 1, np.floor(exact))
    theta = (np.clip(below, -reach - 1, reach) + 0.5).astype(np.float32)
    flat = theta.reshape(*levels, len(scale), -1)
    alike = bool((flat == flat[..., :1]).all())
    if levels and not alike:
        raise ModelError(
            "unsupported",
            f"{node.name}: neurons of several levels need a mean of whole grey levels, or no "
            "padding; give --mean as such, or --weights float32",
        )
    return np.asarray(flat[..., 0] if alike else theta)


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
    tiny = np.finfo(np.float32).tiny
    below = np.nextafter(theta, np.float32(-np.inf))
    # Without subnormals, the number below 0 is −tiny and the one below tiny is 0.
    below = np.where(np.abs(below) < tiny, np.where(theta > 0, np.float32(0), -tiny), below)
    closed = np.broadcast_to(node.closed, theta.shape[:-1])
    return np.where(closed[..., np.newaxis], below, theta)


def _largest(weight: Array) -> Array:
    """`[O]`: the largest |w| of each output channel."""
    return np.asarray(np.abs(weight).reshape(len(weight), -1).max(axis=1))


def _scale(magnitude: Array, largest: int) -> Array:
    """q, `[O]`. A channel without weights never changes: any scale will do."""
    return np.where(magnitude > 0, largest / np.where(magnitude > 0, magnitude, 1), 1)


def _rounded(weight: Array, scale: Array) -> npt.NDArray[np.int8]:
    return np.rint(weight * scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8)


def projection(
    synapse: Synapse, weight: npt.NDArray[np.int8] | npt.NDArray[np.float32]
) -> Projection:
    """The same connections with weights as they are stored."""
    return Projection(synapse.source, weight, synapse.stride, synapse.padding, synapse.groups)
