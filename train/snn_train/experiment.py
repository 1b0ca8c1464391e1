"""What is trained on what: fixed for a whole run, and described in every checkpoint of it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

from torch import Tensor

from snn_runtime.image import Fit
from snn_train.data import DataSet
from snn_train.data.augmentation import check_augmentation
from snn_train.data.normalisation import Normalisation
from snn_train.data.on_disk import fingerprint
from snn_train.data.selecting import held_out_of
from snn_train.integer import IntegerNetwork
from snn_train.layout import Architecture, plan
from snn_train.network import SpikingNetwork
from snn_train.recipe import NETWORK_FIELDS, Recipe
from snn_train.records import StageOutcome


@dataclass(frozen=True)
class Experiment:
    """What is trained on what: fixed for the whole run."""

    recipe: Recipe
    data: str
    """As given to --data."""
    data_digest: str
    """SHA-256 of every pixel, or of a picture on disk its name, and label: a resumed run must see
    the same."""
    labels: tuple[str, ...]
    size: tuple[int, int]
    """Height and width of the images in pixels."""
    fit: Fit
    normalisation: Normalisation
    command: str

    def keeping_split(
        self, after: "Experiment", data: DataSet, changes: Mapping[str, Any]
    ) -> "Experiment":
        """Return that of a run that goes on with this one's network: on the same pictures it must
        not select by what has been learnt already.

        Raises:
            ValueError: the changes choose other pictures to select by.
        """
        if self.data_digest != after.data_digest:
            return replace(after, recipe=replace(after.recipe, split_seed=None, split_share=1.0))
        for name in {"split_seed", "split_share"} & {*changes}:
            raise ValueError(f"{name}: what selects was chosen by the run whose network it is")
        fraction, seed, share = self.recipe.split
        if "validation" in changes:
            share = _share(
                changes["validation"], held_out_of(len(data.train_labels), fraction), share
            )
        recipe = replace(after.recipe, validation=fraction, split_seed=seed, split_share=share)
        return replace(after, recipe=recipe)

    @property
    def architecture(self) -> Architecture:
        """The recipe's network, for these images and classes."""
        fields = {name: getattr(self.recipe, name) for name in NETWORK_FIELDS if name != "name"}
        return Architecture(
            recipe=self.recipe.name,
            classes=len(self.labels),
            image_height=self.size[0],
            image_width=self.size[1],
            **fields,
        )

    @classmethod
    def on(
        cls, data: DataSet, recipe: Recipe, normalisation: Normalisation, command: str
    ) -> "Experiment":
        """Return what trains on `data`.

        Raises:
            ValueError: the recipe's network or augmentation does not fit the pictures, or its
                values do not go together.
        """
        height, width = data.train_images.shape[1:3]
        plan(recipe.network, recipe.width, recipe.hidden, (height, width))
        check_fit(recipe, data)
        return cls(
            recipe, data.name, digest(data), data.labels, (height, width), data.fit, normalisation,
            command,
        )  # fmt: skip

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
        given, expected = _layers(weights), _layers(network.state_dict())
        if given != expected:
            raise ValueError(
                f"its {self.architecture.network} has {given} layers, this version's has "
                f"{expected}; train it again, or use the version that trained it"
            )
        for key, value in weights.items():
            if isinstance(value, Tensor) and value.is_complex():
                raise ValueError(f"{key} holds complex numbers")
        network.load_state_dict(weights)
        return network

    def describe(self) -> dict[str, Any]:
        """Plain containers for a checkpoint."""
        return {
            "architecture": asdict(self.architecture),
            "settings": self.recipe.settings(),
            "data": self.data,
            "data_digest": self.data_digest,
            "labels": list(self.labels),
            "input": {
                "height": self.size[0],
                "width": self.size[1],
                "offset": list(self.normalisation.offset),
                "deviation": list(self.normalisation.deviation),
                "fit": self.fit,
            },
            "command": self.command,
        }

    def checkpoint(
        self,
        timesteps: int,
        bits: int,
        weights: Mapping[str, Tensor],
        outcome: StageOutcome | None = None,
        history: Sequence[StageOutcome] = (),
    ) -> dict[str, Any]:
        """What a stage leaves behind: its weights, what it reached, and all stages up to then."""
        return self.describe() | {
            "timesteps": timesteps,
            "bits": bits,
            "metrics": outcome and outcome.to_dict(),
            "history": [each.to_dict() for each in history],
            "network": {name: tensor.cpu() for name, tensor in weights.items()},
        }

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Experiment":
        """The inverse of `describe`.

        Raises:
            KeyError, TypeError, ValueError: entries are missing, unknown or do not fit together.
        """
        network = asdict(Architecture(**content["architecture"]))
        pixels, labels = content["input"], content["labels"]
        if not isinstance(labels, list | tuple) or not all(isinstance(n, str) for n in labels):
            raise ValueError(f"its labels are {labels!r:.60}, expected a list of names")
        if pixels["fit"] not in get_args(Fit):
            raise ValueError(f"its fit is {pixels['fit']!r:.60}, expected crop or stretch")
        experiment = cls(
            Recipe.from_dicts(network, content["settings"]),
            content["data"],
            content["data_digest"],
            tuple(labels),
            (network["image_height"], network["image_width"]),
            pixels["fit"],
            Normalisation.described(pixels["offset"], pixels["deviation"]),
            content["command"],
        )
        if asdict(experiment.architecture) != network:
            raise ValueError(
                f"its network has {network}, expected {asdict(experiment.architecture)}"
            )
        return experiment


def _share(wanted: float, before: float, share: float) -> float:
    """Return which share of a run's held-out pictures, `share` of `before` of all, are `wanted`.

    Raises:
        ValueError: they are more than that, and its network has learnt the others.
    """
    if wanted > round(before * share, 9):
        raise ValueError(
            f"--validation {wanted:g}: the run whose network it is held out {before * share:g} of "
            f"these pictures and learnt the others; expected at most {before * share:g}"
        )
    return min(round(wanted / before, 9), share)


def _layers(weights: Mapping[str, Any]) -> int:
    return len({key.split(".")[1] for key in map(str, weights) if key.startswith("layers.")})


def digest(data: DataSet) -> str:
    """SHA-256 of a data set's pixels, or the names of its files, and labels."""
    state = hashlib.sha256()
    for part in (data.train_images, data.train_labels, data.test_images, data.test_labels):
        state.update(str(tuple(part.shape)).encode())
        state.update(fingerprint(part))
    return state.hexdigest()


def check_fit(recipe: Recipe, data: DataSet) -> None:
    """Raises: ValueError: what a recipe does to pictures cannot be done to these, or not to any."""
    height, width = data.train_images.shape[1:3]
    check_augmentation(recipe.augmentation, (height, width), data.on_disk)
    _check_teacher(recipe)


def _check_teacher(recipe: Recipe) -> None:
    if not recipe.distillation and (recipe.guest_teacher or recipe.cached_teacher):
        flag = "--teacher" if recipe.guest_teacher else "--cached-teacher"
        raise ValueError(f"{flag}: nothing is learnt from a teacher, see --distillation")
    if recipe.cached_teacher and recipe.augmentation.resized:
        raise ValueError(
            f"--cached-teacher: --augment {recipe.augmentation} shows a part of a picture, and the "
            "teacher saw all of it; expected one without resized"
        )
    if recipe.cached_teacher and recipe.augmentation.mixes:
        raise ValueError(
            f"--cached-teacher: --augment {recipe.augmentation} mixes two pictures, and the "
            "teacher saw each alone; expected one without mixup and cutmix"
        )
