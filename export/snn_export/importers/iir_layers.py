"""The tensors of one of the IIR-SNN authors' files, read one by one into layers."""

import re
from pathlib import Path

from snn_export.fold import Array
from snn_export.importers.layers import Fired, Layer, Pooled, Weighted
from snn_export.importers.picture import Picture
from snn_runtime.errors import ModelError
from snn_runtime.graph import INPUT


class Reader:
    """The tensors of a file, each to be read once; one that is not read is an error."""

    def __init__(self, path: Path, tensors: dict[str, Array]) -> None:
        self.path, self.tensors = path, tensors
        self.read: set[str] = set()
        self.layers: list[Layer] = []
        self.last = INPUT

    def has(self, key: str) -> bool:
        return key in self.tensors

    def tensor(self, key: str, dimensions: int) -> Array:
        if key not in self.tensors:
            raise refuse(self.path, f"has no {key!r}")
        tensor = self.tensors[key]
        if tensor.ndim != dimensions:
            raise refuse(
                self.path, f"{key} has shape {tensor.shape}, expected {dimensions} dimensions"
            )
        self.read.add(key)
        return tensor

    def convolution(self, key: str, source: str, *, kernel: int = 3, stride: int = 1) -> str:
        """Add a convolution that keeps the size, apart from its stride; a bias if there is one."""
        weight = self.tensor(f"{key}.weight", 4)
        if weight.shape[2:] != (kernel, kernel):
            raise refuse(
                self.path, f"{key}.weight has shape {weight.shape}, expected {kernel}x{kernel}"
            )
        bias = self.tensor(f"{key}.bias", 1) if self.has(f"{key}.bias") else None
        if bias is not None and len(bias) != len(weight):
            raise refuse(self.path, f"{key}.bias has {len(bias)} values for {len(weight)}")
        pads = (kernel // 2, kernel // 2)
        return self.add(Weighted(key, source, weight, bias, (stride, stride), pads))

    def fire(self, name: str, position: int) -> None:
        """Add the neurons whose threshold stands at `position`."""
        threshold = self.tensor(f"threshold.t{position}", self._scalar(f"threshold.t{position}"))
        self.tensor(f"leak.l{position}", self._scalar(f"leak.l{position}"))
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

    def positions(self, group: str) -> list[int]:
        """The places in `group` that hold weights, in order."""
        matches = (re.fullmatch(rf"{group}\.(\d+)\.weight", key) for key in self.tensors)
        return sorted(int(match[1]) for match in matches if match)

    def check_readers_of_the_map(self, picture: Picture) -> None:
        """Raises: ModelError: the first dense layer takes other than what the pools leave."""
        pools = sum(isinstance(layer, Pooled) for layer in self.layers)
        height, width = picture.height >> pools, picture.width >> pools
        channels = [len(la.weight) for la in self.layers if isinstance(la, Weighted)][-1]
        inputs = self.tensor("classifier.0.weight", 2).shape[1]
        if inputs != channels * height * width:
            raise refuse(
                self.path,
                f"classifier.0 takes {inputs} values, pictures of {picture.height}x{picture.width} "
                f"leave {channels}x{height}x{width}; is --image-size right?",
            )

    def check_all_read(self) -> None:
        left = sorted(self.tensors.keys() - self.read)
        if left:
            raise refuse(self.path, f"holds {left[0]!r}, which no layer of this network has")

    def _scalar(self, key: str) -> int:
        """Thresholds are one number a layer, as `[]` or `[1]`."""
        tensor = self.tensors.get(key)
        if tensor is not None and tensor.size != 1:
            raise refuse(
                self.path, f"{key} has shape {tensor.shape}, expected one number for the layer"
            )
        return 0 if tensor is None else tensor.ndim


def refuse(path: Path, problem: str) -> ModelError:
    """A file that is not as the authors' code writes it."""
    return ModelError("bad_checkpoint", f"{path}: {problem}")
