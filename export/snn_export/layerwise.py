"""How far each layer of the graph is from the original's, fed what the original's neurons sent.

So each population answers for itself. The original computes in float32, and in an order of its own
(bias, normalisation, threshold one after another). That can move a current by

    γ (Σ |w| |sent| + constants)

    γ = n u / (1 − n u),  u = 2^-24,  n the fan-in and a few for what follows it;  constants are the
    magnitudes of all biases, means, shifts and thresholds that folding has added up.

Two things are compared. Spikes that differ are explained if the current is as near to its threshold
as that. And where the original is a program whose neurons can be made to fire at random, so are the
currents that this causes, number by number: pictures may never make a neuron fire, and then its
weights, or a mask that takes it away, change no spike.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from snn_export.fold import Array, FoldedNetwork
from snn_export.importers.execute import Spikes
from snn_export.importers.hooked import Driven
from snn_export.importers.lower import Lowered, Watched
from snn_export.pools import largest
from snn_runtime.graph import INPUT, Numbers, Population, SpikingGraph, reference
from snn_runtime.proof.agreement import gamma, magnitudes

FEW = 16
"""Roundings that are no additions of the sum: bias, normalisation, decay, subtraction of θ."""
FAST = 4
"""Times which torch's fast convolutions may round worse than a sum in any order does."""


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

    def driven(self, images: Tensor) -> Driven | None:
        """The same where its neurons fire at random; None if it has no program to be driven."""


@dataclass(frozen=True)
class Difference:
    """How many neurons of one layer differ."""

    total: int
    rounded: int

    @property
    def unexplained(self) -> int:
        return self.total - self.rounded


def differing(
    origin: Original,
    graph: SpikingGraph,
    images: npt.NDArray[np.uint8],
    theirs: Spikes,
) -> dict[str, Difference]:
    """Compare every layer of `origin`'s graph, fed the original's spikes, with those spikes."""
    found = {}
    sent = sent_by_original(origin, graph, images, theirs)
    for layer, excesses, rounding in _layers(origin, graph, sent):
        wanted = theirs[layer].reshape(rounding.shape)
        differs, far = np.zeros((2, *rounding.shape), np.bool_)
        for number, excess in enumerate(excesses, 1):
            wrong = (excess > 0) != (wanted >= number)
            differs |= wrong
            far |= wrong & (np.abs(excess) > rounding)
        found[layer] = Difference(int(differs.sum()), int((differs & ~far).sum()))
    return found


def driven_apart(
    origin: Original, graph: SpikingGraph, images: npt.NDArray[np.uint8], driven: Driven
) -> dict[str, int]:
    """How many currents of every layer are not those that `driven` spikes cause in the original."""
    found = {}
    sent = sent_by_original(origin, graph, images, driven.spikes)
    for layer, excesses, rounding in _layers(origin, graph, sent):
        theirs = driven.excess[layer].reshape(rounding.shape)
        far = ~(np.abs(next(excesses) - theirs) <= FAST * rounding)
        # A sum that leaves float32, which that of spikes on pictures need not, shows nothing.
        found[layer] = int((far & np.isfinite(theirs)).sum())
    return found


def _layers(
    origin: Original, graph: SpikingGraph, sent: dict[str, Numbers]
) -> Iterator[tuple[str, Iterator[Numbers], Numbers]]:
    """Every layer; by how much its neurons lie above each θ; and what rounding may move that by."""
    nodes = {node.name: node for node in graph.nodes}
    populations = {node.name: node for node in graph.populations}
    for watched in origin.lowered.watched:
        node = populations[watched.population]
        current = node.compute(sent)
        constants = _column(origin.lowered.constants[node.name], current[0].shape)
        rounding = _rounding(node, sent, constants) * (not origin.lowered.exact)

        def pooled(values: Numbers, watched: Watched = watched) -> Numbers:
            for name in watched.pools:  # any spike of a window: the largest decides
                values = largest(nodes[name], values)
            return values

        thetas = (theta.astype(np.float64) for theta in node.comparands)
        excesses = (pooled(current - theta) for theta in thetas)
        yield watched.layer, excesses, pooled(rounding)


def sent_by_original(
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


def _column(values: Array, shape: tuple[int, ...]) -> Array:
    return values.reshape(1, -1, *[1] * (len(shape) - 1))
