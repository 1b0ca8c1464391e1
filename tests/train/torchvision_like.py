"""torchvision's networks, built as it builds them, without what is behind their features."""

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snn_train.families import VGG


def vgg(name: str) -> nn.Sequential:
    """The features, with gains of either sign, of none and of next to none."""
    layers, before = list[nn.Module](), 3
    for item in VGG[name]:
        if not isinstance(item, int):
            layers.append(nn.MaxPool2d(2, 2))
            continue
        layers += [nn.Conv2d(before, item, 3, padding=1), nn.BatchNorm2d(item), nn.ReLU()]
        before = item
    return drawn(nn.Sequential(*layers))


def vgg_state(features: nn.Sequential) -> dict[str, Tensor]:
    """With the first of the dense layers, which have no form here, in small."""
    state = {f"features.{key}": value for key, value in features.state_dict().items()}
    return state | {"classifier.0.weight": torch.zeros(2, 2)}


Network = TypeVar("Network", bound=nn.Module)


class Block(nn.Module):
    """Of two convolutions or, as a bottleneck, of three."""

    def __init__(self, inputs: int, channels: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        out = 4 * channels if bottleneck else channels
        sides = (1, 3, 1) if bottleneck else (3, 3)
        self.count, before = len(sides), inputs
        for number, side in enumerate(sides, 1):
            after = out if number == len(sides) else channels
            step = stride if number == len(sides) - 1 else 1  # where it is 3x3, or the first
            conv = nn.Conv2d(before, after, side, step, padding=side // 2, bias=False)
            self.add_module(f"conv{number}", conv)
            self.add_module(f"bn{number}", nn.BatchNorm2d(after))
            before = after
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != out:
            conv = nn.Conv2d(inputs, out, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        for number in range(1, self.count + 1):
            x = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(x))
            x = F.relu(x if number < self.count else x + identity)
        return x


class ResNet(nn.Module):
    """Behind its last map torchvision's has a mean, and a dense layer `fc`."""

    def __init__(self, blocks: tuple[int, ...], *, bottleneck: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        before = 64
        for stage, count in enumerate(blocks):
            channels, made = 64 * 2**stage, list[nn.Module]()
            for block in range(count):
                made.append(Block(before, channels, 2 if stage and not block else 1, bottleneck))
                before = channels * (4 if bottleneck else 1)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*made))
        self.fc = nn.Linear(before, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, padding=1)
        for stage in (1, 2, 3, 4):
            x = getattr(self, f"layer{stage}")(x)
        return x


RESNETS = {
    "resnet18_bn": ((2, 2, 2, 2), False),
    "resnet34_bn": ((3, 4, 6, 3), False),
    "resnet50_bn": ((3, 4, 6, 3), True),
}
"""Blocks, and whether they are bottlenecks (He et al. 2016, table 1), by our names."""


def resnet(name: str) -> ResNet:
    blocks, bottleneck = RESNETS[name]
    return drawn(ResNet(blocks, bottleneck=bottleneck))


def drawn(network: Network) -> Network:
    """Give its normalisations numbers unlike a fresh one's."""
    generator = torch.Generator().manual_seed(4)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None and norm.running_var is not None
            for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
                tensor.copy_(torch.randn(len(tensor), generator=generator))
            norm.running_var.copy_(torch.rand(len(norm.bias), generator=generator) + 0.1)
            norm.weight.data[1], norm.weight.data[2] = 0.0, 1e-9
    return network.eval()
