"""Folded weights to integers, and thresholds to half-integers.

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

Exact engines hold currents below 2^24 and thresholds up to 2^23. A channel of so many inputs that
its currents could go further has a smaller q, and so coarser weights than the others.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from snn_export.fold import Array, FoldedNetwork, FoldedReadout, Neurons
from snn_export.ties import Scale, whole_below
from snn_export.unrounded import float32, projection
from snn_runtime.errors import ModelError
from snn_runtime.graph import (
    INPUT,
    READOUT,
    FloatArray,
    Image,
    Node,
    Population,
    Projection,
    Readout,
    SpikingGraph,
    Weights,
)
from snn_runtime.graph.values import EXACT_BOUND, reach

IntArray: TypeAlias = npt.NDArray[np.int64]
HELD = 1 - 2**-10
"""Beside the limit of a current, so that rounding weights does not lead beyond it again."""


def to_int8(network: FoldedNetwork) -> SpikingGraph:
    """Return the integer graph of `network`.

    Raises:
        ModelError: `bad_graph`; `unsupported`, thresholds that differ by position in neurons of
            several levels.
    """
    image = _with_whole_offset(network.image)
    rest = np.array(network.image.offset, np.float64) - image.offset  # r
    sent = {INPUT: image.largest}
    nodes: list[Node] = []
    largest = 2 ** (network.bits - 1) - 1
    for node in network.nodes:
        if isinstance(node, Neurons):
            nodes.append(_population(node, largest, sent, image, rest))
            sent[node.name] = nodes[-1].largest(0)
        else:
            nodes.append(node)
            sent[node.name] = node.largest(node.bound(sent, exact=True))
    readout = _int8_readout(network.readout, largest, sent[network.readout.source])
    return SpikingGraph(image, tuple(nodes), readout, network.labels)


def _with_whole_offset(image: Image) -> Image:
    red, green, blue = (round(m) for m in image.offset)
    return replace(image, offset=(red, green, blue))


def narrowed(network: FoldedNetwork, graph: SpikingGraph) -> dict[str, int]:
    """Return how many channels of which nodes of the integer graph have coarser weights than its
    bits allow, to keep their currents exact; without the nodes that have none."""
    largest = 2 ** (network.bits - 1) - 1
    own = {node.name: node.synapses for node in network.nodes if isinstance(node, Neurons)}
    weights = {node.name: [p.weight for p in node.projections] for node in graph.populations}
    found = {
        name: _narrower([s.weight for s in own[name]], made, largest)
        for name, made in weights.items()
    }
    found[READOUT] = _narrower([network.readout.weight], [graph.readout.weight], largest)
    return {name: count for name, count in found.items() if count}


def _narrower(before: Sequence[Array], after: Sequence[Weights], largest: int) -> int:
    """Channels whose largest weight is not that of its bits."""
    highest = np.max([_largest(w.astype(np.int64)) for w in after], axis=0)
    there = np.max([_largest(w) for w in before], axis=0) > 0
    return int((there & (highest < largest)).sum())


def _population(
    node: Neurons, largest: int, sent: dict[str, int], image: Image, rest: Array
) -> Population:
    """Neurons in integers. Where a threshold would lie beyond 2^23, at which half-integers end, a
    channel's currents are held within that too, and it is clipped to them, see below."""
    limit = np.full(node.threshold.shape[-1], EXACT_BOUND)
    while True:
        projections, scale = _projections(node, largest, sent, limit)
        taps = _taps(projections, image, rest)
        theta = _integer_threshold(node, projections, scale, sent, (rest, taps))
        channels = theta.T if theta.ndim == 2 else theta  # [K, O] of several levels
        beyond = np.abs(channels).reshape(len(limit), -1).max(axis=1) > EXACT_BOUND // 2
        if not beyond.any():
            return Population(node.name, projections, theta)
        limit = np.where(beyond, EXACT_BOUND // 2, limit)


def _projections(
    node: Neurons, largest: int, sent: dict[str, int], limit: IntArray
) -> tuple[tuple[Projection, ...], Scale]:
    """v for every synapse, and q `[O]`, with which currents stay below `limit`, `[O]`."""
    weights = [synapse.weight for synapse in node.synapses]
    rounded, scale = _held(weights, [sent[s.source] for s in node.synapses], largest, limit)
    pairs = zip(node.synapses, rounded, strict=True)
    return tuple(projection(synapse, weight) for synapse, weight in pairs), scale


def _held(
    weights: Sequence[Array], sent: Sequence[int], largest: int, limit: IntArray | int
) -> tuple[list[npt.NDArray[np.int8]], Scale]:
    """Weights of the same channels in integers, and q, `[O]`, with which their sums stay below
    `limit` whatever the sources send, of which `sent` is the largest."""
    scale = Scale.of(np.max([_largest(weight) for weight in weights], axis=0), largest)
    while True:
        rounded = [_rounded(weight, scale.quotient) for weight in weights]
        sums = [reach(v) * most for v, most in zip(rounded, sent, strict=True)]
        furthest = np.sum(sums, axis=0)
        if (furthest < limit).all():
            return rounded, scale
        smaller = scale.quotient * (limit / np.maximum(furthest, 1)) * HELD
        scale = scale.where(furthest < limit, smaller)


def _taps(projections: tuple[Projection, ...], image: Image, rest: Array) -> Array:
    """Σ v over the taps inside the picture, by colour, `[3, O]` or `[3, O, H, W]`; `[3, 1]` of 0
    where nothing is left of the mean."""
    seen = tuple(p for p in projections if p.source == INPUT)
    if not seen or not rest.any():
        return np.zeros((3, 1))
    inside = np.broadcast_to(
        np.eye(3, dtype=np.int64)[:, :, None, None], (3, 3, image.height, image.width)
    )
    silent = Population("", seen, np.zeros(0, np.float32))
    return silent.compute({INPUT: inside}).astype(np.float64)  # (colour, O, ...)


def _integer_threshold(
    node: Neurons,
    projections: tuple[Projection, ...],
    scale: Scale,
    sent: dict[str, int],
    brought: tuple[Array, Array],
) -> FloatArray:
    """`[O]`, `[K, O]` of several levels, or `[O, H, W]` where positions differ."""
    # Beyond the furthest current, either way, a threshold is never, or always, exceeded: clipping
    # it there changes nothing.
    rest, taps = brought
    channels = len(scale.numerator)
    column = (channels, *(1,) * (taps.ndim - 2))
    furthest = np.sum([reach(p.weight) * sent[p.source] for p in projections], axis=0)
    furthest = np.reshape(furthest, column)
    levels = node.threshold.shape[:-1]
    below = whole_below(node.threshold, np.broadcast_to(node.closed, levels), scale, rest, taps)
    theta = (np.clip(below, -furthest - 1, furthest) + 0.5).astype(np.float32)
    flat = theta.reshape(*levels, channels, -1)
    alike = bool((flat == flat[..., :1]).all())
    if levels and not alike:
        raise ModelError(
            "unsupported",
            f"{node.name}: neurons of several levels need a mean of whole grey levels, or no "
            "padding; give --mean as such, or --weights float32",
        )
    return np.asarray(flat[..., 0] if alike else theta)


def _int8_readout(readout: FoldedReadout, largest: int, sent: int) -> Readout:
    (weight,), scale = _held([readout.weight], [sent], largest, EXACT_BOUND)
    return Readout(readout.source, weight, float32(1 / scale.quotient), float32(readout.bias))


def _largest(weight: Array) -> Array:
    """`[O]`: the largest |w| of each output channel."""
    return np.asarray(np.abs(weight).reshape(len(weight), -1).max(axis=1))


def _rounded(weight: Array, scale: Array) -> npt.NDArray[np.int8]:
    return np.rint(weight * scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8)
