"""What a foreign file does not say: labels, size and normalisation of the pictures.

Networks are trained on (x/255 − mean)/std, so with M = 255 mean and d = 255 std

    W ∗ (x − M)/d  =  (W/d) ∗ (x − M)

The graph subtracts M as float32 holds it or, with int8 weights, whole grey levels: `quantise` makes
up for the rest.

A network of one grey channel is given three weights a pixel, those of ITU-R 601 (as Pillow's "L"),
which add up to 1: a grey picture causes the current that it did.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from snn_export.fold import Array, Synapse
from snn_export.importers.layers import (
    Fired,
    Flattened,
    Layers,
    Scaled,
    Weighted,
    unsupported,
)
from snn_runtime.errors import UsageError
from snn_runtime.graph import INPUT, Fit, Image
from snn_runtime.graph.projection import ungrouped
from snn_runtime.graph.values import MAX_SIDE

GREY = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Picture:
    """How pixels become what the network was trained on."""

    labels: tuple[str, ...]
    height: int
    width: int
    mean: tuple[float, float, float]
    """M, in grey levels."""
    deviation: tuple[float, float, float]
    """d, in grey levels."""
    fit: Fit = "crop"

    @classmethod
    def of(
        cls,
        labels: tuple[str, ...],
        size: tuple[int, int],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        fit: Fit = "crop",
    ) -> "Picture":
        """Take mean and std as they are written: in units of 1, or of 255 if one is above 1.

        Raises:
            UsageError: `bad_flag`.
        """
        if not all(1 <= side <= MAX_SIDE for side in size):
            raise UsageError(
                "bad_flag",
                f"--image-size: is {size[0]}x{size[1]}, expected 1 to {MAX_SIDE} a side",
            )
        for flag, values in (("--mean", mean), ("--std", std)):
            if len(values) not in (1, 3):
                raise UsageError("bad_flag", f"{flag}: has {len(values)} values, expected 1 or 3")
            if not np.isfinite(values).all() or min(values) < 0 or max(values) > 255:
                raise UsageError("bad_flag", f"{flag}: {values} is not between 0 and 255")
        if min(std) == 0:
            raise UsageError("bad_flag", f"--std: {std} holds a zero, nothing can be divided by it")
        unit = 1.0 if max(*mean, *std) > 1 else 255.0
        centre, spread = _three(mean, unit), _three(std, unit)
        return cls(labels, *size, centre, spread, fit)

    @property
    def image(self) -> Image:
        return Image(self.height, self.width, self.mean, self.fit)

    def tensor(self, images: Tensor, channels: int) -> Tensor:
        """Return float32 `(N, channels, H, W)` for uint8 `(N, H, W, 3)`, without folding."""
        pixels = images.to(torch.float64) @ torch.from_numpy(_mixing(channels).T)
        mean, deviation = (
            torch.tensor(v[:channels], dtype=torch.float64) for v in (self.mean, self.deviation)
        )
        normalised: Tensor = ((pixels - mean) / deviation).float()
        # A copy: one channel's strides are ambiguous, and torch would go on with channels last.
        return normalised.permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format)

    def on_pixels(self, synapse: Synapse, channels: int) -> Synapse:
        """Return the synapse on `x − M` that does what `synapse` does on normalised pixels."""
        weight = synapse.weight
        flat = weight.ndim == 2
        if flat:
            weight = weight.reshape(len(weight), channels, self.height, self.width)
        weight = ungrouped(weight, synapse.groups)
        per_pixel = _mixing(channels) / np.array(self.deviation[:channels])[:, None]  # (C, 3)
        weight = np.einsum("ochw,cp->ophw", weight, per_pixel)
        weight = weight.reshape(len(weight), -1) if flat else weight
        return replace(synapse, weight=weight, groups=1)


def _three(values: tuple[float, ...], unit: float) -> tuple[float, float, float]:
    first, second, third = (values[0],) * 3 if len(values) == 1 else values
    return first * unit, second * unit, third * unit


def _mixing(channels: int) -> Array:
    """`[channels, 3]`: what each channel of the network takes of red, green and blue."""
    return np.array([GREY]) if channels == 1 else np.eye(3)


def colours(network: Layers, picture: Picture) -> int:
    """Colours of the picture.

    Raises:
        ModelError: `unsupported`: neither 1 nor 3.
        UsageError: `bad_flag`: one, which is normalised as three.
    """
    channels = network.channels or _read(network, picture)
    for flag, values in (("--mean", picture.mean), ("--std", picture.deviation)):
        if channels == 1 and len(set(values)) > 1:
            raise UsageError(
                "bad_flag", f"{flag}: has 3 values, and one grey channel takes one {flag}"
            )
    return channels


def _read(network: Layers, picture: Picture) -> int:
    """What the first weights read, behind whatever hands channels on."""
    readers, pixels = {INPUT}, picture.height * picture.width
    for layer in network.layers:
        if isinstance(layer, (Flattened, Scaled, Fired)) and layer.source in readers:
            readers.add(layer.name)
        elif isinstance(layer, Weighted) and layer.source in readers:
            inputs = int(layer.weight.shape[1])
            dense = layer.weight.ndim == 2
            channels = inputs // pixels if dense else inputs * layer.groups
            whole = not dense or inputs % pixels == 0
            if channels not in (1, 3) or not whole:
                what = f"{inputs} values" if dense else f"{channels} channels"
                size = f"{picture.height}x{picture.width}"
                raise unsupported(
                    layer.name,
                    f"takes {what}, a picture of {size} has 1 or 3 channels of it; is "
                    "--image-size right?",
                )
            return channels
    return 3
