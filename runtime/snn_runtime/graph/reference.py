"""The slow, exact interpreter: the definition of the right answer.

    sent_image = x − m        sent_n = send_n(compute_n(sent_sources))        logit = a · Σ v s + b

x are pixels, m the colour offsets; what `compute` and `send` are stands with each kind of node, in
`nodes`. With int8 weights everything before the logits is int64: no floats, no rounding. A logit is
one multiplication and one addition, each rounded once to float32. With float32 weights the sums are
float64, which stands for exact: see `agreement` for what engines owe it.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from snn_runtime.graph.activations import last_reads
from snn_runtime.graph.graph import SpikingGraph
from snn_runtime.graph.kind import Project
from snn_runtime.graph.nodes import Node
from snn_runtime.graph.projection import Projection
from snn_runtime.graph.values import INPUT, FloatArray, Numbers

Spikes: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.bool_]
Counts: TypeAlias = npt.NDArray[np.int64]
"""Spikes of a channel in all its positions, `[N, channels of all populations in graph order]`."""


@dataclass(frozen=True, eq=False)
class Activity:
    """What a network did with a batch of pictures."""

    spikes: dict[str, npt.NDArray[np.uint8]]
    """`[N, C, H, W]` or `[N, O]` for every population, in graph order: of 0 and 1, or with K levels
    of 0 to K."""
    currents: dict[str, Numbers]
    """What the thresholds were compared with, same shapes; empty unless asked for."""
    logits: FloatArray
    """`[N, classes]`"""


@dataclass(frozen=True, eq=False)
class Response:
    """What one node did with a batch of pictures, `[N, …]` each."""

    node: Node
    value: Numbers
    """What it computed: a current, a maximum, a count."""
    sent: Numbers
    """What it sends on."""


def run(
    graph: SpikingGraph, images: npt.NDArray[np.uint8], *, keep_currents: bool = False
) -> Activity:
    """Interpret the graph on uint8 `[N, H, W, 3]`, holding the spikes of all populations, and of
    what they are computed from only what is still needed."""
    spikes: dict[str, npt.NDArray[np.uint8]] = {}
    currents: dict[str, Numbers] = {}
    for response in propagate(graph, centred(graph, images)):
        name = response.node.name
        if response.node.fires:
            spikes[name] = response.sent.astype(np.uint8)
            if keep_currents:
                currents[name] = response.value
        if name == graph.readout.source:
            logits = graph.readout.logits(response.sent)
    return Activity(spikes, currents, logits)


def propagate(
    graph: SpikingGraph, image: Numbers, project: Project = Projection.current
) -> Iterator[Response]:
    """Yield what every node does, in graph order, given what the image sends.

    Args:
        graph: Any.
        image: `x − m`, `[N, 3, H, W]`; all that follows is in its numbers.
        project: How a projection is computed; another one must be as exact.
    """
    sent = {INPUT: image}
    for node, dead in zip(graph.nodes, last_reads(graph.nodes, graph.readout), strict=True):
        value = node.compute(sent, project)
        sent[node.name] = node.send(value)
        yield Response(node, value, sent[node.name])
        for name in dead:
            del sent[name]


def centred(graph: SpikingGraph, images: npt.NDArray[np.uint8]) -> Numbers:
    """What the picture sends: `x − m` as `[N, 3, H, W]`."""
    return graph.image.centred(images, np.int64 if graph.exact else np.float64)


def channel_counts(spikes: Mapping[str, Spikes]) -> Counts:
    """Return the sums of spikes `[N, C, …]` of all populations, in graph order."""
    # Of an empty batch nobody could say how many positions -1 is.
    maps = (
        sent.reshape(*sent.shape[:2], math.prod(sent.shape[2:])).view(np.uint8)
        for sent in spikes.values()
    )
    return np.concatenate([np.einsum("ncp->nc", each, dtype=np.int64) for each in maps], axis=1)
