"""The network, all timesteps in one batch, against a loop that takes one step after another."""

import math
from dataclasses import replace
from typing import cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snn_train.choices import RecipeName
from snn_train.layout import Architecture
from snn_train.network import BatchNorm, Layer, SpikingNetwork
from snn_train.neuron import LIF

NETWORKS = ["vgg5", "vgg9", "resnet12", "resnet20"]
RECIPES: list[RecipeName] = ["iir", "iir-bn"]


def random_network(
    name: str, recipe: RecipeName, timesteps: int, *, side: int = 16, hidden: int = 6
) -> SpikingNetwork:
    """In float64, with thresholds, leaks and running statistics that differ everywhere."""
    torch.manual_seed(3)
    architecture = Architecture(
        name, recipe, 0.06, hidden=hidden, classes=3, image_height=side, image_width=side
    )
    network = SpikingNetwork(architecture, timesteps).double().eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, BatchNorm):
                assert module.running_mean is not None and module.running_var is not None
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.2, 2)
                module.shift.normal_(0, 0.5)
        for layer in network.populations():
            layer.synapse.weight.mul_(4)  # or few would fire
            layer.neuron.threshold.uniform_(0.1, 0.6)
            assert isinstance(layer.neuron, LIF)
            layer.neuron.leak.uniform_(0.5, 1)
    return network


