"""The benchmark's networks with random weights: VGG16 and the paper's wide ResNet-20.

The layers are those of the trainer's `layout`, which a test compares with these; a runtime alone
has no trainer. Thresholds are placeholders until `rates` sets them.
"""

from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal, get_args

import numpy as np

from snn_runtime.graph import (
    INPUT,
    Builder,
    FloatArray,
    Image,
    Population,
    Projection,
    SpikingGraph,
    Weights,
)

Topology = Literal["vgg16", "resnet20", "vgg16-224"]
Pooling = Literal["max", "average"]
TOPOLOGIES: tuple[Topology, ...] = get_args(Topology)

VGG16: tuple[int, ...] = (64, 64, 0, 128, 128, 0, *[256] * 3, 0, *[512] * 3, 0, *[512] * 3)
"""Channels of 3×3 convolutions; 0 halves the map."""
STAGES = (64, 128, 256, 512)
"""Channels of ResNet-20's four stages, two blocks each, behind a stem of three convolutions."""
LARGEST_MAP = 7
"""The last map is pooled to at most this many pixels a side."""
HIDDEN = 4096
"""Units of each of the two dense layers of the paper's recipe and of VGG16 at 224 pixels."""
DEVIATIONS = 3.6
"""Standard deviations from zero to a channel's largest weight: that of some 3,000 Gaussians."""
OFFSET = (120, 115, 104)


@dataclass(frozen=True)
class Design:
    """A network to be built."""

    topology: Topology
    pooling: Pooling = "max"
    """`max` as in recipe `iir-bn`; `average` as in the paper's, a sum of spikes in the graph."""
    hidden: int | None = None
    """Units of the two dense layers, 0 for none; None is as published: 4096 in VGG16, but none in
    recipe `iir-bn` at 32 pixels, and none in ResNet-20."""
    width: float = 1.0
    """Factor on all channels and hidden units."""
    weight_bits: int = 8
    """Bits of every weight, as `train-snn --int-bits` leaves them: 8, 6 or 4."""

    @property
    def name(self) -> str:
        """As reports call it."""
        parts = [self.topology, f"{self.pooling} pooling"]
        parts += [f"{self.units} hidden units"] if self.units else []
        parts += [f"width {self.width:g}"] if self.width != 1 else []
        parts += [f"{self.weight_bits}-bit weights"] if self.weight_bits != 8 else []
        return ", ".join(parts)

    @property
    def units(self) -> int:
        """Hidden units, None resolved and the width applied."""
        given = self.hidden
        if given is None:
            published = {"vgg16": HIDDEN if self.pooling == "average" else 0, "resnet20": 0}
            given = published.get(self.topology, HIDDEN)
        return max(1, round(given * self.width)) if given else 0

    @property
    def largest_weight(self) -> int:
        return (1 << (self.weight_bits - 1)) - 1

    @property
    def side(self) -> int:
        """Pixels a side of the picture."""
        return 224 if self.topology == "vgg16-224" else 32

    @property
    def classes(self) -> int:
        return 1000 if self.topology == "vgg16-224" else 10


def build(design: Design, rate: float, seed: int = 0) -> SpikingGraph:
    """Return the network with random weights fit for spikes that come at `rate` (0 to 1)."""
    layers = _Layers(design, rate, np.random.default_rng(seed))
    if design.topology == "resnet20":
        _resnet20(layers)
    else:
        _vgg16(layers)
    layers.shrink(-(-layers.shape[1] // LARGEST_MAP))
    for index in range(2 if design.units else 0):
        layers.dense(f"dense{index + 1}", design.units)
    labels = tuple(f"class {index}" for index in range(design.classes))
    weight = layers.weight(len(labels), int(np.prod(layers.shape)))
    scale, bias = np.full(len(labels), 1e-3, np.float32), np.zeros(len(labels), np.float32)
    return layers.graph(weight, scale, bias, labels)


def _vgg16(layers: "_Layers") -> None:
    number = 0
    for channels in VGG16:
        if channels:
            number += 1
            layers.convolution(f"conv{number}", channels)
        else:
            layers.shrink(2)


def _resnet20(layers: "_Layers") -> None:
    for index in range(3):
        layers.convolution(f"stem{index + 1}", STAGES[0])
    layers.shrink(2)
    for stage, channels in enumerate(STAGES, 1):
        for block in (1, 2):
            stride = 2 if stage > 1 and block == 1 else 1
            layers.block(f"stage{stage}.block{block}", channels, stride)


class _Layers(Builder):
    """A network that grows layer by layer."""

    def __init__(self, design: Design, rate: float, rng: np.random.Generator) -> None:
        super().__init__(Image(design.side, design.side, OFFSET))
        self.design, self.rate, self.rng = design, rate, rng

    def weight(self, out: int, *fan_in: int) -> Weights:
        """Gaussians whose largest in each channel fills its bits, slightly inhibitory on balance.

        With n = rate · fan-in spikes a current is N(μn, σ²n) and fires beyond z(rate) deviations.
        A picture with more spikes than others would fire more and more of them, layer after
        layer, but for μ = −zσ / 2√n, where the rate does not depend on n to first order.
        """
        weight = self.rng.standard_normal((out, *fan_in), np.float32)
        if self.last != INPUT:
            deviations = NormalDist().inv_cdf(1 - min(self.rate, 0.5))
            weight -= deviations / (2 * np.sqrt(self.rate * np.prod(fan_in)))
        most = self.design.largest_weight
        weight *= most / DEVIATIONS
        rows = weight.reshape(out, -1)
        largest = np.abs(rows).argmax(axis=1)
        edge = np.copysign(most, rows[np.arange(out), largest])
        np.clip(np.rint(rows, out=rows), -most, most, out=rows)
        rows[np.arange(out), largest] = edge
        return weight.astype(np.int8)

    def convolution(self, name: str, channels: int, stride: int = 1) -> None:
        """A 3×3 convolution of the last layer."""
        out = max(1, round(channels * self.design.width))
        weight = self.weight(out, self.shape[0], 3, 3)
        self.neurons(name, weight, placeholder(out), stride=(stride, stride), padding=(1, 1))

    def block(self, name: str, channels: int, stride: int) -> None:
        """Two convolutions, the second joined by the current of the block's input."""
        source, inputs = self.last, self.shape[0]
        self.convolution(f"{name}.conv1", channels, stride)
        self.convolution(f"{name}.conv2", channels)
        out = self.shape[0]
        if stride == 1 and inputs == out:
            identity = np.full((out, 1, 1, 1), self.design.largest_weight, np.int8)
            shortcut = Projection(source, identity, groups=out)
        else:
            shortcut = Projection(source, self.weight(out, inputs, 1, 1), (stride, stride))
        last = self.nodes[-1]
        assert isinstance(last, Population)
        self.nodes[-1] = replace(last, projections=(*last.projections, shortcut))

    def dense(self, name: str, units: int) -> None:
        self.neurons(name, self.weight(units, int(np.prod(self.shape))), placeholder(units))

    def shrink(self, window: int) -> None:
        """Pool the last layer, unless its map is smaller than the window."""
        if window > 1 and min(self.shape[1:]) >= window:
            kind: Literal["max", "sum"] = "max" if self.design.pooling == "max" else "sum"
            self.pool(f"{self.last}.pool", kind, window)


def placeholder(channels: int) -> FloatArray:
    return np.full(channels, 0.5, np.float32)
