"""A model file that knows some pictures."""

from dataclasses import replace

import numpy as np

from snn_runtime.calibration import Calibration
from snn_runtime.familiarity import Familiarity, channel_counts
from snn_runtime.graph import SpikingGraph
from snn_runtime.image import Pixels
from snn_runtime.model import Model


def known(model: Model, images: Pixels, within: float = 1.0) -> SpikingGraph:
    """The model's graph, calibrated, for which pictures are familiar that are at most `within`
    times as far away as the farthest of `images` `[N, H, W, 3]`."""
    counts = channel_counts(model.backend.spikes(images))
    usual = tuple(
        (name, tuple(seen.mean(0).tolist()), tuple(np.maximum(seen.std(0), 0.5).tolist()))
        for name, seen in counts.items()
    )
    farthest = float(Familiarity(1.0, usual).distances(counts).max())
    familiarity = Familiarity(within * farthest, usual)
    return replace(model.graph, calibration=Calibration(2.0, 0.005, familiarity))