def images(side: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(4, 3, side, side, generator=generator, dtype=torch.float64)


def normalised(x: Tensor, norm: BatchNorm | None) -> Tensor:
    if norm is None:
        return x
    shape = (1, -1, *[1] * (x.dim() - 2))
    assert norm.running_mean is not None and norm.running_var is not None
    centred = x - norm.running_mean.view(shape)
    return centred / (norm.running_var.view(shape) + norm.eps).sqrt() + norm.shift.view(shape)


def current_of(layer: Layer, sent: dict[str, Tensor]) -> Tensor:
    """I of one timestep, in its own units, the pooling where the recipe has it."""
    x, plan = sent[layer.plan.source], layer.plan
    if isinstance(layer.synapse, nn.Linear):
        current = F.linear(x.flatten(1), layer.synapse.weight)
    else:
        current = F.conv2d(x, layer.synapse.weight, layer.synapse.bias, plan.stride, 1)
    if plan.shortcut:
        other = sent[plan.shortcut]
        if layer.shortcut is not None:
            weight, bias = layer.shortcut.weight, layer.shortcut.bias
            other = F.conv2d(other, weight, bias, plan.shortcut_stride)
            other = normalised(other, layer.shortcut_norm)
        current = normalised(current, layer.norm) + other
        return F.max_pool2d(current, plan.pool) if layer.max_pool and plan.pool > 1 else current
    if layer.max_pool and plan.pool > 1:
        current = F.max_pool2d(current, plan.pool)
    return normalised(current, layer.norm)


def step_by_step(network: SpikingNetwork, images: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Logits, and the spikes a neuron and timestep."""
    membranes: dict[str, Tensor] = {}
    logits, counts = torch.zeros((), dtype=torch.float64), dict[str, float]()
    for _ in range(network.timesteps):
        sent = {"image": images}
        for layer in network.populations():
            name = layer.plan.name
            current = current_of(layer, sent)
            theta = layer.neuron.threshold.view(1, -1, *[1] * (current.dim() - 2))
            assert isinstance(layer.neuron, LIF)
            membrane = layer.neuron.leak * membranes.get(name, torch.zeros(())) + current
            spikes = (membrane > theta).double()
            membranes[name] = membrane - theta * spikes
            if not layer.max_pool and layer.plan.pool > 1:
                side = layer.plan.pool  # neurons beyond the last whole window are not heard
                rows, columns = (size // side * side for size in spikes.shape[2:])
                spikes = spikes[:, :, :rows, :columns]
            rate = float(spikes.count_nonzero()) / spikes.numel()
            counts[name] = counts.get(name, 0) + rate / network.timesteps
            if not layer.max_pool and layer.plan.pool > 1:
                spikes = F.avg_pool2d(spikes, layer.plan.pool)
            sent[name] = spikes
        logits = logits + network.readout(spikes.flatten(1))
    return logits, counts


@torch.no_grad()
@pytest.mark.parametrize("timesteps", [1, 2, 5])
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_all_timesteps_at_once_equal_one_after_another(
    name: str, recipe: RecipeName, timesteps: int
) -> None:
    network = random_network(name, recipe, timesteps)
    expected, rates = step_by_step(network, images())
    network.rates = {}
    logits = network(images())
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)
    assert {k: float(v) for k, v in network.rates.items()} == pytest.approx(rates, abs=1e-6)
    assert all(0.01 < rate < 0.99 for rate in rates.values()), "the test would say little"


@torch.no_grad()
def test_the_images_current_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_network("vgg5", "iir-bn", 5)
    current, seen = Layer.current, []

    def watched(layer: Layer, x: Tensor, *others: Tensor | None) -> Tensor:
        seen.append(len(x))
        return current(layer, x, *others)

    monkeypatch.setattr(Layer, "current", watched)
    network(images())
    assert seen == [4, 20, 20, 20, 20]


@torch.no_grad()
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_without_timesteps_it_is_an_ann(name: str, recipe: RecipeName) -> None:
    network = random_network(name, recipe, 0)
    sent = {"image": images()}
    for layer in network.populations():
        values = F.relu(current_of(layer, sent))
        if not layer.max_pool and layer.plan.pool > 1:
            values = F.avg_pool2d(values, layer.plan.pool)
        sent[layer.plan.name] = values
    expected = network.readout(values.flatten(1))
    torch.testing.assert_close(network(images()), expected, rtol=1e-10, atol=1e-10)


def test_only_recipe_iir_is_without_normalisation_once_it_spikes() -> None:
    for recipe, timesteps, expected in [
        ("iir", 0, True),
        ("iir", 1, False),
        ("iir-bn", 0, True),
        ("iir-bn", 1, True),
    ]:
        network = random_network("resnet12", cast(RecipeName, recipe), timesteps, hidden=0)
        convolutions = network.populations()
        assert all((layer.norm is not None) == expected for layer in convolutions)
        assert all((layer.synapse.bias is None) == expected for layer in convolutions)


@torch.no_grad()
def test_max_pool_before_the_norm_is_or_of_the_spikes() -> None:
    network = random_network("vgg9", "iir-bn", 1)
    sent = {"image": images()}
    pooled = 0
    for layer in network.populations():
        spikes = network.send(layer, sent)
        if layer.plan.pool > 1:
            window, plan = layer.plan.pool, layer.plan
            layer.plan = replace(plan, pool=1)
            unpooled = network.send(layer, sent)
            layer.plan = plan
            assert torch.equal(spikes, F.max_pool2d(unpooled, window))
            assert 0 < float(unpooled.mean()) < 1
            pooled += 1
        sent[layer.plan.name] = spikes
    assert pooled == 4


def test_dropout_masks_are_the_same_at_every_timestep() -> None:
    architecture = Architecture("vgg5", "iir", 0.1, dropout=0.4)
    layer = SpikingNetwork(architecture, 3).populations()[0].train()
    torch.manual_seed(0)
    dropped = layer.drop(torch.ones(3, 50, 6, 4, 4), torch.ones(1, 50, 6, 4, 4))
    assert torch.equal(dropped[0], dropped[1]) and torch.equal(dropped[0], dropped[2])
    assert not torch.equal(dropped[0, 0], dropped[0, 1])  # but not for every image
    assert sorted(set(dropped.flatten().tolist())) == pytest.approx([0, 1 / 0.6])
    assert float((dropped == 0).float().mean()) == pytest.approx(0.4, abs=0.03)
    values = torch.ones(3, 2, 6, 4, 4)
    assert torch.equal(layer.eval().drop(values, values[:1]), values)


def test_gradients_reach_every_parameter() -> None:
    for recipe in RECIPES:
        network = random_network("resnet12", recipe, 2).train()
        for layer in network.populations():
            layer.neuron.surrogate = "tanh"  # the others are zero far from the threshold
        network(images()).square().sum().backward()
        missing = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
        assert missing == []


@pytest.mark.parametrize("name", ["vgg5", "resnet12"])
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("size", [(8, 8), (32, 8), (9, 13), (16, 16)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_owe_nothing_to_what_memory_held_before(
    name: str, recipe: RecipeName, size: tuple[int, int], dtype: torch.dtype
) -> None:
    """Faults of torch's CPU kernels: unwritten gradients where maps become one pixel wide."""
    torch.manual_seed(3)
    height, width = size
    architecture = Architecture(name, recipe, 0.1, 6, image_height=height, image_width=width)
    network = SpikingNetwork(architecture, 1)
    batch = torch.randn(12, 3, *size).contiguous(memory_format=torch.channels_last)
    found = []
    for rubbish in (math.nan, 1e30, 7.0, math.nan):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
            loss = network(batch).float().square().mean()
        for size_of in range(6, 18):
            torch.full((2**size_of,), rubbish)  # freed at once, for the kernels to find
        loss.backward()
        found.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


def test_the_spike_rate_is_weighted_by_the_multiply_adds_behind_each_layer() -> None:
    network = SpikingNetwork(Architecture("vgg5", "iir-bn", classes=10), 1)
    rates = {"conv1": 0.5, "conv2": 0.25, "conv3": 0.125}
    # conv1 sends 16×16, conv2 too, conv3 is pooled to 8×8 and then to 4×4 for the readout.
    macs = {"conv1": 9 * 64 * 128 * 256, "conv2": 9 * 128 * 128 * 256, "conv3": 128 * 16 * 10}
    assert network.populations()[-1].plan.sent_positions == 16
    expected = sum(rates[k] * macs[k] for k in rates) / sum(macs.values())
    assert network.spike_rate(rates) == pytest.approx(expected)


def test_a_shortcut_that_projects_counts_in_the_spike_rate_and_an_identity_does_not() -> None:
    network = random_network("resnet12", "iir-bn", 1)
    all_alike = dict.fromkeys((layer.plan.name for layer in network.populations()), 0.1)
    assert network.spike_rate(all_alike) == pytest.approx(0.1)
    blocks = {layer.plan.name: layer.plan for layer in network.populations()}
    assert [len(blocks[f"stage{n}.block1.conv2"].costs()) for n in (1, 2, 3, 4)] == [1, 2, 2, 2]


def test_clamp_reaches_every_population() -> None:
    network = random_network("vgg5", "iir-bn", 1)
    with torch.no_grad():
        for layer in network.populations():
            layer.neuron.threshold.fill_(-1)
    network.clamp()
    assert all(bool((layer.neuron.threshold > 0).all()) for layer in network.populations())
