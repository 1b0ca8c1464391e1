"""The IIR-SNN authors' checkpoints (Chowdhury et al., ECCV 2022) at T = 1: VGG and wide ResNet.

Their forward pass, and what is left of it at one timestep from a membrane of zero:

    V ← λ V + W s + b;   u = V/θ − 1;   s = 1 if u > 0        =>      s = 1 if W s + b > θ   (θ > 0)

The leak λ multiplies nothing, the reset comes too late to matter. VGG pools spikes by a mean; where
it does is not in the file, but follows from the number of convolutions, which no two VGGs share:

    features.{0,3,6,…}    conv, neuron, dropout or pool: three places, the conv's is the neuron's
    classifier.{0,3,…}    linear, neuron, dropout; the last is the readout; no biases
    threshold.t{n}        n counts places through features, then classifier; leak.l{n} the same

ResNet: pre_process.{0,3,6}, a pool, then layer{1..4}.{block}: residual.{0,3} joined by identity.0,
a 1×1 convolution, or by the block's input itself; thresholds t{0,3,6}, then one a convolution.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from snn_export.fold import Array
from snn_export.importers.foreign import Foreign
from snn_export.importers.layers import Fired, Joined, Layer, Layers, Pooled, Weighted
from snn_export.importers.picture import Picture
from snn_export.importers.torch_file import array, read
from snn_runtime.errors import ModelError
from snn_runtime.graph import INPUT
from snn_train.layout import VGG

MARK = b"threshold.t0"
"""A word that only these files hold."""


def load(path: Path, picture: Picture) -> Foreign:
    """Return the network in one of the authors' files.

    Raises:
        ModelError: not at T = 1, an ANN, thresholds ≤ 0, keys missing or left over, wrong shapes.
    """
    content = read(path)
    state = content.get("state_dict")
    if not isinstance(state, dict):
        raise _refuse(path, "has no 'state_dict'")
    tensors = {str(key).removeprefix("module."): value for key, value in state.items()}
    if not any(key.startswith("threshold.") for key in tensors):
        raise _refuse(path, "has no thresholds: it is an ANN; train it down to T=1 first")
    _check_timesteps(path, content)
    reader = _Reader(path, {key: array(key, value) for key, value in tensors.items()})
    layers = _resnet(reader) if reader.has("pre_process.0.weight") else _vgg(reader, picture)
    reader.check_all_read()
    return Foreign.of_data("iir-official", layers, picture)


def _check_timesteps(path: Path, content: dict[str, Any]) -> None:
    timesteps = content.get("timesteps")
    if timesteps != 1:
        found = "does not say its timesteps" if timesteps is None else f"is at T={timesteps}"
        raise _refuse(path, f"{found}, export needs T=1; train it further")


class _Reader:
    """The tensors of a file, each to be asked for; what nobody asks for is an error."""

    def __init__(self, path: Path, tensors: dict[str, Array]) -> None:
        self.path, self.tensors = path, tensors
        self.read: set[str] = set()
        self.layers: list[Layer] = []
        self.last = INPUT

    def has(self, key: str) -> bool:
        return key in self.tensors

    def take(self, key: str, dimensions: int) -> Array:
        if key not in self.tensors:
            raise _refuse(self.path, f"has no {key!r}")
        tensor = self.tensors[key]
        if tensor.ndim != dimensions:
            raise _refuse(
                self.path, f"{key} has shape {tensor.shape}, expected {dimensions} dimensions"
            )
        self.read.add(key)
        return tensor

    def convolution(self, key: str, source: str, *, kernel: int = 3, stride: int = 1) -> str:
        """Add a convolution that keeps the size, apart from its stride; a bias if there is one."""
        weight = self.take(f"{key}.weight", 4)
        if weight.shape[2:] != (kernel, kernel):
            raise _refuse(
                self.path, f"{key}.weight has shape {weight.shape}, expected {kernel}x{kernel}"
            )
        bias = self.take(f"{key}.bias", 1) if self.has(f"{key}.bias") else None
        if bias is not None and len(bias) != len(weight):
            raise _refuse(self.path, f"{key}.bias has {len(bias)} values for {len(weight)}")
        pads = (kernel // 2, kernel // 2)
        return self.add(Weighted(key, source, weight, bias, (stride, stride), pads))

    def fire(self, name: str, position: int) -> None:
        """Add the neurons whose threshold stands at `position`."""
        threshold = self.take(f"threshold.t{position}", self._scalar(f"threshold.t{position}"))
        self.take(f"leak.l{position}", self._scalar(f"leak.l{position}"))
        if (threshold <= 0).any():
            raise ModelError(
                "bad_threshold",
                f"{name}: threshold {float(threshold.min()):g} is not positive: the authors divide "
                "by it, which would turn the comparison around; train it further",
            )
        one, zero = threshold**0, threshold * 0
        self.add(Fired(name, self.last, threshold, one, zero))

    def add(self, layer: Layer) -> str:
        self.layers.append(layer)
        self.last = layer.name
        return layer.name

    def check_all_read(self) -> None:
        left = sorted(self.tensors.keys() - self.read)
        if left:
            raise _refuse(self.path, f"holds {left[0]!r}, which no layer of this network has")

    def _scalar(self, key: str) -> int:
        """Thresholds are one number a layer, as `[]` or `[1]`."""
        tensor = self.tensors.get(key)
        if tensor is not None and tensor.size != 1:
            raise _refuse(
                self.path, f"{key} has shape {tensor.shape}, expected one number for the layer"
            )
        return 0 if tensor is None else tensor.ndim


def _vgg(reader: _Reader, picture: Picture) -> Layers:
    convolutions = list(_positions(reader, "features"))
    plans = {sum(isinstance(c, int) for c in plan): plan for plan in VGG.values()}
    plan = plans.get(len(convolutions))
    if plan is None or convolutions != list(range(0, 3 * len(convolutions), 3)):
        raise _refuse(
            reader.path,
            f"has convolutions at features.{convolutions}, expected {sorted(plans)} of them, at "
            "every third place; a file with BatchNorm is an ANN before its fusion",
        )
    height, width = picture.height, picture.width
    number = 0
    for item in plan:
        if item == "A":
            reader.add(Pooled(f"pool{number}", reader.last, "average", 2))
            height, width = height // 2, width // 2
        else:
            position = 3 * number
            reader.convolution(f"features.{position}", reader.last)
            number += 1
            reader.fire(f"conv{number}", position)
    _pool_for_classifier(reader, height, width, picture)
    return _classifier(reader, 3 * len(convolutions))


def _pool_for_classifier(reader: _Reader, height: int, width: int, picture: Picture) -> None:
    """ImageNet's VGG pools once more; the readers of the last map tell by their size."""
    weight = reader.tensors.get("classifier.0.weight")
    channels = len(next(la.weight for la in reversed(reader.layers) if isinstance(la, Weighted)))
    inputs = weight.shape[1] if weight is not None and weight.ndim == 2 else 0
    if inputs == channels * (height // 2) * (width // 2) != channels * height * width:
        reader.add(Pooled("pool", reader.last, "average", 2))
    elif inputs != channels * height * width:
        raise _refuse(
            reader.path,
            f"classifier.0 takes {inputs} values, pictures of {picture.height}x{picture.width} "
            f"leave {channels}x{height}x{width}; is --image-size right?",
        )


def _resnet(reader: _Reader) -> Layers:
    for number, position in enumerate((0, 3, 6), 1):
        reader.convolution(f"pre_process.{position}", reader.last)
        reader.fire(f"stem{number}", position)
    reader.add(Pooled("pool", reader.last, "average", 2))
    position = 9
    for stage in range(1, 5):
        for block in range(len(_blocks(reader, stage))):
            _block(reader, f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1, position)
            position += 2
    return _classifier(reader, None)


def _block(reader: _Reader, key: str, stride: int, position: int) -> None:
    source = reader.last
    reader.convolution(f"{key}.residual.0", source, stride=stride)
    reader.fire(f"{key}.neuron1", position)
    main = reader.convolution(f"{key}.residual.3", reader.last)
    shortcut = source
    if reader.has(f"{key}.identity.0.weight"):
        shortcut = reader.convolution(f"{key}.identity.0", source, kernel=1, stride=stride)
    reader.add(Joined(f"{key}.sum", (main, shortcut)))
    reader.fire(f"{key}.neuron2", position + 1)


def _blocks(reader: _Reader, stage: int) -> set[str]:
    found = {
        match[1] for key in reader.tensors if (match := re.match(rf"layer{stage}\.(\d+)\.", key))
    }
    if not found:
        raise _refuse(reader.path, f"has no 'layer{stage}.0.residual.0.weight'")
    return found


def _classifier(reader: _Reader, features: int | None) -> Layers:
    """Dense layers: all but the last have neurons, and none but VGG's has more than the last."""
    positions = list(_positions(reader, "classifier"))
    if not positions or (features is None and positions != [0]):
        raise _refuse(reader.path, f"has dense layers at classifier.{positions}, expected 0")
    for number, position in enumerate(positions, 1):
        key = f"classifier.{position}"
        reader.add(Weighted(key, reader.last, reader.take(f"{key}.weight", 2)))
        if number < len(positions) and features is not None:
            reader.fire(f"dense{number}", features + position)
    return Layers(tuple(reader.layers), reader.last)


def _positions(reader: _Reader, group: str) -> Iterator[int]:
    matches = (re.fullmatch(rf"{group}\.(\d+)\.weight", key) for key in reader.tensors)
    yield from sorted(int(match[1]) for match in matches if match)


def _refuse(path: Path, problem: str) -> ModelError:
    return ModelError("bad_checkpoint", f"{path}: {problem}")
