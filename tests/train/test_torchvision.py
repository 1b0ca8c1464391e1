"""torchvision's VGGs and ResNets as ours: to the rounding, and what has no form refused by name."""

from pathlib import Path
from typing import Any

import pytest
import torch
from same import assert_same
from torch import Tensor, nn
from train.torchvision_like import RESNETS, ResNet, resnet, vgg, vgg_state

from snn_runtime.errors import ModelError
from snn_train import torchvision_vgg
from snn_train.choices import RecipeName
from snn_train.defaults import default_recipe
from snn_train.layout import Architecture
from snn_train.network import SpikingNetwork
from snn_train.torchvision_file import weights_of

FILE = Path("network.pt")


def ann_of(name: str, state: dict[str, Tensor], side: int = 32) -> SpikingNetwork:
    found, weights = weights_of(FILE, state)
    assert found == name
    network = SpikingNetwork(Architecture(name, image_height=side, image_width=side), 0).eval()
    missing, unexpected = network.load_state_dict(weights, strict=False)
    assert not unexpected and all("neuron" in k or "readout" in k or "num_b" in k for k in missing)
    return network


def last_map(network: SpikingNetwork, images: Tensor) -> Tensor:
    sent = {"image": images}
    for layer in network.populations():
        sent[layer.plan.name] = network.send(layer, sent)
    return sent[layer.plan.name]


def pictures(count: int, side: int) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(5)) * 2


@torch.no_grad()
@pytest.mark.parametrize("name", torchvision_vgg.NAMES)
def test_the_features_of_a_vgg_are_the_anns(name: str) -> None:
    """Up to the last |γ|, which the readout behind would take in."""
    features = vgg(name)
    expected = features(pictures(2, 32))
    gain = next(m for m in reversed(features) if isinstance(m, nn.BatchNorm2d)).weight.abs()
    gain = torch.where(gain < 1e-6, torch.ones_like(gain), gain).view(1, -1, 1, 1)
    found = last_map(ann_of(name, vgg_state(features)), pictures(2, 32))
    torch.testing.assert_close(found * gain, expected, rtol=1e-3, atol=1e-3)
    assert float(expected.std()) > 0.01


@torch.no_grad()
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", RESNETS)
def test_a_resnet_is_the_ann_while_it_learns_too(name: str, training: bool) -> None:
    theirs = resnet(name).double()
    ours = ann_of(name, theirs.state_dict(), side=64)
    # float32 is what was taken over: both compute with it in float64
    theirs.load_state_dict({k: v.float() for k, v in theirs.state_dict().items()})
    theirs.train(training)
    ours.double().train(training)
    images = pictures(4, 64).double()
    expected, found = theirs(images), last_map(ours, images)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    assert float(expected.std()) > 0.01
    statistics = [v for k, v in theirs.state_dict().items() if "running" in k]
    mine = [v for k, v in ours.state_dict().items() if "running" in k]
    assert sorted(float(v.sum()) for v in mine) == pytest.approx(
        sorted(float(v.sum()) for v in statistics), rel=1e-6
    )


@pytest.mark.parametrize(("recipe", "levels"), [("iir", 1), ("iir-bn", 2)])
def test_pools_that_overlap_need_spikes_that_are_one_or_none(
    recipe: RecipeName, levels: int
) -> None:
    with pytest.raises(ValueError, match="--network resnet50_bn: its pool's windows overlap"):
        default_recipe(recipe).change(network="resnet50_bn", levels=levels)


def of_blocks(*counts: int, bottleneck: bool = False) -> dict[str, Tensor]:
    with torch.device("meta"):  # names without numbers, then memory that nobody writes
        state = ResNet(counts, bottleneck=bottleneck).state_dict()
    return {name: torch.empty_like(each, device="cpu") for name, each in state.items()}


RESNET18 = resnet("resnet18_bn").state_dict()
GREY = vgg_state(vgg("vgg11_bn"))
GREY["features.0.weight"] = GREY["features.0.weight"][:, :1]
WIDE = {"layer1.0.conv1.weight": torch.zeros(128, 64, 3, 3)}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (of_blocks(1, 1, 1, 1), "holds a ResNet of 1, 1, 1, 1 blocks"),
        (of_blocks(3, 4, 23, 3, bottleneck=True), "of 3, 4, 23, 3 bottleneck blocks"),
        (RESNET18 | WIDE, r"conv1.weight has shape \(128, 64, 3, 3\), expected \(64"),
        ({k: v for k, v in RESNET18.items() if k != "bn1.bias"}, "has no bn1.bias"),
        (RESNET18 | {"layer4.1.bn2.weight": torch.full((512,), torch.inf)}, "bn2.weight is not f"),
        (RESNET18 | {"layer2.0.downsample.1.bias": torch.zeros(3)}, r"1.bias has shape \(3,\)"),
        ({"features.0.weight": torch.zeros(64, 3, 11, 11)}, r"has convolutions of \[64\] channels"),
        (GREY, r"features.0.weight has shape \(64, 1, 3, 3\), expected \(64, 3, 3, 3\)"),
        ({"classifier.1.weight": torch.zeros(4, 4)}, "holds no VGG with batch normalisation"),
        ({"features.0.bias": torch.zeros(4)}, "has convolutions of no channels"),
    ],
)  # fmt: skip
def test_what_has_no_form_is_refused_by_name(state: Any, message: str) -> None:
    with pytest.raises(ModelError, match=f"{message}.*vgg11_bn.*vgg19_bn, resnet18, resnet34, res"):
        weights_of(FILE, state)


@pytest.mark.parametrize("content", [[1, 2], {}, {"conv1.weight": torch.zeros(3), "epoch": 4}])
def test_what_is_no_state_dict_is_refused(content: Any) -> None:
    says = "expected (a dictionary of tensors|tensors by name); --ann reads .*vgg11_bn.*resnet50"
    with pytest.raises(ModelError, match=says):
        weights_of(FILE, content)


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_a_state_dict_is_found_where_scripts_keep_it(key: str) -> None:
    """torchvision's own keep it under `model`; DataParallel puts `module.` before every name."""
    name, plain = weights_of(FILE, RESNET18)
    wrapped = {f"module.{name}": value for name, value in RESNET18.items()}
    found, weights = weights_of(FILE, {key: wrapped, "epoch": 90, "args": {"lr": 0.1}})
    assert found == name
    assert_same(weights, plain)


def test_a_damaged_state_dict_is_refused_by_key() -> None:
    whole = vgg_state(vgg("vgg11_bn"))
    plain = {key: value for key, value in whole.items() if not key.startswith("features.1.")}
    for state, message in (
        (plain, "has no features.1.weight"),
        (whole | {"features.1.bias": torch.full((64,), torch.nan)}, "not finite"),
        (whole | {"features.1.bias": torch.zeros(3)}, "features.1 does not fit features.0"),
    ):
        with pytest.raises(ModelError, match=message):
            weights_of(FILE, state)
