"""The front end for train-snn's own checkpoints: t1.pt to folded weights."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snn_export.fold import (
    Array,
    FoldedNetwork,
    FoldedReadout,
    Neurons,
    Norm,
    Synapse,
    fold_norm,
    fold_threshold,
)
from snn_export.pools import Window, ored
from snn_runtime.errors import ModelError
from snn_runtime.graph import INPUT, Image, Pool
from snn_train import checkpoint
from snn_train.data.normalisation import Normalisation
from snn_train.experiment import Experiment
from snn_train.integer import Grid, IntegerNetwork
from snn_train.layout import LayerPlan
from snn_train.network import BatchNorm, Layer, SpikingNetwork


@dataclass(frozen=True, eq=False)
class Trained:
    """A checkpoint at T = 1, built and described."""

    network: SpikingNetwork
    experiment: Experiment
    metrics: dict[str, Any]
    history: list[dict[str, Any]]
    """What every stage reached, the ANN first."""

    @property
    def bits(self) -> int:
        """Bits of the integers it was trained in; 0 for floating point."""
        return self.network.bits

    @property
    def labels(self) -> tuple[str, ...]:
        return self.experiment.labels

    @property
    def image(self) -> Image:
        architecture = self.experiment.architecture
        return Image(
            architecture.image_height,
            architecture.image_width,
            self.experiment.normalisation.offset,
            self.experiment.fit,
        )

    def fold(self) -> FoldedNetwork:
        """See the function `fold`."""
        return fold(self)

    def logits(self, images: Tensor) -> Tensor:
        """What the network says of uint8 images `(N, H, W, 3)`."""
        logits: Tensor = self.network(self.experiment.normalisation(images))
        return logits

    def provenance(self) -> dict[str, Any]:
        """How the network was trained and what each stage reached."""
        description = self.experiment.describe()
        stages = ("stage", "validation", "test", "spike_rate", "epochs", "seconds")
        facts = {
            key: description[key]
            for key in ("architecture", "settings", "data", "data_digest", "command")
        }
        return facts | {"stages": [{key: row[key] for key in stages} for row in self.history]}


def load(path: Path, *, dense: bool = False) -> Trained:
    """Return the network in `path`: at T = 1 or, with `dense`, the ANN of stage 0.

    Raises:
        ModelError: not one of our checkpoints, another stage's, weights that do not fit.
    """
    content = checkpoint.load(path)
    timesteps = content.get("timesteps")
    if type(timesteps) is not int:
        raise ModelError("bad_checkpoint", f"{path}: its timesteps are no whole number")
    if timesteps != (0 if dense else 1):
        raise ModelError("bad_checkpoint", f"{path}: {_unfit(timesteps, dense)}")
    with checkpoint.fitting(path):
        experiment = Experiment.of(content)
        network = experiment.restore(timesteps, content.get("bits", 0), content["network"])
        made = Trained(network.eval(), experiment, content["metrics"], content["history"])
        json.dumps(made.provenance(), allow_nan=False)  # which goes into the file
    _check_finite(network)
    return made


def _unfit(timesteps: int, dense: bool) -> str:
    if dense:
        return f"is at T={timesteps}, --dense writes the ANN of stage 0: give the run's ann.pt"
    if timesteps == 0:
        return "is the ANN of stage 0, which --dense writes; export needs T=1: give the run's t1.pt"
    return f"is at T={timesteps}, export needs T=1: train with --timesteps that end at 1"


def _check_finite(network: SpikingNetwork) -> None:
    """Refuse NaN and infinity by name: behind a threshold they look like any other spike."""
    named = {f"layers.{i}": p.plan.name for i, p in enumerate(network.populations())}
    for key, tensor in network.state_dict().items():
        if not torch.isfinite(tensor).all():
            prefix = ".".join(key.split(".")[:2])
            name = key.replace(prefix, named.get(prefix, prefix))
            raise ModelError("bad_weights", f"{name} holds a number that is not finite")


def fold(trained: Trained) -> FoldedNetwork:
    """Fold a network trained here: see `fold` for the algebra.

    Raises:
        ModelError: thresholds ≤ 0, numbers that are not finite.
    """
    experiment, network = trained.experiment, trained.network
    nodes: list[Neurons | Pool] = []
    sources = _Sources(experiment.normalisation)
    for layer in network.populations():
        neurons = _neurons(layer, sources)
        if isinstance(network, IntegerNetwork):
            neurons = _in_integers(neurons, network.grid(layer))
        nodes.append(neurons)
        nodes += sources.add(layer)
    name, factor = sources.last
    weight = array(network.readout.weight) * factor
    if isinstance(network, IntegerNetwork):
        integers, unit = (array(tensor) for tensor in network.readout_grid())
        weight = integers * unit[:, None]  # exact, and so is the way back to both
    bias = network.readout.bias
    readout = FoldedReadout(name, weight, np.zeros(len(weight)) if bias is None else array(bias))
    return FoldedNetwork(
        trained.image, tuple(nodes), readout, trained.labels, bits=network.bits or 8
    )


def _in_integers(neurons: Neurons, grid: Grid) -> Neurons:
    """The same connections, with the integers that were compared in training: k > t ⇔ k > t + ½."""
    synapses = tuple(
        replace(synapse, weight=array(weight))
        for synapse, weight in zip(neurons.synapses, grid.weights, strict=True)
    )
    return replace(neurons, synapses=synapses, threshold=_levels(grid.threshold) + 0.5)


class _Sources:
    """What a layer's name in the trained network stands for in the graph."""

    def __init__(self, pixels: Normalisation) -> None:
        deviation = np.array(pixels.deviation, np.float64)
        self.factors: dict[str, tuple[str, Array | float]] = {
            INPUT: (INPUT, 1 / deviation.reshape(1, 3, 1, 1))
        }
        self.last: tuple[str, Array | float] = self.factors[INPUT]

    def add(self, layer: Layer) -> list[Neurons | Pool]:
        """Return the pool that stands between the layer and what follows it, if any."""
        plan, name = layer.plan, f"{layer.plan.name}.pool"
        pools: list[Neurons | Pool] = []
        self.last = (plan.name, 1.0)
        if plan.pool > 1 and layer.max_pool:
            pools = [ored(name, plan.name, window(plan), plan.channels)]
            self.last = (name, 1.0)
        elif plan.pool > 1:
            pools = [Pool(name, plan.name, "sum", plan.pool)]
            self.last = (name, 1 / plan.pool**2)
        self.factors[plan.name] = self.last
        return pools

    def __call__(self, name: str) -> tuple[str, Array | float]:
        return self.factors[name]


