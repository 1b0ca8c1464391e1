"""A run whose stage 0 is an ANN that was trained before: our own `ann.pt`, or torchvision's.

Of our own, pictures, normalisation and recipe's name come from the file. Where the classes are the
same, too, stage 0 is done: it is kept as it is, and teaches. In all other cases stage 0 trains a
new readout, and what is in front of it at a lower rate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snn_runtime.errors import ModelError
from snn_train import checkpoint, state
from snn_train.choices import Precision, RecipeName
from snn_train.data import DataSet
from snn_train.data.data_set import IMAGENET_COLOURS, IMAGENET_SIZE
from snn_train.data.normalisation import Normalisation
from snn_train.experiment import Experiment
from snn_train.few import default
from snn_train.parallel import Team
from snn_train.pretrained import FINE_TUNE, check_size
from snn_train.recipe import Recipe
from snn_train.records import StageOutcome
from snn_train.stage import Stage
from snn_train.state import Position, Run
from snn_train.torch_zip import read
from snn_train.torchvision_file import weights_of


@dataclass(frozen=True)
class PretrainedAnn:
    """An ANN, as another run or another program left it."""

    path: Path
    weights: dict[str, Tensor]
    """Of our network; without a readout where the file's has no form here."""
    fields: dict[str, Any]
    """Network, width and hidden layers, as a recipe calls them."""
    normalisation: Normalisation
    size: tuple[int, int]
    """Height and width of its pictures."""
    recipe: RecipeName = "iir-bn"
    experiment: Experiment | None = None
    """Of our own run."""
    outcome: StageOutcome | None = None
    """What it reached there."""

    @classmethod
    def load(cls, path: Path) -> "PretrainedAnn":
        """Return the ANN in `path`.

        Raises:
            ModelError: neither our own nor one of torchvision's that has a form here.
        """
        content = read(path, "save a state dict: torch.save(network.state_dict(), FILE)")
        if not isinstance(content, dict) or content.get("format") != checkpoint.FORMAT:
            name, weights = weights_of(path, content)
            fields = {"network": name, "width": 1.0, "hidden": 0}
            return cls(path, weights, fields, IMAGENET_COLOURS, IMAGENET_SIZE)
        content = checkpoint.load(path)
        if content.get("timesteps") != 0:
            at = content.get("timesteps")
            raise ModelError(
                "bad_checkpoint", f"{path}: is at T={at}, --ann needs an ann.pt (or use --from)"
            )
        with checkpoint.fitting(path):
            experiment = Experiment.of(content)
            experiment.restore(0, 0, content["network"])
            outcome = StageOutcome.from_dict(content["metrics"])
        before = experiment.recipe
        fields = {name: getattr(before, name) for name in ("network", "width", "hidden")}
        return cls(
            path, content["network"], fields, experiment.normalisation, experiment.size,
            before.name, experiment, outcome,
        )  # fmt: skip

    def is_done(self, data: DataSet) -> bool:
        """Whether the file's classes are those of the data, so that stage 0 is trained already."""
        return self.experiment is not None and self.experiment.labels == data.labels

    def continued(
        self,
        data: DataSet,
        command: str,
        *,
        epochs: Sequence[int] | None = None,
        fast: Precision = "float32",
        **changes: Any,
    ) -> Experiment:
        """Return what the new run trains.

        Args:
            epochs: as `Recipe.change` takes them, where stage 0 is done without the ANN's.
            fast: the precision, where none is among the changes.

        Raises:
            ValueError: values that do not go together, with what was expected.
            InputError: the pictures have another size than our own file's.
        """
        if self.experiment:
            check_size(data, self.size, self.path)
        usual = default(self.recipe, data, changes.get("validation"))
        recipe = replace(usual, precision=fast, **self.fields)
        if self.is_done(data):
            assert self.outcome is not None
            if "fine_tune" in changes:
                raise ValueError(f"--fine-tune: the classes of {self.path} are trained already")
            if "learning_rate" in changes:  # the spiking stages', the only ones to come
                if changes.setdefault("spiking_learning_rate", None) is not None:
                    raise ValueError(
                        "--learning-rate: and --spiking-learning-rate: choose one, the ANN of "
                        f"{self.path} is trained already"
                    )
            recipe = _changed(recipe, max(1, self.outcome.epochs), epochs, changes)
        else:
            changes = {"fine_tune": FINE_TUNE, **changes}
            recipe = recipe.change(epochs=epochs, **changes)
        before = f"{self.experiment.command} && " if self.experiment else ""
        made = Experiment.on(data, recipe, self.normalisation, f"{before}{command}")
        return self.experiment.keeping_split(made, data, changes) if self.experiment else made

    def start(
        self, experiment: Experiment, data: DataSet, directory: Path, device: torch.device,
        team: Team,
    ) -> Run:  # fmt: skip
        """Return a run at its beginning, or where stage 0 is done at the next stage's.

        Raises:
            ResourceError: the ANN cannot be written beside the run.
        """
        torch.manual_seed(experiment.recipe.seed)
        weights = experiment.build(0, 0).state_dict()  # for the readout, thresholds and leaks
        left_out = [".neuron."] if self.is_done(data) else [".neuron.", "readout"]
        weights |= {
            name: value
            for name, value in self.weights.items()
            if not any(part in name for part in left_out)
        }
        if not self.is_done(data):
            return state.start(experiment, directory, device, weights)
        assert self.outcome is not None
        if team.leads:
            content = experiment.checkpoint(0, 0, weights, self.outcome, [self.outcome])
            checkpoint.save(directory / "ann.pt", content)
        team.wait()  # the others read it
        run = state.start(experiment, directory, device, weights, [self.outcome])
        run.position = Position(stage=1)
        return run


def _changed(
    recipe: Recipe, trained: int, epochs: Sequence[int] | None, changes: dict[str, Any]
) -> Recipe:
    """The recipe with changes, behind an ANN that took so many epochs.

    Raises:
        ValueError: values that do not go together, or more epochs than there are stages to come.
    """
    changed = recipe.change(**changes)
    coming = changed.stages[1:]
    if epochs is not None:
        if len(epochs) > len(coming):
            given = ",".join(map(str, epochs))
            raise ValueError(
                f"--epochs {given}: expected at most {len(coming)} numbers, the ANN is trained"
            )
        changed = changed.change(epochs=(trained, *epochs))
    return changed.change(stages=(Stage(0, trained), *changed.stages[1:]))
