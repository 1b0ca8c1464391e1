"""A run that begins with the T = 1 network of another, to train it on in integers.

What the network is comes from its file: network, labels, picture size, normalisation, the seed that
chose the validation split, and the recipe it was trained with, but for what is changed.
The file is kept in the run's folder, where it is the teacher and a resumed run finds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from snn_runtime.errors import InputError, ModelError
from snn_train import checkpoint, state
from snn_train.data import DataSet
from snn_train.data.augmentation import check_augmentation
from snn_train.experiment import Experiment, digest
from snn_train.parallel import Team
from snn_train.recipe import Recipe
from snn_train.records import StageOutcome
from snn_train.stage import Stage
from snn_train.state import Run


@dataclass(frozen=True)
class Pretrained:
    """A T = 1 network, as another run left it."""

    path: Path
    content: dict[str, Any]
    """What its checkpoint holds."""
    experiment: Experiment
    """What was trained on what."""
    history: list[StageOutcome]
    """What the stages up to T = 1 reached; the run may have gone on after it."""

    @classmethod
    def load(cls, path: Path) -> "Pretrained":
        """Return the T = 1 network in `path`.

        Raises:
            ModelError: no checkpoint of train-snn at T = 1, or one whose parts do not fit.
        """
        content = checkpoint.load(path)
        at = content.get("timesteps")
        if at != 1:
            raise ModelError("bad_checkpoint", f"{path}: is at T={at}, integers need T=1")
        if content.get("bits"):
            raise ModelError(
                "bad_checkpoint", f"{path}: is trained in integers already, expected a t1.pt"
            )
        try:
            experiment = Experiment.of(content)
            experiment.restore(1, 0, content["network"])
            history = [StageOutcome.from_dict(row) for row in content["history"]]
            last = [outcome.stage for outcome in history].index("t1")
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            problem = " ".join(str(error).split())[:200]
            raise ModelError(
                "bad_checkpoint", f"{path}: does not fit together: {problem}"
            ) from error
        return cls(path, content, experiment, history[: last + 1])

    def check_data(self, data: DataSet, spec: str) -> None:
        """Raises: InputError: `data`, given as `spec`, has other classes or pictures."""
        labels, (height, width) = self.experiment.labels, self.experiment.size
        if data.labels != labels:
            raise InputError(
                "bad_data",
                f"{spec}: its classes {', '.join(data.labels[:5])} … are not those of {self.path}, "
                f"{', '.join(labels[:5])} …",
            )
        if tuple(data.train_images.shape[1:3]) != (height, width):
            raise InputError("bad_data", f"{spec}: pictures are not {height}x{width}")

    def continued(
        self,
        data: DataSet,
        spec: str,
        command: str,
        *,
        int_bits: int = 0,
        epochs: Sequence[int] | None = None,
        **changes: Any,
    ) -> Experiment:
        """Return what the new run trains: the file's network, by its recipe with `changes`.

        Args:
            spec: what `data` was loaded from.
            epochs: of the one stage; None takes the recipe's number.

        Raises:
            ValueError: values that do not go together, with what was expected.
        """
        before = self.experiment
        if not int_bits:
            raise ValueError("--from needs --int-bits: there is nothing else to train")
        if epochs is not None and len(epochs) != 1:
            given = ",".join(map(str, epochs))
            raise ValueError(f"--epochs {given}: expected one number, of the integer stage")
        stage = Stage(1, epochs[0] if epochs else before.recipe.integer_epochs, int_bits)
        recipe = _changed(before.recipe, stage, changes)
        check_augmentation(recipe.augmentation, before.size, data.on_disk)
        return replace(
            before,
            recipe=recipe,
            data=spec,
            data_digest=digest(data),
            command=f"{before.command} && {command}",
        )

    def start(
        self, experiment: Experiment, directory: Path, device: torch.device, team: Team
    ) -> Run:
        """Return a run at its beginning, with the file's network in it and beside it.

        Raises:
            ResourceError: the copy of the file cannot be written.
        """
        if team.leads:
            checkpoint.save(directory / f"{experiment.recipe.teacher}.pt", self.content)
        team.wait()  # the others read it
        return state.start(experiment, directory, device, self.content["network"], self.history)


def _changed(before: Recipe, stage: Stage, changes: dict[str, Any]) -> Recipe:
    if "learning_rate" in changes:  # it is the only stage's, whatever the file's other stages had
        changes.setdefault("spiking_learning_rate", None)
    optimiser = changes.get("optimiser", before.optimiser)
    if optimiser != before.optimiser and "spiking_learning_rate" not in changes:
        raise ValueError(
            f"--optimiser {optimiser}: needs --learning-rate, that of the file is for "
            f"{before.optimiser}"
        )
    return before.change(stages=(stage,), **changes)
