"""The spikes of a network that train-snn trained, for `parity` to compare.

The torch network runs as it ran in training, unfolded, and what its neurons fire is kept. Beside
that stand the magnitudes of all that folding adds up, which float32 may have rounded on the way:

    Σ |γ| / √(σ² + ε) (|b| + |μ|) + |β|, over a population's projections, and its largest |θ|
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from snn_export.fold import Array, FoldedNetwork
from snn_export.importers.execute import Spikes
from snn_export.importers.lower import Lowered, Watched
from snn_export.trained import Trained, array, norm_of
from snn_runtime.graph import READOUT
from snn_train.integer import IntegerNetwork
from snn_train.network import BatchNorm, Layer, SpikingNetwork


@dataclass(frozen=True, eq=False)
class Recorded:
    """A trained network whose spikes are seen."""

    trained: Trained
    lowered: Lowered = field(init=False)

    def __post_init__(self) -> None:
        network = self.trained.network
        constants = {layer.plan.name: _constants(layer) for layer in network.populations()}
        constants[READOUT] = _magnitude(network.readout, None)
        watched = tuple(_watched(layer) for layer in network.populations())
        exact = isinstance(network, IntegerNetwork)
        lowered = Lowered(self.trained.fold(), 3, watched, constants, exact)
        object.__setattr__(self, "lowered", lowered)

    @property
    def framework(self) -> str:
        return "the trained network"

    def fold(self) -> FoldedNetwork:
        return self.lowered.network

    @torch.no_grad()
    def run(self, images: Tensor) -> tuple[Spikes, Tensor]:
        """What it makes of uint8 images `(N, H, W, 3)`."""
        network = self.trained.network
        sent = {"image": self._pixels(images)}
        spikes: Spikes = {}
        for layer in network.populations():
            name = layer.plan.name
            sent[name] = network.send(layer, sent)
            spikes[name] = _fired(network, layer, sent).numpy().astype(np.uint8)
        return spikes, self.trained.logits(images)

    def driven(self, images: Tensor) -> None:
        """Nothing: its layers are train-snn's own, and no program had to be read."""

    def _pixels(self, images: Tensor) -> Tensor:
        """What the first layer reads."""
        network, pixels = self.trained.network, self.trained.experiment.normalisation(images)
        return network.pixels(pixels) if isinstance(network, IntegerNetwork) else pixels


def _fired(network: SpikingNetwork, layer: Layer, sent: dict[str, Tensor]) -> Tensor:
    """The spikes of a layer that has just sent; where it sends means or counts, those before."""
    plan = layer.plan
    if plan.pool == 1 or layer.max_pool:
        return sent[plan.name]
    if isinstance(network, IntegerNetwork):
        return network.spikes(layer, sent)
    shortcut = sent[plan.shortcut] if plan.shortcut else None
    gain = layer.neuron.threshold.reciprocal()
    return layer.neuron.at_once(layer.current(sent[plan.source], shortcut, gain))


def _watched(layer: Layer) -> Watched:
    name = layer.plan.name
    pooled = layer.plan.pool > 1 and layer.max_pool
    return Watched(name, name, (f"{name}.pool",) if pooled else ())


def _constants(layer: Layer) -> Array:
    """`[O]`: what folding adds up for a population."""
    constants = _magnitude(layer.synapse, layer.norm)
    if layer.shortcut is not None:
        constants = constants + _magnitude(layer.shortcut, layer.shortcut_norm)
    return np.asarray(constants + np.abs(array(layer.neuron.thresholds())).max(axis=0))


def _magnitude(module: nn.Conv2d | nn.Linear, norm: BatchNorm | None) -> Array:
    bias = np.zeros(len(module.weight)) if module.bias is None else np.abs(array(module.bias))
    if norm is None:
        return bias
    read = norm_of(norm)
    return np.asarray(np.abs(read.scale) * (bias + np.abs(read.mean)) + np.abs(read.shift))
