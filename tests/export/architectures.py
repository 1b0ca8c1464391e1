"""Small convolutional networks of snnTorch and SpikingJelly, drawn by hypothesis."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import snntorch
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from snn_export.importers import Picture

# SpikingJelly 2 needs Python 3.11.
base = pytest.importorskip("spikingjelly.activation_based.base")
functional = pytest.importorskip("spikingjelly.activation_based.functional")
layer = pytest.importorskip("spikingjelly.activation_based.layer")
neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")

Neurons = Callable[[random.Random, bool], nn.Module]
"""Random neurons; the flag is whether they are the last."""


@dataclass(frozen=True)
class Family:
    """How one framework builds its networks."""

    name: str
    neurons: Neurons
    layers: dict[str, Callable[..., nn.Module]]


def _snntorch(rng: random.Random, last: bool) -> Any:
    options = {
        "threshold": rng.choice([0.25, 0.5, torch.tensor(0.31)]),
        "reset_mechanism": rng.choice(["subtract", "zero", "none"]),
        "learn_threshold": rng.random() < 0.5,
        "init_hidden": True,
        "output": last,
    }
    if rng.random() < 0.25:
        return snntorch.Lapicque(beta=rng.uniform(0.1, 0.9), **options)
    return snntorch.Leaky(beta=rng.uniform(0, 1), learn_beta=rng.random() < 0.5, **options)


def _spikingjelly(rng: random.Random, last: bool) -> Any:
    options = {
        "v_threshold": rng.choice([0.25, 0.4]),
        "v_reset": rng.choice([None, 0.0, -0.2, 0.1]),
    }
    kind = rng.choice([neuron.IFNode, neuron.LIFNode, neuron.ParametricLIFNode, neuron.ILIFNode])
    if kind is neuron.IFNode:
        return kind(**options)
    if kind is neuron.ILIFNode:
        count = surrogate.MultiLevelSpikeCount(rng.choice([1, 2, 4]))
        return kind(v_threshold=options["v_threshold"], surrogate_function=count)
    tau = {"tau" if kind is neuron.LIFNode else "init_tau": rng.uniform(1.5, 3)}
    return kind(decay_input=rng.random() < 0.5, **tau, **options)


SNNTORCH = Family(
    "snntorch",
    _snntorch,
    {"conv": nn.Conv2d, "norm": nn.BatchNorm2d, "max": nn.MaxPool2d, "mean": nn.AvgPool2d,
     "dense": nn.Linear, "flat": nn.Flatten, "drop": nn.Dropout},
)  # fmt: skip
SPIKINGJELLY = Family(
    "spikingjelly",
    _spikingjelly,
    {"conv": layer.Conv2d, "norm": layer.BatchNorm2d, "max": layer.MaxPool2d,
     "mean": layer.AvgPool2d, "dense": layer.Linear, "flat": layer.Flatten, "drop": layer.Dropout},
)  # fmt: skip


@st.composite
def networks(draw: st.DrawFn, family: Family) -> tuple[nn.Module, Picture]:
    """A network in which layers fire, and the pictures it takes."""
    seed = draw(st.integers(0, 2**20))
    colours = draw(st.sampled_from([1, 3]))
    size = (draw(st.integers(9, 14)), draw(st.integers(9, 14)))
    blocks = [
        (
            draw(st.sampled_from([(3, 1, 1), (3, 1, 0), (5, 2, 2), (1, 1, 0), (2, 2, 0)])),
            draw(st.booleans()),  # normalised
            draw(st.sampled_from(["", "max before", "mean before", "mean first", "max after",
                                  "mean after"])),
        )
        for _ in range(draw(st.integers(1, 2)))
    ]  # fmt: skip
    hidden, spiking_end = draw(st.booleans()), draw(st.booleans())
    several_steps = family is SPIKINGJELLY and draw(st.booleans())
    rng = random.Random(seed)
    torch.manual_seed(seed)
    parts = _convolutions(family, rng, colours, size, blocks)
    parts.append(family.layers["flat"]())
    with torch.no_grad():
        features = _run(parts, torch.zeros(1, colours, *size)).shape[1]
    if hidden:
        parts += [family.layers["dense"](features, 20, bias=rng.random() < 0.5)]
        parts += [family.neurons(rng, False), family.layers["drop"](0.3)]
        features = 20
    parts.append(family.layers["dense"](features, 4))
    if spiking_end:
        parts.append(family.neurons(rng, True))
    network = nn.Sequential(*parts).eval()
    if several_steps:
        functional.set_step_mode(network, "m")
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.data *= 2
    mean = tuple(rng.uniform(0.2, 0.8) for _ in range(colours))
    std = tuple(rng.uniform(0.2, 0.3) for _ in range(colours))
    return network, Picture.of(("a", "b", "c", "d"), size, mean, std)


def _convolutions(
    family: Family,
    rng: random.Random,
    colours: int,
    size: tuple[int, int],
    blocks: list[tuple[tuple[int, int, int], bool, str]],
) -> list[nn.Module]:
    parts: list[nn.Module] = []
    channels = colours
    for (kernel, stride, padding), normalised, pooling in blocks:
        out = rng.randint(3, 6)
        conv = family.layers["conv"](
            channels, out, kernel, stride, padding, bias=rng.random() < 0.5
        )
        order = [conv]
        before, after = pooling.endswith("before"), pooling.endswith("after")
        kind = pooling.split(" ")[0]
        if pooling == "mean first" or (pooling == "max before" and rng.random() < 0.5):
            order.append(family.layers[kind](2))
            before = False
        if normalised:
            order.append(_norm(family, out, positive=pooling == "max before"))
        if before:
            order.append(family.layers[kind](2))
        order.append(family.neurons(rng, False))
        if after:
            order.append(family.layers[kind](2))
        with torch.no_grad():
            try:
                shape = _run([*parts, *order], torch.zeros(1, colours, *size)).shape
            except RuntimeError:  # the map has become too small for one more block
                break
        parts, channels = [*parts, *order], shape[1]
    return parts


def _norm(family: Family, channels: int, *, positive: bool) -> nn.Module:
    norm = family.layers["norm"](channels)
    assert isinstance(norm, nn.BatchNorm2d)
    norm.weight.data.normal_()
    if positive:
        norm.weight.data.abs_().add_(0.1)
    norm.bias.data.normal_(0, 0.3)
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.normal_(0, 0.5)
    norm.running_var.uniform_(0.1, 2)
    return norm


def _run(parts: list[nn.Module], images: Tensor) -> Tensor:
    network = nn.Sequential(*parts).eval()
    answer: Tensor = network(images)
    for part in parts:
        if isinstance(part, snntorch.SpikingNeuron):
            part.reset_mem()
        elif isinstance(part, base.MemoryModule):
            part.reset()
    return answer


def on_the_threshold(family: Family) -> nn.Module:
    """Whole-numbered weights, so that currents fall on thresholds of 100, 2 and 0 exactly."""
    first = family.layers["conv"](3, 3, 1, bias=False)
    second = family.layers["conv"](3, 3, 2, 1, bias=True)
    read = family.layers["dense"](27, 4)
    first.weight.data = (
        torch.eye(3)[:, :, None, None] * torch.tensor([1.0, 2.0, -1.0])[:, None, None, None]
    )
    second.weight.data = torch.ones(3, 3, 2, 2)
    # Behind its bias, the second layer's threshold lies at 2, 0 and −1 spikes.
    second.bias.data = torch.tensor([-1.0, 1.0, 2.0])
    if family is SNNTORCH:
        neurons = [snntorch.Leaky(0.5, threshold=t, init_hidden=True) for t in (100.0, 1.0)]
    else:
        neurons = [neuron.IFNode(v_threshold=t) for t in (100.0, 1.0)]
    flat = family.layers["flat"]()
    return nn.Sequential(first, neurons[0], second, neurons[1], flat, read).eval()


def grey_levels(family: Family) -> Picture:
    """Pixels as they are, 0 to 255."""
    return Picture(("a", "b", "c", "d"), 4, 4, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
