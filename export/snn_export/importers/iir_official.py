"""The IIR-SNN authors' checkpoints (Chowdhury et al., ECCV 2022) at T = 1: VGG and wide ResNet.

Their forward pass, and what is left of it at one timestep from a membrane of zero:

    V ← λ V + W s + b;   u = V/θ − 1;   s = 1 if u > 0        =>      s = 1 if W s + b > θ   (θ > 0)

The leak λ multiplies nothing, the reset comes too late to matter. A file holds weights and no
program: what stands between them comes from the authors' code.

    features.{0,3,6,…}    conv, neuron, dropout or pool: three places, the conv's is the neuron's
    classifier.{0,3,…}    linear, neuron, dropout; the last is the readout; no biases
    threshold.t{n}        n counts places through features, then classifier; leak.l{n} the same

VGG pools spikes by a mean of 2×2, where `VGG` says; no two VGGs have as many convolutions.

ResNet: pre_process.{0,3,6}, a pool, then layer{1..4}.{block}: residual.{0,3} joined by identity.0,
a 1×1 convolution, or by the block's input itself; thresholds t{0,3,6}, then one a convolution.
"""

import re
from pathlib import Path
from typing import Any

from snn_export.importers.foreign import Foreign
from snn_export.importers.iir_layers import Reader, refuse
from snn_export.importers.layers import Joined, Layers, Pooled, Weighted
from snn_export.importers.picture import Picture
from snn_export.importers.torch_file import array, read
from snn_export.pools import Window
from snn_train.torch_zip import unwrapped_state

MARK = b"threshold.t0"
"""A word that only these files hold."""

VGG: tuple[tuple[int | str, ...], ...] = (
    (64, "A", 128, "A"),
    (64, "A", 128, 128, "A"),
    (64, "A", 128, 256, "A", 256, 512, "A", 512, "A", 512),
    (64, "A", 128, 256, "A", 512, 512, "A", 512, "A", 512, 512),
    (64, 64, "A", 128, 128, "A", 256, 256, "A", 512, 512, 512, "A", 512),
    (64, 64, "A", 128, 128, "A", *[256] * 3, "A", *[512] * 3, "A", *[512] * 3),
    (64, 64, "A", 128, 128, "A", *[256] * 4, "A", *[512] * 4, "A", *[512] * 4),
)
"""VGG 4, 5, 9, 11, 13, 16, 19: channels of 3×3 convolutions, or all times one factor; "A" pools."""

DATA_SETS = {(28, 28): (1, False), (32, 32): (3, False), (224, 224): (3, True)}
"""Pictures of MNIST, CIFAR and ImageNet: their channels, and whether VGG pools once more behind its
last convolution."""


def tensors(path: Path) -> dict[str, Any]:
    """Return the tensors in a file, which is one of the authors' at T = 1 if any.

    Raises:
        ModelError: it is not; an ANN; another T.
    """
    content = read(path)
    state = content.get("state_dict")
    if not isinstance(state, dict):
        raise refuse(path, "has no 'state_dict'")
    named = unwrapped_state(path, state)
    if not any(key.startswith("threshold.") for key in named):
        raise refuse(path, "has no thresholds: it is an ANN; train it down to T=1 first")
    _check_timesteps(path, content)
    return named


def from_tensors(path: Path, held: dict[str, Any], picture: Picture) -> Foreign:
    """Return the network in one of the authors' files, which holds what `tensors` gave.

    Raises:
        ModelError: thresholds ≤ 0, keys missing or left over, wrong shapes.
    """
    reader = Reader(path, {key: array(key, value) for key, value in held.items()})
    resnet = reader.has("pre_process.0.weight")
    layers = _resnet(reader, picture) if resnet else _vgg(reader, picture)
    reader.check_all_read()
    return Foreign.of_data("iir-official", layers, picture)


def _check_timesteps(path: Path, content: dict[str, Any]) -> None:
    timesteps = content.get("timesteps")
    if timesteps is not None and type(timesteps) is not int:
        kind = type(timesteps).__name__
        raise refuse(path, f"its timesteps are a {kind}, expected the whole number 1")
    if timesteps != 1:
        found = "does not say its timesteps" if timesteps is None else f"is at T={timesteps}"
        raise refuse(path, f"{found}, export needs T=1; train it further")


