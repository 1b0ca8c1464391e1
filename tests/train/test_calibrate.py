"""Between the stages: the function stays, and thresholds are where they were wanted."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from snn_train.calibrate import LOWEST_FIRST, convert, fold_norm, set_thresholds, settle
from snn_train.choices import RecipeName
from snn_train.layout import Architecture
from snn_train.network import BatchNorm, SpikingNetwork


def network_of(recipe: RecipeName, timesteps: int, name: str = "resnet12") -> SpikingNetwork:
    torch.manual_seed(4)
    architecture = Architecture(
        name, recipe, 0.1, hidden=9, classes=5, image_height=16, image_width=16
    )
    return SpikingNetwork(architecture, timesteps)


def images(count: int = 24) -> Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(6))


def unsettle(network: SpikingNetwork) -> None:
    """Give the normalisations statistics and shifts that are not their first ones."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, BatchNorm):
                module.shift.normal_(0, 0.3)
        for _ in range(5):
            network.train()(images())


def test_folding_puts_a_normalisation_into_its_convolution() -> None:
    torch.manual_seed(0)
    norm, convolution = BatchNorm(5), torch.nn.Conv2d(3, 5, 3, bias=False)
    with torch.no_grad():
        norm.shift.normal_()
        norm(torch.randn(8, 5, 4, 4) * 3 + 1)
        norm.eval()
        weight, bias = fold_norm(convolution.weight, norm)
        expected = norm(convolution(images()))
        torch.testing.assert_close(F.conv2d(images(), weight, bias), expected)


@pytest.mark.parametrize("name", ["vgg9", "resnet12"])
def test_folding_leaves_the_anns_function_unchanged(name: str) -> None:
    before = network_of("iir", 0, name)
    unsettle(before)
    after = convert(before, 5)
    assert after.timesteps == 5
    assert not any(isinstance(module, BatchNorm) for module in after.modules())
    after.timesteps = 0  # the folded weights, run as an ANN
    with torch.no_grad():
        expected = before.eval()(images())
        torch.testing.assert_close(after.eval()(images()), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("recipe", ["iir", "iir-bn"])
@pytest.mark.parametrize("timesteps", [(2, 1), (5, 3)])
def test_a_stage_starts_from_all_the_stage_before_it_learned(
    recipe: RecipeName, timesteps: tuple[int, int]
) -> None:
    before = network_of(recipe, timesteps[0])
    with torch.no_grad():
        for parameter in before.parameters():
            parameter.uniform_(0.1, 0.9)
    after = convert(before, timesteps[1])
    assert after.timesteps == timesteps[1]
    assert before.state_dict().keys() == after.state_dict().keys()
    for name, tensor in before.state_dict().items():
        assert torch.equal(after.state_dict()[name], tensor)
    next(iter(after.parameters())).data.zero_()  # and it has weights of its own
    assert bool(next(iter(before.parameters())).all())


@torch.no_grad()
@pytest.mark.parametrize("percentile", [50.0, 85.0, 99.0])
@pytest.mark.parametrize("recipe", ["iir", "iir-bn"])
def test_thresholds_lie_at_the_percentile_of_their_currents(
    recipe: RecipeName, percentile: float
) -> None:
    network = convert(network_of(recipe, 0), 2)
    set_thresholds(network, images(), percentile)
    assert network.training
    network.eval()
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.train()  # as while they were set
    sent, counted = {"image": images()}, 0
    for layer in network.populations():
        shortcut = sent[layer.plan.shortcut] if layer.plan.shortcut else None
        current = layer.current(sent[layer.plan.source], shortcut, None)
        thresholds = layer.neuron.threshold
        assert len(thresholds) == (1 if recipe == "iir" else current.shape[1])
        for channel, theta in enumerate(thresholds):
            seen = current.flatten() if len(thresholds) == 1 else current[:, channel].flatten()
            above = int((seen > theta).sum())
            wanted = len(seen) - round(len(seen) * percentile / 100)
            if theta > LOWEST_FIRST:
                counted += 1
                # Currents of spikes repeat: at most as many may be missing as equal θ.
                assert wanted - int((seen == theta).sum()) < above <= wanted
            else:
                assert above <= wanted
        sent[layer.plan.name] = network.send(layer, sent)
    assert counted > 1


def test_a_percentile_at_or_below_zero_is_replaced() -> None:
    network = convert(network_of("iir-bn", 0), 1)
    set_thresholds(network, images(), 1.0)
    for layer in network.populations():
        assert layer.neuron.threshold.tolist() == pytest.approx(
            [LOWEST_FIRST] * len(layer.neuron.threshold)
        )


def test_settling_averages_over_all_batches_evenly() -> None:
    """The first normalisation sees W ∗ x alone, so its statistics can be computed by hand."""
    torch.manual_seed(0)
    network = SpikingNetwork(Architecture("vgg5", "iir-bn", 0.1, 0, 3, 8, 8), 1)
    batches = [torch.randn(6, 3, 8, 8) + shift for shift in (0.0, 1.0, 5.0)]
    settle(network, batches)
    layer = network.populations()[0]
    assert layer.norm is not None and layer.norm.running_mean is not None
    with torch.no_grad():
        currents = [F.max_pool2d(layer.synapse(batch), 2) for batch in batches]
    means = torch.stack([current.mean((0, 2, 3)) for current in currents])
    torch.testing.assert_close(layer.norm.running_mean, means.mean(0))
    assert layer.norm.momentum == BatchNorm(1).momentum
