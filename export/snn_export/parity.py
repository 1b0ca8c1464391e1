"""Whether the exported graph fires as the network that was trained, layer by layer.

The graph's interpreter is fed the *original's* spikes, so each population answers for itself. The
original computes in float32, and in an order of its own (bias, normalisation, threshold one after
another): a spike that differs is explained if the current is as near to its threshold as that can
move it,

    |current − θ| ≤ γ (Σ |w| |sent| + constants)

    γ = n u / (1 − n u),  u = 2^-24,  n the fan-in and a few for what follows it;  constants are the
    magnitudes of all biases, means, shifts and thresholds that folding has added up.

This judges the graph with unrounded weights. How far int8 moves the spikes is counted, not judged,
but for a network that was trained in integers: no spike of it may differ, and no logit.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snn_export.fold import Array, FoldedNetwork
from snn_export.importers.execute import Spikes
from snn_export.importers.lower import Lowered, Watched
from snn_export.pools import largest
from snn_export.unrounded import to_float32
from snn_runtime.engines import Backend
from snn_runtime.errors import VerifyError
from snn_runtime.graph import INPUT, Numbers, Population, SpikingGraph, reference
from snn_runtime.proof.agreement import gamma, magnitudes

FEW = 16
"""Roundings that are no additions of the sum: bias, normalisation, decay, subtraction of θ."""

HELD = 2**25
"""Spikes compared at a time: of large pictures those of all would fill the memory."""


class Original(Protocol):
    """A trained network whose spikes are seen: a `Foreign`, or `recorded.Recorded`."""

    @property
    def framework(self) -> str:
        """Whose network it is, for messages."""

    @property
    def lowered(self) -> Lowered:
        """Where its spikes are found in the graph, and what rounding may move."""

    def fold(self) -> FoldedNetwork: ...

    def run(self, images: Tensor) -> tuple[Spikes, Tensor]:
        """The spikes of its layers and the logits, for uint8 images `(N, H, W, 3)`."""


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


@dataclass(frozen=True)
class Difference:
    """How many neurons of one layer differ."""

    total: int
    rounded: int

    @property
    def unexplained(self) -> int:
        return self.total - self.rounded


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
    return Parity(len(images), total, rounded, layerwise, running, alike / len(images))


def _parts(graph: SpikingGraph, images: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.uint8]]:
    """The pictures, so many at a time that their spikes fit in memory."""
    neurons = sum(math.prod(graph.shapes[node.name]) for node in graph.nodes)
    size = max(1, HELD // neurons)
    return (images[start : start + size] for start in range(0, len(images), size))


def _refuse(origin: Original, differing: dict[str, int]) -> None:
    """Raises: VerifyError: `parity`, naming the first layer of which any number differs."""
    for layer, count in differing.items():
        if count:
            what = "" if layer == "logits" else "neurons "
            raise VerifyError(
                "parity",
                f"{layer}: {count} {what}differ between {origin.framework} and the exported "
                "graph, beyond what rounding explains",
            )


def differing(
    origin: Original,
    graph: SpikingGraph,
    images: npt.NDArray[np.uint8],
    theirs: Spikes,
) -> dict[str, Difference]:
    """Compare every layer of `origin`'s graph, fed the original's spikes, with those spikes."""
    sent = _sent_by_original(origin, graph, images, theirs)
    populations = {node.name: node for node in graph.populations}
    nodes = {node.name: node for node in graph.nodes}
    found = {}
    for watched in origin.lowered.watched:
        node = populations[watched.population]
        current = node.compute(sent)
        constants = _column(origin.lowered.constants[node.name], current[0].shape)
        rounding = _rounding(node, sent, constants) * (not origin.lowered.exact)
        for name in watched.pools:
            rounding = largest(nodes[name], rounding)
        wanted = theirs[watched.layer].reshape(rounding.shape)
        differs, far = np.zeros((2, *rounding.shape), np.bool_)
        for number, theta in enumerate(node.comparands, 1):
            excess = current - theta.astype(np.float64)
            for name in watched.pools:  # any spike of a window: the largest excess decides
                excess = largest(nodes[name], excess)
            wrong = (excess > 0) != (wanted >= number)
            differs |= wrong
            far |= wrong & (np.abs(excess) > rounding)
        found[watched.layer] = Difference(int(differs.sum()), int((differs & ~far).sum()))
    return found


def _sent_by_original(
    origin: Original,
    graph: SpikingGraph,
    images: npt.NDArray[np.uint8],
    theirs: Spikes,
) -> dict[str, Numbers]:
    """What every node of the graph would send if it fired as the original did."""
    sent: dict[str, Numbers] = {INPUT: reference.centred(graph, images).astype(np.float64)}
    for watched in origin.lowered.watched:
        node = watched.pools[-1] if watched.pools else watched.population
        shape = (len(images), *graph.shapes[node])
        sent[node] = theirs[watched.layer].reshape(shape).astype(np.float64)
    own = {watched.population for watched in origin.lowered.watched}
    for each in graph.nodes:
        if each.name in sent or each.name in own:
            continue
        if not sent.keys() >= set(each.sources):
            continue
        if isinstance(each, Population):
            # Neurons that the original has not are a max pool of its spikes.
            sent[each.name] = largest(each, sent[each.projections[0].source])
        else:
            sent[each.name] = each.respond(sent)
    return sent


def _rounding(node: Population, sent: dict[str, Numbers], constants: Array) -> Numbers:
    operations = sum(count for _, count in node.fan_in) + len(node.projections) + FEW
    # What float32 loses of a mean, up to 2^-17, is that of 8 grey levels: γ is above 16 u.
    sizes = {name: np.abs(sent[name]) + 8 * (name == INPUT) for name in node.sources}
    return gamma(operations) * (magnitudes(node).compute(sizes) + constants)


def _check_logits(
    origin: Original,
    graph: SpikingGraph,
    images: npt.NDArray[np.uint8],
    theirs: Spikes,
    logits: Array,
) -> None:
    sent = _sent_by_original(origin, graph, images, theirs)[graph.readout.source]
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


def _column(values: Array, shape: tuple[int, ...]) -> Array:
    return values.reshape(1, -1, *[1] * (len(shape) - 1))