def _vgg(reader: Reader, picture: Picture) -> Layers:
    pools_last = _check_picture(reader, "VGG", "features.0.weight", picture)
    number = 0
    for item in (*_vgg_plan(reader), *(["A"] if pools_last else [])):
        if item == "A":
            reader.add(Pooled(f"pool{number}", reader.last, "average", Window.tile(2)))
        else:
            position = 3 * number
            reader.convolution(f"features.{position}", reader.last)
            number += 1
            reader.fire(f"conv{number}", position)
    reader.check_readers_of_the_map(picture)
    return _classifier(reader, 2 if number == 2 else 3, 3 * number)


def _check_picture(reader: Reader, network: str, first: str, picture: Picture) -> bool:
    """Return whether VGG pools once more; their code knows three sizes of pictures, and no other.

    Args:
        first: the key of the weights that read the picture.

    A map of ImageNet's and one of smaller pictures with a pool less can have the same size, so that
    the weights do not tell them apart.
    """
    size = (picture.height, picture.width)
    channels, pools_last = DATA_SETS.get(size, (0, False))
    found = reader.tensor(first, 4).shape[1]
    if found != channels:
        raise refuse(
            reader.path,
            f"{network} for pictures of {size[0]}x{size[1]} in {found} channels is none of the "
            "authors', expected --image-size 28x28 in 1 (MNIST), 32x32 in 3 (CIFAR) or 224x224 in "
            "3 (ImageNet)",
        )
    return pools_last


def _vgg_plan(reader: Reader) -> tuple[int | str, ...]:
    places = reader.positions("features")
    plans = {sum(isinstance(c, int) for c in plan): plan for plan in VGG}
    plan = plans.get(len(places))
    if plan is None or places != list(range(0, 3 * len(places), 3)):
        raise refuse(
            reader.path,
            f"has convolutions at features.{places}, expected {sorted(plans)} of them, at every "
            "third place; a file with BatchNorm is an ANN before its fusion",
        )
    found = [len(reader.tensor(f"features.{place}.weight", 4)) for place in places]
    published = [channels for channels in plan if isinstance(channels, int)]
    if [64 * channels for channels in found] != [found[0] * channels for channels in published]:
        raise refuse(
            reader.path,
            f"has convolutions of {found} channels, expected the authors' {published}, or those "
            "times one factor",
        )
    return plan


def _resnet(reader: Reader, picture: Picture) -> Layers:
    _check_picture(reader, "ResNet", "pre_process.0.weight", picture)
    for number, position in enumerate((0, 3, 6), 1):
        reader.convolution(f"pre_process.{position}", reader.last)
        reader.fire(f"stem{number}", position)
    reader.add(Pooled("pool", reader.last, "average", Window.tile(2)))
    position = 9
    for stage in range(1, 5):
        for block in range(len(_blocks(reader, stage))):
            _block(reader, f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1, position)
            position += 2
    return _classifier(reader, 1)


def _block(reader: Reader, key: str, stride: int, position: int) -> None:
    source = reader.last
    reader.convolution(f"{key}.residual.0", source, stride=stride)
    reader.fire(f"{key}.neuron1", position)
    main = reader.convolution(f"{key}.residual.3", reader.last)
    shortcut = source
    if reader.has(f"{key}.identity.0.weight"):
        shortcut = reader.convolution(f"{key}.identity.0", source, kernel=1, stride=stride)
    reader.add(Joined(f"{key}.sum", (main, shortcut)))
    reader.fire(f"{key}.neuron2", position + 1)


def _blocks(reader: Reader, stage: int) -> set[str]:
    found = {
        match[1] for key in reader.tensors if (match := re.match(rf"layer{stage}\.(\d+)\.", key))
    }
    if not found:
        raise refuse(reader.path, f"has no 'layer{stage}.0.residual.0.weight'")
    return found


def _classifier(reader: Reader, count: int, features: int = 0) -> Layers:
    """`count` dense layers, all but the last with neurons; `features` places stand before them."""
    places, expected = reader.positions("classifier"), list(range(0, 3 * count, 3))
    if places != expected:
        raise refuse(reader.path, f"has dense layers at classifier.{places}, expected {expected}")
    for number, place in enumerate(places, 1):
        key = f"classifier.{place}"
        reader.add(Weighted(key, reader.last, reader.tensor(f"{key}.weight", 2)))
        if number < count:
            reader.fire(f"dense{number}", features + place)
    return Layers(tuple(reader.layers), reader.last)
