"""Layers: sizes as published, and any picture from 8×8 on."""

import pytest
import torch
import torch.nn.functional as F

from snn_train.choices import RecipeName
from snn_train.families import NETWORKS, RESNET, RESNET_BN
from snn_train.layout import Architecture, plan
from snn_train.network import SpikingNetwork

IMAGENET = Architecture(
    "vgg16", "iir", hidden=4096, classes=1000, image_height=224, image_width=224
)


@pytest.mark.parametrize(
    ("architecture", "millions", "digits", "parameters", "parameter_digits"),
    [
        # As counted on the authors' networks, to the digits they were counted to.
        (Architecture("vgg16", "iir", hidden=4096), 338.4, 1, 39.9, 1),
        (Architecture("resnet20", "iir"), 215.7, 1, 11.26, 2),
        (IMAGENET, 15_470, -1, 138.3, 1),
    ],
)
def test_networks_are_as_large_as_the_authors(
    architecture: Architecture,
    millions: float,
    digits: int,
    parameters: float,
    parameter_digits: int,
) -> None:
    with torch.device("meta"):  # shapes without memory
        network = SpikingNetwork(architecture, 1)
    macs = sum(macs for layer in network.populations() for _, macs in layer.plan.costs())
    assert round((macs + network.readout.weight.numel()) / 1e6, digits) == millions
    counted = sum(p.numel() for p in network.parameters()) / 1e6
    assert round(counted, parameter_digits) == parameters


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (9, 13), (8, 41), (33, 17)])
@pytest.mark.parametrize(
    ("name", "recipe"),
    [(name, "iir-bn") for name in NETWORKS] + [(n, "iir") for n in NETWORKS if n not in RESNET_BN],
)
def test_every_network_runs_and_sends_what_its_plan_says(
    name: str, size: tuple[int, int], recipe: RecipeName
) -> None:
    height, width = size
    architecture = Architecture(
        name, recipe, 0.03, hidden=5, classes=4, image_height=height, image_width=width
    )
    network = SpikingNetwork(architecture, 2).eval()
    images = torch.randn(3, 3, height, width)
    sent = {"image": images}
    for layer in network.populations():
        values = sent[layer.plan.name] = network.send(layer, sent)
        described = layer.plan
        assert values.flatten(1).shape == (6, described.channels * described.sent_positions)
        assert described.kind == "dense" or values.shape[2:] == (
            (described.height + described.overlap) // described.pool,
            (described.width + described.overlap) // described.pool,
        )
    assert network(images).shape == (3, 4)


def test_resnet34_has_the_blocks_of_the_paper_and_of_the_authors() -> None:
    """He et al., table 1; `cfg` of the authors' resnet_spiking_bnfused_biasconv.py."""
    blocks = [layer.name for layer in plan("resnet34", 1.0, 0, (32, 32)) if layer.shortcut]
    counted = [sum(name.startswith(f"stage{stage}.") for name in blocks) for stage in (1, 2, 3, 4)]
    assert counted == [3, 4, 6, 3]
    assert RESNET["resnet34"] == tuple(counted)


@pytest.mark.parametrize(
    ("size", "sides"),
    [
        ((32, 32), [(16, 16), (16, 16), (16, 16), (8, 8), (8, 8), (4, 4), (2, 2)]),
        ((33, 18), [(16, 9), (16, 9), (16, 9), (8, 4), (8, 4), (4, 2), (2, 1)]),
        ((9, 8), [(4, 4), (4, 4), (4, 4), (2, 2), (2, 2), (1, 1), (1, 1)]),
    ],
)
def test_4x4_strides_halve_maps_as_pools_do(
    size: tuple[int, int], sides: list[tuple[int, int]]
) -> None:
    assert [(layer.height, layer.width) for layer in plan("vgg9s", 1.0, 0, size)] == sides


def test_a_convolution_and_an_average_are_one_of_4x4_with_a_stride() -> None:
    small, images = torch.randn(5, 3, 3, 3, dtype=torch.float64), torch.randn(2, 3, 12, 10).double()
    averaged = F.avg_pool2d(F.conv2d(images, small, padding=1), 2)
    box = torch.full((2, 2), 0.25, dtype=torch.float64).expand(15, 1, 2, 2)
    large = F.conv2d(small.view(1, 15, 3, 3), box, padding=1, groups=15).view(5, 3, 4, 4)
    torch.testing.assert_close(F.conv2d(images, large, stride=2, padding=1), averaged)


def test_the_last_map_is_at_most_7x7() -> None:
    for name in NETWORKS:
        last = plan(name, 1.0, 0, (500, 375))[-1]
        assert max(last.height // last.pool, last.width // last.pool) <= 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("alexnet", 1.0, 0, (32, 32)), "'alexnet' is none of vgg5, "),
        (("vgg5", 1.0, 0, (7, 32)), "7x32 are smaller than 8x8"),
        (("vgg5", 0.0, 0, (32, 32)), r"width factor 0.0 is not in \(0, 16\]"),
        (("vgg5", 17.0, 0, (32, 32)), "width factor 17.0"),
        (("vgg5", float("nan"), 0, (32, 32)), "width factor nan"),
    ],
)
def test_what_cannot_be_built_is_refused(
    arguments: tuple[str, float, int, tuple[int, int]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        plan(*arguments)
