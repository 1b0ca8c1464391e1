"""Whether the exported graph fires as the network that was trained, layer by layer.

How a layer is judged stands in `layerwise`: a spike differs from the original's only where float32
can move its current across the threshold, and random spikes cause the currents that they cause in
the original.

This judges the graph with unrounded weights. How far int8 moves the spikes is counted, not judged,
but for a network that was trained in integers: no spike of it may differ, and no logit.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from snn_export.fold import Array
from snn_export.importers.execute import Spikes
from snn_export.importers.lower import Watched
from snn_export.layerwise import FEW, Original, differing, driven_apart, sent_by_original
from snn_export.pools import largest
from snn_export.unrounded import to_float32
from snn_runtime.engines import Backend
from snn_runtime.errors import VerifyError
from snn_runtime.graph import Numbers, SpikingGraph, reference
from snn_runtime.proof.agreement import gamma

HELD = 2**25
"""Spikes compared at a time: of large pictures those of all would fill the memory."""
DRIVEN = 8
"""Pictures on which neurons are made to fire at random: each of them fires on one or another."""


@dataclass(frozen=True)
class Parity:
    """How the exported file compares with the original."""

    images: int
    spikes: int
    """Neurons compared, one by one."""
    rounded: int
    """How many of them differ because float32 rounds."""
    layerwise: int
    """How many differ in the exported file, int8 or not, each layer fed the original's spikes."""
    running: int
    """How many differ when the exported file runs by itself, so that differences spread."""
    same_label: float
    """Fraction of images that get the same label from both."""


def compare(
    origin: Original,
    graph: SpikingGraph,
    engine: Backend,
    images: npt.NDArray[np.uint8],
    *,
    same: bool = False,
) -> Parity:
    """Compare the original with its unrounded graph, neuron by neuron, and with the exported one.

    Args:
        same: whether `graph` holds the integers that were trained.

    Raises:
        VerifyError: `parity`, naming the layer in which the two disagree.
    """
    unrounded = to_float32(origin.fold())
    total = rounded = layerwise = running = alike = 0
    for part in _parts(graph, images):
        theirs, logits = origin.run(torch.from_numpy(part))
        differences = differing(origin, unrounded, part, theirs)
        _refuse(origin, {name: each.unexplained for name, each in differences.items()})
        _check_logits(origin, unrounded, part, theirs, logits.double().numpy())
        made = engine.run(part)
        if same:
            _refuse(origin, {"logits": int((made != logits.numpy()).sum())})
        for watched, spikes in _pooled_spikes(origin, graph, engine.spikes(part)):
            wanted = theirs[watched.layer]
            running += int((spikes.reshape(wanted.shape) != wanted).sum())
            total += wanted.size
        exported = differing(origin, graph, part, theirs) if graph.exact else differences
        if same:
            _refuse(origin, {name: each.total for name, each in exported.items()})
        rounded += sum(each.rounded for each in differences.values())
        layerwise += sum(each.total for each in exported.values())
        alike += int((made.argmax(1) == logits.argmax(1).numpy()).sum())
    _check_driven(origin, unrounded, next(_parts(graph, images))[:DRIVEN])
    return Parity(len(images), total, rounded, layerwise, running, alike / len(images))


def _parts(graph: SpikingGraph, images: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.uint8]]:
    """The pictures, so many at a time that their spikes fit in memory."""
    neurons = sum(math.prod(graph.shapes[node.name]) for node in graph.nodes)
    size = max(1, HELD // neurons)
    return (images[start : start + size] for start in range(0, len(images), size))


def _refuse(origin: Original, differing: dict[str, int], what: str = "neurons") -> None:
    """Raises: VerifyError: `parity`, naming the first layer of which any number differs."""
    for layer, count in differing.items():
        if count:
            kind = "" if layer == "logits" else f"{what} "
            raise VerifyError(
                "parity",
                f"{layer}: {count} {kind}differ between {origin.framework} and the exported "
                "graph, beyond what rounding explains",
            )


def _check_driven(origin: Original, graph: SpikingGraph, images: npt.NDArray[np.uint8]) -> None:
    driven = origin.driven(torch.from_numpy(images))
    if driven is not None:
        apart = driven_apart(origin, graph, images, driven)
        _refuse(origin, apart, "currents, of neurons that fire at random,")
        _check_logits(origin, graph, images, driven.spikes, driven.logits.double().numpy())


def _check_logits(
    origin: Original,
    graph: SpikingGraph,
    images: npt.NDArray[np.uint8],
    theirs: Spikes,
    logits: Array,
) -> None:
    sent = sent_by_original(origin, graph, images, theirs)[graph.readout.source]
    flat = sent.reshape(len(images), -1)
    weight = graph.readout.weight.astype(np.float64)
    exported = flat @ weight.T + graph.readout.bias
    constants = origin.lowered.constants["readout"] + np.abs(graph.readout.bias)
    margin = gamma(weight.shape[1] + FEW) * (flat @ np.abs(weight).T + constants)
    # NaN is no answer, and greater than nothing.
    wrong = ~(np.abs(exported - logits.reshape(exported.shape)) <= margin)
    _refuse(origin, {"logits": int(wrong.sum())})


def _pooled_spikes(
    origin: Original, graph: SpikingGraph, spikes: dict[str, reference.Spikes]
) -> list[tuple[Watched, Numbers]]:
    nodes = {node.name: node for node in graph.nodes}
    found = []
    for watched in origin.lowered.watched:
        fired: Numbers = spikes[watched.population].astype(np.int64)
        for name in watched.pools:
            fired = largest(nodes[name], fired)
        found.append((watched, fired))
    return found
