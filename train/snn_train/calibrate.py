"""From one stage to the next: weights carried over, normalisation folded, thresholds first set.

Recipe `iir` folds batch normalisation into the convolution before the first spiking stage:

    g = γ / √(running_var + ε)        W' = g W        b' = shift − g running_mean

First thresholds are a percentile of each layer's current while the layers before it already fire,
over one batch of training images: one number a layer in `iir` (the paper's find_threshold), one a
channel in `iir-bn`.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from snn_train.layout import IMAGE
from snn_train.network import BatchNorm, Layer, SpikingNetwork

LOWEST_FIRST = 0.1
"""A percentile at or below zero is no threshold; the authors' code puts 0.1 in its place."""


def convert(before: SpikingNetwork, timesteps: int) -> SpikingNetwork:
    """Return the network of the next stage, initialised from the stage `before`."""
    after = SpikingNetwork(before.architecture, timesteps)
    state = before.state_dict()
    if before.populations()[0].norm is not None and after.populations()[0].norm is None:
        state = _folded(before)
    after.load_state_dict(state)
    return after.to(next(before.parameters()).device)


@torch.no_grad()
def set_thresholds(network: SpikingNetwork, images: Tensor, percentile: float) -> None:
    """Set every threshold to `percentile` of the currents that normalised `images` cause."""
    network.eval()
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.train()  # spikes are not activations: normalise by what is seen now
    sent = {IMAGE: images}
    for layer in network.populations():
        shortcut = sent[layer.plan.shortcut] if layer.plan.shortcut else None
        current = layer.current(sent[layer.plan.source], shortcut, None)
        layer.neuron.threshold.copy_(_percentile(current, layer, percentile))
        sent[layer.plan.name] = network.send(layer, sent)
    network.train()


@torch.no_grad()
def renormalise(network: SpikingNetwork, images: Tensor) -> None:
    """Measure the normalisations of a T = 1 network anew on normalised `images`, and let not one
    spike of it change. Of a population with one projection, whose statistics become μ′ and σ′,

        (k − μ)/σ + β > θ   ⇔   k > t = μ + σ (θ − β)   ⇔   (k − μ′)/σ′ + β′ > θ
        β′ = θ − (t − μ′)/σ′        and steps from level to level, which are of k too, times σ/σ′

    Raises:
        ValueError: a population adds a shortcut's current, has no normalisation, or one with a
            gain.
    """
    network.eval()
    sent = {IMAGE: images}
    for layer in network.populations():
        norm, theta = layer.norm, layer.neuron.threshold
        if norm is None or norm.gain is not None or layer.plan.shortcut:
            raise ValueError(f"{layer.plan.name} has not one normalised current")
        mean, before = _statistics(norm)
        threshold = mean + before * (theta.double() - norm.shift.double())
        usual, norm.momentum = norm.momentum, 1.0  # what is seen now takes the place of all before
        norm.train()
        layer.current(sent[layer.plan.source], None, None)
        norm.eval()
        norm.momentum = usual
        mean, deviation = _statistics(norm)
        norm.shift.copy_(theta.double() - (threshold - mean) / deviation)
        for step in layer.neuron.steps:
            step.mul_(before / deviation)
        sent[layer.plan.name] = network.send(layer, sent)
    network.train()


def _statistics(norm: BatchNorm) -> tuple[Tensor, Tensor]:
    """μ and σ in float64."""
    return norm.running_mean.double(), (norm.running_var.double() + norm.eps).sqrt()


@torch.no_grad()
def settle(network: SpikingNetwork, batches: Iterable[Tensor]) -> None:
    """Average the normalisations' statistics evenly over `batches` of normalised images.

    While training they follow the last few batches, and weights that still moved; thresholds are
    less forgiving of that noise than the ReLUs of an ANN.
    """
    network.eval()
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    usual = [norm.momentum for norm in norms]
    for count, images in enumerate(batches, 1):
        for norm in norms:
            norm.train()
            norm.momentum = 1 / count  # the first batch replaces what was there
        network(images)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum


def _percentile(current: Tensor, layer: Layer, percentile: float) -> Tensor:
    values = current.transpose(0, 1).reshape(len(layer.neuron.threshold), -1)
    rank = max(1, round(values.shape[1] * percentile / 100))
    return values.kthvalue(rank, dim=1).values.clamp(min=LOWEST_FIRST)


@torch.no_grad()
def _folded(network: SpikingNetwork) -> dict[str, Tensor]:
    state = dict(network.state_dict())
    for index, layer in enumerate(network.populations()):
        for synapse, norm in (("synapse", "norm"), ("shortcut", "shortcut_norm")):
            convolution, shift = getattr(layer, synapse), getattr(layer, norm)
            if not isinstance(convolution, nn.Conv2d) or not isinstance(shift, BatchNorm):
                continue
            prefix = f"layers.{index}."
            for key in [key for key in state if key.startswith(f"{prefix}{norm}.")]:
                del state[key]
            weight, bias = fold_norm(convolution.weight, shift)
            state[f"{prefix}{synapse}.weight"] = weight
            state[f"{prefix}{synapse}.bias"] = bias
    return state


def fold_norm(weight: Tensor, norm: BatchNorm) -> tuple[Tensor, Tensor]:
    """Return W', b' that do in one convolution what W and the normalisation behind it do."""
    factor = norm.gains() / (norm.running_var + norm.eps).sqrt()
    folded = weight * factor.view(-1, *[1] * (weight.dim() - 1))
    return folded, norm.shift - norm.running_mean * factor
