"""Logits and spikes of one pass: the spikes that an engine reports decide the logits."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from snn_runtime.engines import LARGEST_BATCH, Backend
from snn_runtime.familiarity import Familiarity, Numbers, channel_counts
from snn_runtime.graph import SpikingGraph
from snn_runtime.graph.reference import Spikes

Logits = npt.NDArray[np.float32]


def observe(
    backend: Backend,
    graph: SpikingGraph,
    familiarity: Familiarity,
    images: npt.NDArray[np.uint8],
) -> tuple[Logits, Numbers]:
    """Return logits `[N, classes]`, the same bits as `backend.run`, and distances `[N]`."""
    logits, distances = [], []
    for start in range(0, max(1, len(images)), LARGEST_BATCH):
        part = images[start : start + LARGEST_BATCH]
        spikes = backend.spikes(part)
        logits.append(logits_of(graph, spikes) if graph.exact else backend.run(part))
        distances.append(familiarity.distances(channel_counts(spikes)))
    return np.concatenate(logits), np.concatenate(distances)


def logits_of(graph: SpikingGraph, spikes: Mapping[str, Spikes]) -> Logits:
    """Return the logits of an exact graph whose populations send these spikes."""

    def sent(name: str) -> npt.NDArray[np.int64]:
        if name in spikes:
            return spikes[name].astype(np.int64)
        node = nodes[name]
        return np.asarray(node.respond({source: sent(source) for source in node.sources}))

    nodes = {node.name: node for node in graph.nodes}
    return graph.readout.logits(sent(graph.readout.source))
