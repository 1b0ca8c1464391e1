"""What is trained on what: fixed for a whole run, and described in every checkpoint of it."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from snn_runtime.image import Fit
from snn_train.augment import Normalisation
from snn_train.data import DataSet
from snn_train.integer import IntegerNetwork
from snn_train.network import Architecture, SpikingNetwork
from snn_train.on_disk import fingerprint
from snn_train.schedule import Settings


@dataclass(frozen=True)
class Experiment:
    """What is trained on what: fixed for the whole run."""

    architecture: Architecture
    settings: Settings
    data: str
    """As given to --data."""
    data_digest: str
    """SHA-256 of every pixel, or of a picture on disk its name, and label: a resumed run must see
    the same."""
    labels: tuple[str, ...]
    fit: Fit
    normalisation: Normalisation
    command: str

    def build(self, timesteps: int, bits: int) -> SpikingNetwork:
        """Return a new network for a stage; `bits` other than 0 for the integer stage."""
        if bits:
            return IntegerNetwork(self.architecture, bits, self.normalisation)
        return SpikingNetwork(self.architecture, timesteps)

    def restore(self, timesteps: int, bits: int, weights: Mapping[str, Any]) -> SpikingNetwork:
        """Return the network of a stage with the weights that a checkpoint holds of it.

        Raises:
            ValueError: `layout` has other layers today than the checkpoint was trained with.
            RuntimeError: the weights do not fit otherwise.
        """
        network = self.build(timesteps, bits)
        given, made = _layers(weights), _layers(network.state_dict())
        if given != made:
            raise ValueError(
                f"its {self.architecture.network} has {given} layers, this version's has {made}; "
                "train it again, or use the version that trained it"
            )
        network.load_state_dict(weights)
        return network

    def describe(self) -> dict[str, Any]:
        """Plain containers for a checkpoint."""
        return {
            "architecture": asdict(self.architecture),
            "settings": self.settings.to_dict(),
            "data": self.data,
            "data_digest": self.data_digest,
            "labels": list(self.labels),
            "input": {
                "height": self.architecture.image_height,
                "width": self.architecture.image_width,
                "offset": list(self.normalisation.offset),
                "deviation": list(self.normalisation.deviation),
                "fit": self.fit,
            },
            "command": self.command,
        }

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Experiment":
        """The inverse of `describe`."""
        pixels = content["input"]
        return cls(
            Architecture(**content["architecture"]),
            Settings.from_dict(content["settings"]),
            content["data"],
            content["data_digest"],
            tuple(content["labels"]),
            pixels["fit"],
            Normalisation(tuple(pixels["offset"]), tuple(pixels["deviation"])),
            content["command"],
        )


def _layers(weights: Mapping[str, Any]) -> int:
    return len({key.split(".")[1] for key in map(str, weights) if key.startswith("layers.")})


def digest(data: DataSet) -> str:
    """SHA-256 of a data set's pixels, or the names of its files, and labels."""
    state = hashlib.sha256()
    for part in (data.train_images, data.train_labels, data.test_images, data.test_labels):
        state.update(str(tuple(part.shape)).encode())
        state.update(fingerprint(part))
    return state.hexdigest()
