"""A run that begins with the T = 1 network of another, to train it on in integers.

What the network is comes from its file: architecture, labels, picture size, normalisation, the seed
that chose the validation split, and the settings it was trained with where no flag says otherwise.
The file is kept in the run's folder, where it is the teacher and a resumed run finds it.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from snn_runtime.errors import InputError, ModelError
from snn_train import checkpoint
from snn_train.data import DataSet
from snn_train.experiment import Experiment, digest
from snn_train.processes import Team
from snn_train.recipes import FLAGS, RECIPES, integer_stage, refuse_regulariser
from snn_train.run import Run, start
from snn_train.schedule import Settings


@dataclass(frozen=True)
class Handover:
    """A T = 1 network, as another run left it."""

    path: Path
    content: dict[str, Any]
    experiment: Experiment
    """What was trained on what."""
    history: list[dict[str, Any]]
    """What the stages up to T = 1 reached; the run may have gone on after it."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its pictures."""
        architecture = self.experiment.architecture
        return architecture.image_height, architecture.image_width

    def check_data(self, data: DataSet, spec: str) -> None:
        """Raises: InputError: `data`, given as `spec`, has other classes or pictures."""
        labels, (height, width) = self.experiment.labels, self.size
        if data.labels != labels:
            raise InputError(
                "bad_data",
                f"{spec}: its classes {', '.join(data.labels[:5])} … are not those of {self.path}, "
                f"{', '.join(labels[:5])} …",
            )
        if tuple(data.train_images.shape[1:3]) != (height, width):
            raise InputError("bad_data", f"{spec}: pictures are not {height}x{width}")


def take(path: Path) -> Handover:
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
        stages = [row["stage"] for row in content["history"]]
        history = content["history"][: stages.index("t1") + 1]
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        problem = " ".join(str(error).split())[:200]
        raise ModelError("bad_checkpoint", f"{path}: does not fit together: {problem}") from error
    return Handover(path, content, experiment, history)


def carried_on(
    handed: Handover, data: DataSet, spec: str, flags: dict[str, Any], command: str
) -> Experiment:
    """Return what the run trains: the file's network, the file's settings, the given flags.

    Raises:
        ValueError: a flag's value, with what was expected.
    """
    before = handed.experiment
    return replace(
        before,
        settings=_settings(before, flags),
        data=spec,
        data_digest=digest(data),
        command=f"{before.command} && {command}",
    )


def begin(
    handed: Handover, experiment: Experiment, directory: Path, device: torch.device, team: Team
) -> Run:
    """Return a run at its beginning, with the file's network in it and beside it.

    Raises:
        ResourceError: the copy of the file cannot be written.
    """
    if team.leads:
        checkpoint.save(directory / f"{experiment.settings.teacher}.pt", handed.content)
    team.wait()  # the others read it
    return start(experiment, directory, device, handed.content["network"], handed.history)


def _settings(before: Experiment, flags: dict[str, Any]) -> Settings:
    chosen = {name: flags[name] for name in FLAGS if flags[name] is not None}
    if "learning_rate" in chosen:  # it is the only stage's, whatever the file's other stages had
        chosen.setdefault("spiking_learning_rate", None)
    optimiser = chosen.get("optimiser", before.settings.optimiser)
    if optimiser != before.settings.optimiser and "spiking_learning_rate" not in chosen:
        raise ValueError(
            f"--optimiser {optimiser}: needs --learning-rate, that of the file is for "
            f"{before.settings.optimiser}"
        )
    if chosen.get("spike_rate", before.settings.spike_rate) is None:
        refuse_regulariser(chosen)
    stage = integer_stage(RECIPES[before.architecture.recipe], flags)
    return replace(before.settings, stages=(stage,), **chosen)
