"""A model file that knows some pictures."""

from dataclasses import replace

import numpy as np

from snn_runtime.calibration import Calibration, Familiarity
from snn_runtime.graph import SpikingGraph
from snn_runtime.graph.reference import Counts
from snn_runtime.image import Pixels
from snn_runtime.model import Model


def usual(graph: SpikingGraph, counts: Counts, farthest: float) -> Familiarity:
    """What the spikes of each channel usually are, if `counts` are usual."""
    populations = np.split(counts, np.cumsum(list(graph.channels.values()))[:-1], axis=1)
    rows = tuple(
        (name, tuple(seen.mean(0).tolist()), tuple(np.maximum(seen.std(0), 0.5).tolist()))
        for name, seen in zip(graph.channels, populations, strict=True)
    )
    return Familiarity(farthest, rows)


def known(model: Model, images: Pixels, within: float = 1.0) -> SpikingGraph:
    """The model's graph, calibrated, for which pictures are familiar that are at most `within`
    times as far away as the farthest of `images` `[N, H, W, 3]`."""
    _, counts = model.backend.count(images)
    farthest = float(usual(model.graph, counts, 1.0).distances(counts).max())
    familiarity = usual(model.graph, counts, within * farthest)
    return replace(model.graph, calibration=Calibration(2.0, 0.005, familiarity))