def _neurons(layer: Layer, sources: _Sources) -> Neurons:
    plan = layer.plan
    source, factor = sources(plan.source)
    synapses = [synapse(layer.synapse, layer.norm, source, factor)]
    if plan.shortcut:
        source, factor = sources(plan.shortcut)
        if layer.shortcut is None:
            identity = np.ones((plan.channels, 1, 1, 1)) * factor
            synapses.append(Synapse(source, identity, groups=plan.channels))
        else:
            synapses.append(synapse(layer.shortcut, layer.shortcut_norm, source, factor))
    return fold_threshold(plan.name, tuple(synapses), _levels(layer.neuron.thresholds()))


def synapse(
    module: nn.Conv2d | nn.Linear, norm: BatchNorm | None, source: str, factor: Array | float
) -> Synapse:
    """What a layer's module and the normalisation behind it do, times `factor`."""
    made = Synapse(
        source, array(module.weight), offset=0.0 if module.bias is None else array(module.bias)
    )
    if isinstance(module, nn.Conv2d):
        stride, padding = module.stride, module.padding
        assert not isinstance(padding, str)
        across, around = (stride[0], stride[1]), (padding[0], padding[1])
        made = replace(made, stride=across, padding=around, groups=module.groups)
    if norm is not None:
        made = fold_norm(made, norm_of(norm))
    return made.scaled(factor)


def norm_of(norm: BatchNorm) -> Norm:
    mean, variance = array(norm.running_mean), array(norm.running_var)
    return Norm(array(norm.gains()), array(norm.shift), mean, variance, norm.eps)


def window(plan: LayerPlan) -> Window:
    """What a value that is pooled behind a layer comes from."""
    side, overlap = plan.pool, plan.overlap
    return Window((side + overlap,) * 2, (side,) * 2, (overlap,) * 2)


def _levels(thresholds: Tensor) -> Array:
    """`[K, O]` as a graph has it, `[O]` of a single level."""
    numbers = array(thresholds)
    return numbers if len(numbers) > 1 else numbers[0]


def array(tensor: Tensor) -> Array:
    """The numbers of a tensor, in float64."""
    return tensor.detach().to(torch.float64).numpy()
