"""torchvision's `vgg11_bn`, `vgg13_bn`, `vgg16_bn` and `vgg19_bn`, as the ANN of this package.

There a layer is conv, normalisation with gain γ and shift β, ReLU, and perhaps pooling; here it is
conv, perhaps pooling, normalisation without a gain, ReLU. With s the sign of γ, b the bias of the
convolution, and a the factor by which the layer before was made smaller,

    relu(γ (W ∗ a h + b − μ)/σ + β) = |γ| relu((s W a ∗ h − s (μ − b))/σ + β/|γ|)

so that W′ = s W a, μ′ = s (μ − b), β′ = β/|γ|, and the next layer's a is |γ|. What is behind W′
grows with it, so the maximum over a window may be taken before: exact, but for rounding. A channel
whose γ is 0, or next to it, sends relu(β), whatever comes: W′ = 0, μ′ = 0, σ′ = 1, β′ = β, and its
a is 1.

The dense layers behind are left out: they are for a thousand classes of photographs at 224×224.
"""

import re

import torch
from torch import Tensor

from snn_train.families import VGG

NAMES = ("vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn")
EPSILON = 1e-5
"""Beside the variance, there as here."""
LEAST = 1e-6
"""Of |β|: a smaller |γ| changes nothing that rounding leaves, and dividing by it would."""


def weights_of(state: dict[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """Return the network's name, and the layers' part of our ANN's state, in float32.

    Raises:
        ValueError: another network, said which, or numbers that are not finite.
    """
    places = sorted(
        int(found[1])
        for key, value in state.items()
        if (found := re.fullmatch(r"features\.(\d+)\.weight", key)) and value.dim() == 4
    )
    channels = [len(state[f"features.{place}.weight"]) for place in places]
    name = next((name for name in NAMES if channels == _channels(name)), None)
    if name is None or _places(name) != places:
        raise ValueError(f"has convolutions of {channels or 'no'} channels")
    weights: dict[str, Tensor] = {}
    before = torch.ones(3, dtype=torch.float64)
    for number, place in enumerate(places):
        layer, before = _layer(state, place, before)
        weights |= {f"layers.{number}.{key}": value for key, value in layer.items()}
    return name, weights


def _channels(name: str) -> list[int]:
    return [item for item in VGG[name] if isinstance(item, int)]


def _places(name: str) -> list[int]:
    """Where the convolutions stand among the features: each is three of them, a pool is one."""
    found, place = [], 0
    for item in VGG[name]:
        if isinstance(item, int):
            found.append(place)
        place += 3 if isinstance(item, int) else 1
    return found


def _layer(
    state: dict[str, Tensor], place: int, before: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """A layer's part of our state, and its |γ|, `(O,)`; `before`, `(I,)`, is that of its source."""
    conv, norm = f"features.{place}", f"features.{place + 1}"
    try:
        weight, bias = state[f"{conv}.weight"].double(), state[f"{conv}.bias"].double()
        gain, shift, mean, variance = (
            state[f"{norm}.{key}"].double()
            for key in ("weight", "bias", "running_mean", "running_var")
        )
        size = gain.abs()
        dead = size <= LEAST * shift.abs()
        sign = torch.where(dead, torch.zeros_like(gain), gain.sign())
        size = torch.where(dead, torch.ones_like(size), size)
        layer = {
            "synapse.weight": weight * before.view(1, -1, 1, 1) * sign.view(-1, 1, 1, 1),
            "norm.running_mean": sign * (mean - bias),
            "norm.running_var": torch.where(dead, torch.full_like(size, 1 - EPSILON), variance),
            "norm.shift": shift / size,
        }
    except KeyError as error:
        raise ValueError(f"has no {error.args[0]}") from error
    except RuntimeError as error:
        raise ValueError(f"{norm} does not fit {conv} ({error})") from error
    expected = (len(weight), len(before), 3, 3)
    if tuple(weight.shape) != expected:  # those of one channel would do for each of three
        raise ValueError(f"{conv}.weight has shape {tuple(weight.shape)}, expected {expected}")
    for key, value in layer.items():
        if not bool(value.isfinite().all()):
            raise ValueError(f"{conv} makes a {key} that is not finite")
    return {key: value.float() for key, value in layer.items()}, size
