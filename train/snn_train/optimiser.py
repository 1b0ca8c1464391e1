"""Which optimiser updates which parameter."""

from typing import Any

import torch

from snn_train.choices import Optimiser
from snn_train.muon import ADAMW_FACTOR, Muon
from snn_train.network import SpikingNetwork
from snn_train.recipe import Recipe


def make_optimiser(network: SpikingNetwork, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimiser of a stage. Weights decay; thresholds, leaks, shifts and biases do not.

    Every group has an `lr_factor`, on the learning rate that `step` sets.
    """
    name, decay = method(recipe, network.timesteps)
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0},
    ]
    if name == "muon":
        groups = _muon_groups(network, groups)
    for group in groups:
        group.setdefault("lr_factor", 1.0)
    first = recipe.stages[0]
    if recipe.fine_tune != 1 and (network.timesteps, network.bits) == (first.timesteps, first.bits):
        groups = _slower_body(network, groups, recipe.fine_tune)
    rate = recipe.learning_rate
    if name == "muon":
        return Muon(groups, rate, recipe.precision)
    if name == "sgd":
        return torch.optim.SGD(groups, rate, momentum=0.9, nesterov=True)
    if name == "adam":
        return torch.optim.Adam(groups, rate, amsgrad=True)
    return torch.optim.AdamW(groups, rate)


def method(recipe: Recipe, timesteps: int) -> tuple[Optimiser, float]:
    """Return the optimiser's name and the weight decay of a stage."""
    optimiser = recipe.spiking_optimiser if timesteps else None
    decay = recipe.spiking_weight_decay if timesteps else None
    return optimiser or recipe.optimiser, recipe.weight_decay if decay is None else decay


def load_state(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load what a checkpoint holds of an optimiser; older ones name its factors otherwise.

    Raises:
        KeyError, TypeError, ValueError: it is that of another network.
    """
    factors = [group["lr_factor"] for group in optimiser.param_groups]
    optimiser.load_state_dict(state)
    for group, factor in zip(optimiser.param_groups, factors, strict=True):
        group["lr_factor"] = factor


def _slower_body(
    network: SpikingNetwork, groups: list[dict[str, Any]], factor: float
) -> list[dict[str, Any]]:
    """All but the readout was learnt before, and learns on at a rate times `factor`."""
    new = {id(parameter) for parameter in network.readout.parameters()}
    parts = []
    for group in groups:
        for mine, share in ((True, 1.0), (False, factor)):
            parameters = [p for p in group["params"] if (id(p) in new) == mine]
            rate = {"params": parameters, "lr_factor": share * group["lr_factor"]}
            parts += [group | rate] if parameters else []
    return parts


def _muon_groups(network: SpikingNetwork, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Weights behind a normalisation are Muon's; the readout, thresholds, leaks and shifts are
    AdamW's."""
    normalised = network.normalised_weights()
    known = {id(weight) for weight in normalised}
    for group in groups:
        group["params"] = [p for p in group["params"] if id(p) not in known]
        group["lr_factor"] = ADAMW_FACTOR
    return [{"params": normalised, "weight_decay": 0.0, "orthogonal": True}, *groups]
