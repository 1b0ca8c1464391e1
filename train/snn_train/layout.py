"""Which layers a network has, as plain data."""

from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from snn_train.choices import LARGEST_WIDTH, LEAST_SIDE, SMALLEST, RecipeName
from snn_train.families import NETWORKS, RESNET, RESNET_BN, VGG

LARGEST_MAP = 7
"""The last map is pooled to at most this many pixels a side, as VGG does at 224 pixels."""


@dataclass(frozen=True)
class Architecture:
    """All that is needed to build the network again."""

    network: str = "vgg9"
    """A name of `families.NETWORKS`."""
    recipe: RecipeName = "iir-bn"
    width: float = 1.0
    """Factor on every convolution's channels."""
    hidden: int = 0
    """Neurons in each of the two dense layers before the readout; 0 for none."""
    classes: int = 10
    image_height: int = 32
    image_width: int = 32
    surrogate: str = "rectangle"
    dropout: float = 0.0
    """After every population, one mask for all timesteps."""
    levels: int = 1  # thresholds of a neuron


IMAGE = "image"
"""The source of the first population."""


@dataclass(frozen=True)
class LayerPlan:
    """One population: where its input comes from, and its shape."""

    name: str
    source: str
    kind: Literal["conv", "dense"]
    inputs: int
    """Channels of the source, or values for a dense layer."""
    channels: int
    height: int
    """Rows of the current, before pooling; 1 for dense layers."""
    width: int
    kernel: int = 3
    """Side of the convolution's window."""
    stride: int = 1
    pool: int = 1
    """Side of the tiles that are pooled; 1 for none."""
    overlap: int = 0
    """Pixels by which a pooling window begins before its tile."""
    gain: bool = False
    """Whether normalisations have a gain of their own, and come before the pool."""
    shortcut: str = ""
    """A second source whose current is added."""
    shortcut_channels: int = 0
    shortcut_stride: int = 1

    @property
    def padding(self) -> int:
        """Pixels around the map, so that an odd window's centre meets every pixel."""
        return _border(self.kernel)

    @property
    def projects(self) -> bool:
        """Whether the shortcut needs a 1×1 convolution to fit."""
        return self.shortcut_stride != 1 or self.shortcut_channels != self.channels

    @property
    def sent_positions(self) -> int:
        """Positions of the map that leaves the layer."""
        sides = ((side + self.overlap) // self.pool for side in (self.height, self.width))
        return prod(sides)

    def costs(self) -> list[tuple[str, int]]:
        """(source, multiply-adds for one image and one timestep) of every projection."""
        if self.kind == "dense":
            return [(self.source, self.inputs * self.channels)]
        positions = self.channels * self.height * self.width
        costs = [(self.source, self.kernel**2 * self.inputs * positions)]
        if self.shortcut and self.projects:
            costs.append((self.shortcut, self.shortcut_channels * positions))
        return costs


def plan(network: str, width: float, hidden: int, size: tuple[int, int]) -> list[LayerPlan]:
    """Return the layers of `network` for images of `size` (height, width) pixels.

    Raises:
        ValueError: unknown network, a width that leaves no channel, images under 8×8.
    """
    if network not in NETWORKS:
        raise ValueError(f"network {network!r} is none of {', '.join(NETWORKS)}")
    if min(size) < LEAST_SIDE:
        raise ValueError(f"images of {size[0]}x{size[1]} are smaller than {SMALLEST}")
    if not 0 < width <= LARGEST_WIDTH:
        raise ValueError(f"width factor {width} is not in (0, {LARGEST_WIDTH}]")
    layers = _Stack(width, size)
    if network in VGG:
        _vgg(layers, VGG[network])
    elif network in RESNET:
        _resnet(layers, RESNET[network])
    else:
        _resnet_bn(layers, *RESNET_BN[network])
    layers.pool_to(LARGEST_MAP)
    for index in range(2 if hidden else 0):
        layers.dense(f"dense{index + 1}", hidden)
    return layers.plans


def check_neurons(network: str, recipe: RecipeName, levels: int) -> None:
    """Raises: ValueError: pooled spikes of such neurons would be no spikes in `network`."""
    if network in RESNET_BN and (recipe == "iir" or levels > 1):
        what = f"--levels {levels}" if levels > 1 else f"--recipe {recipe}"
        raise ValueError(
            f"--network {network}: its pool's windows overlap, which needs --recipe iir-bn and one "
            f"level, not {what}"
        )


def _border(kernel: int) -> int:
    return (kernel - 1) // 2


class _Stack:
    """Layers added one on another, keeping track of the map's shape."""

    def __init__(self, width: float, size: tuple[int, int]) -> None:
        self.factor = width
        self.height, self.width = size
        self.source, self.channels = IMAGE, 3
        self.gain = False
        self.plans: list[LayerPlan] = []

    def conv(self, name: str, channels: int, stride: int = 1, kernel: int = 3) -> None:
        """Add a convolution; behind a map too small for its window, one of 3×3 without a stride."""
        border = _border(kernel)
        if min(self.height, self.width) + 2 * border < kernel:
            border, stride, kernel = _border(3), 1, 3
        out = max(1, round(channels * self.factor))
        self.height = (self.height + 2 * border - kernel) // stride + 1
        self.width = (self.width + 2 * border - kernel) // stride + 1
        size = (self.height, self.width)
        described = LayerPlan(name, self.source, "conv", self.channels, out, *size, kernel, stride)
        self._add(replace(described, gain=self.gain))

    def block(self, name: str, *convolutions: tuple[int, int, int]) -> None:
        """Convolutions of so many channels, stride and side, the last one joined by the current of
        the block's input."""
        shortcut = self.plans[-1]
        for number, (channels, stride, kernel) in enumerate(convolutions, 1):
            self.conv(f"{name}.conv{number}", channels, stride, kernel)
        self.plans[-1] = replace(
            self.plans[-1],
            shortcut=shortcut.name,
            shortcut_channels=shortcut.channels,
            shortcut_stride=prod(stride for _, stride, _ in convolutions),
        )

    def dense(self, name: str, units: int) -> None:
        inputs = self.channels * self.height * self.width
        self.height = self.width = 1
        self._add(LayerPlan(name, self.source, "dense", inputs, units, 1, 1))

    def pool(self, window: int = 2) -> None:
        """Pool what the last layer sends; a map too small for the window stays as it is."""
        if min(self.height, self.width) < window:
            return
        last = self.plans[-1]
        self.plans[-1] = replace(last, pool=last.pool * window)
        self.height, self.width = self.height // window, self.width // window

    def overlapping_pool(self) -> None:
        """Pool windows of 3×3 pixels two apart, padded by one."""
        self.plans[-1] = replace(self.plans[-1], pool=2, overlap=1)
        self.height, self.width = -(-self.height // 2), -(-self.width // 2)

    def pool_to(self, largest: int) -> None:
        side = max(self.height, self.width)
        self.pool(-(-side // largest))

    def _add(self, layer: LayerPlan) -> None:
        self.plans.append(layer)
        self.source, self.channels = layer.name, layer.channels


def _vgg(layers: _Stack, config: list[int | str]) -> None:
    for before, item in zip(["", *config], config, strict=False):
        if isinstance(item, int):
            stride, kernel = {"S": (2, 3), "S4": (2, 4)}.get(str(before), (1, 3))
            layers.conv(f"conv{len(layers.plans) + 1}", item, stride, kernel)
        elif item == "A":
            layers.pool()


def _resnet(layers: _Stack, blocks: tuple[int, ...]) -> None:
    for index in range(3):
        layers.conv(f"stem{index + 1}", 64)
    layers.pool()
    _residual(layers, blocks)


def _resnet_bn(layers: _Stack, blocks: tuple[int, ...], bottleneck: bool) -> None:
    layers.gain = True
    layers.conv("stem", 64, stride=2, kernel=7)
    layers.overlapping_pool()
    _residual(layers, blocks, bottleneck)


def _residual(layers: _Stack, counts: tuple[int, ...], bottleneck: bool = False) -> None:
    for stage, count in enumerate(counts):
        for block in range(count):
            channels, stride = 64 * 2**stage, 2 if stage and not block else 1
            basic = ((channels, stride, 3), (channels, 1, 3))
            deep = ((channels, 1, 1), (channels, stride, 3), (4 * channels, 1, 1))
            layers.block(f"stage{stage + 1}.block{block + 1}", *(deep if bottleneck else basic))
