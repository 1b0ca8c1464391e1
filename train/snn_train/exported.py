"""A network that `export-snn` wrote, back as the T = 1 network that computes the same.

The file holds integers w and half-integers t, and has lost what training divides by:

    fires where k = Σ w s > t      ⇔      (k − μ)/σ + β > θ      θ = 1,  β = 1 − (t − μ)/σ

for any μ and σ > 0, so that here μ = 0 and σ = 1, until `calibrate.renormalise` measures them on
the pictures to come. What is lost for good is how wide a surrogate was, in units of θ: it is what
a new threshold has. Pixels are divided by 64, a power of two, so that float32 rounds nothing.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from snn_runtime.errors import ModelError
from snn_runtime.graph import INPUT, Population, SpikingGraph
from snn_runtime.model import read_model_file
from snn_train.choices import BUNDLED
from snn_train.data.normalisation import Normalisation
from snn_train.experiment import Experiment
from snn_train.layout import Architecture
from snn_train.network import Layer, SpikingNetwork
from snn_train.recipe import Recipe

DEVIATION = 64.0


def load(name: str) -> dict[str, Any]:
    """Return a checkpoint of the T = 1 network in the model file `name`, or of the bundled one.

    Raises:
        ModelError: no model file, not one of train-snn, or one from which there is no way back.
    """
    graph = read_model_file(None if name == BUNDLED else Path(name)).graph
    facts = json.loads(graph.provenance)
    try:
        architecture = Architecture(**facts["architecture"])  # older files lack newer fields
        recipe = Recipe.from_dicts(asdict(architecture), facts["settings"])
        experiment = Experiment(
            recipe,
            facts["data"],
            str(facts.get("data_digest") or ""),
            graph.labels,
            (graph.image.height, graph.image.width),
            graph.image.fit,
            Normalisation(_offset(graph), (DEVIATION,) * 3),
            facts["command"],
        )
        if experiment.architecture != architecture:
            raise ValueError("its labels or its picture are not those of its network")
    except (KeyError, TypeError, ValueError) as error:
        raise _refuse(
            name, f"was not trained by train-snn ({error}), which it has to be"
        ) from error
    network = experiment.build(1, 0)
    _fill(network, graph, name)
    return experiment.checkpoint(1, 0, network.state_dict())


def _offset(graph: SpikingGraph) -> tuple[int, int, int]:
    red, green, blue = map(int, graph.image.offset)
    return red, green, blue


@torch.no_grad()
def _fill(network: SpikingNetwork, graph: SpikingGraph, name: str) -> None:
    """Give the network the graph's numbers."""
    layers = network.populations()
    if network.architecture.recipe != "iir-bn":
        raise _refuse(name, "is of recipe iir, whose scales export has joined to others")
    if not graph.exact:
        raise _refuse(name, "has float32 weights")
    if adds := next((layer.plan.name for layer in layers if layer.plan.shortcut), None):
        raise _refuse(name, f"{adds} adds currents whose scales export has joined")
    if [layer.plan.name for layer in layers] != [each.name for each in graph.populations]:
        raise _refuse(name, f"has other layers than this version's {network.architecture.network}")
    for layer, population in zip(layers, graph.populations, strict=True):
        _fill_layer(layer, population, name)
    readout = graph.readout
    scale = torch.from_numpy(readout.scale.copy())
    network.readout.weight.copy_(
        torch.from_numpy(readout.weight.astype("float32")) * scale[:, None]
    )
    network.readout.bias.copy_(torch.from_numpy(readout.bias.copy()))


def _fill_layer(layer: Layer, population: Population, name: str) -> None:
    if len(population.projections) != 1 or population.threshold.ndim == 3:
        raise _refuse(name, f"{population.name} is not one that train-snn makes")
    if population.levels != 1 + len(layer.neuron.steps):
        raise _refuse(name, f"{population.name} has {population.levels} levels")
    (projection,) = population.projections
    weight = torch.from_numpy(projection.weight.astype("float32"))
    factor = DEVIATION if projection.source == INPUT else 1.0
    if weight.shape != layer.synapse.weight.shape or layer.norm is None:
        raise _refuse(name, f"{population.name} has weights {tuple(weight.shape)}")
    layer.synapse.weight.copy_(weight * factor)
    first, *higher = torch.from_numpy(population.threshold.copy()).view(-1, len(weight))
    norm = layer.norm
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
    norm.shift.copy_(1 - first)
    layer.neuron.threshold.fill_(1.0)
    for step, threshold in zip(layer.neuron.steps, higher, strict=True):
        step.copy_(threshold - first)
        first = threshold


def _refuse(name: str, problem: str) -> ModelError:
    return ModelError(
        "bad_checkpoint", f"{name}: {problem}; name the t1.pt that it was exported from"
    )
