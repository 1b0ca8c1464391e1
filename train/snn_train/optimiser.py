"""Which optimiser looks after which parameter."""

from typing import Any

import torch

from snn_train.muon import ADAMW_SHARE, Muon
from snn_train.network import SpikingNetwork
from snn_train.schedule import Settings


def make_optimiser(network: SpikingNetwork, settings: Settings) -> torch.optim.Optimizer:
    """Weights decay; thresholds, leaks, shifts and biases do not."""
    name, decay = settings.method(network.timesteps)
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0},
    ]
    rate = settings.learning_rate
    if name == "muon":
        return Muon(_muon_groups(network, groups), rate)
    if name == "sgd":
        return torch.optim.SGD(groups, rate, momentum=0.9, nesterov=True)
    if name == "adam":
        return torch.optim.Adam(groups, rate, amsgrad=True)
    return torch.optim.AdamW(groups, rate)


def _muon_groups(network: SpikingNetwork, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Normalised weights turn; the readout, thresholds, leaks and shifts are AdamW's."""
    turned = network.normalised_weights()
    known = {id(weight) for weight in turned}
    for group in groups:
        group["params"] = [p for p in group["params"] if id(p) not in known]
        group["share"] = ADAMW_SHARE
    return [{"params": turned, "weight_decay": 0.0, "orthogonal": True}, *groups]
