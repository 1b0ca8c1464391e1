"""A run that begins with the T = 1 network of another: a checkpoint, or a file that was exported.

What the network is comes from its file: layers, picture size, normalisation. Then, by `--data`,

    the same classes, --int-bits   the network as it is goes on in integers, and teaches them
    anything else                  T = 1 is trained on with the new pictures, and a new readout
                                   where the classes are others; integers may follow

In the first case the recipe is the file's, too. In the second it is the default one of the data,
and all but the readout learns at a lower rate. On the file's own pictures those that select are the
same as there, whatever the seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snn_runtime.errors import InputError, ModelError
from snn_train import checkpoint, state
from snn_train.calibrate import renormalise
from snn_train.choices import BUNDLED, Precision
from snn_train.data import DataSet
from snn_train.experiment import Experiment, check_fit, digest
from snn_train.few import default
from snn_train.optimiser import method
from snn_train.parallel import Team
from snn_train.recipe import NETWORK_FIELDS, Recipe
from snn_train.records import StageOutcome
from snn_train.stage import Stage
from snn_train.state import Run

FINE_TUNE = 0.2
"""Factor on the learning rate of what was learnt before: a guess, see docs/measurements."""
MEASURED = 512
"""Pictures, of all the data, over which normalisations that a file has lost are measured."""


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
    exported: bool = False
    """Whether it comes from a model file, which has lost its normalisations."""

    @classmethod
    def load(cls, path: Path) -> "Pretrained":
        """Return the T = 1 network in `path`, a checkpoint or a model file, or the bundled one.

        Raises:
            ModelError: no network of train-snn at T = 1, or one whose parts do not fit.
        """
        content = read(path)
        if _is_model_file(path):
            return cls(path, content, Experiment.of(content), [], exported=True)
        at = content.get("timesteps")
        if at != 1:
            hint = " (or use --ann)" if at == 0 else ""
            raise ModelError("bad_checkpoint", f"{path}: is at T={at}, --from needs T=1{hint}")
        if content.get("bits"):
            raise ModelError(
                "bad_checkpoint", f"{path}: is trained in integers already, expected a t1.pt"
            )
        with checkpoint.fitting(path):
            experiment = Experiment.of(content)
            experiment.restore(1, 0, content["network"])
            history = [StageOutcome.from_dict(row) for row in content["history"]]
            if all(outcome.stage != "t1" for outcome in history):  # of a t1-refused.pt
                history.append(StageOutcome.from_dict(content["metrics"]))
            last = [outcome.stage for outcome in history].index("t1")
        return cls(path, content, experiment, history[: last + 1])

    def continued(
        self,
        data: DataSet,
        command: str,
        *,
        int_bits: int = 0,
        epochs: Sequence[int] | None = None,
        fast: Precision = "float32",
        **changes: Any,
    ) -> Experiment:
        """Return what the new run trains: the file's network, by the recipe with `changes`.

        Args:
            epochs: one number for each of its stages; None takes the recipe's.
            fast: the precision, where none is among the changes.

        Raises:
            ValueError: values that do not go together, with what was expected.
            InputError: the pictures have another size than the file's.
        """
        check_size(data, self.experiment.size, self.path)
        same = data.labels == self.experiment.labels
        changes = {"precision": fast, **changes}
        if same and int_bits:
            recipe = self._in_integers(data, int_bits, epochs, changes)
        else:
            recipe = self._fine_tuned(data, int_bits, epochs, changes)
        check_fit(recipe, data)
        made = replace(
            self.experiment,
            recipe=recipe,
            data=data.name,
            data_digest=digest(data),
            labels=data.labels,
            command=f"{self.experiment.command} && {command}",
        )
        return self.experiment.keeping_split(made, data, changes)

    def _in_integers(
        self, data: DataSet, bits: int, epochs: Sequence[int] | None, changes: dict[str, Any]
    ) -> Recipe:
        before = self.experiment.recipe
        for name in ("seed", "fine_tune"):
            if name in changes:
                raise ValueError(
                    f"--{name.replace('_', '-')}: has no effect on the classes of {self.path} with "
                    "--int-bits, which train its network in integers and nothing else"
                )
        usual = default(before.name, data).integer_epochs
        (count,) = _counts(epochs, (usual,))
        if "learning_rate" in changes:  # the only stage's, whatever the file's other stages had
            changes.setdefault("spiking_learning_rate", None)
        used, _ = method(before, timesteps=1)
        optimiser = changes.get("optimiser", used)
        if optimiser != used and "spiking_learning_rate" not in changes:
            raise ValueError(
                f"--optimiser {optimiser}: needs --learning-rate, that of the file is for {used}"
            )
        if optimiser == used:  # which needs no rate of its own
            changes.pop("optimiser", None)
        # All layers learn alike, also where the file's own run began with another's network.
        return before.change(stages=(Stage(1, count, bits),), fine_tune=1.0, **changes)

    def _fine_tuned(
        self, data: DataSet, bits: int, epochs: Sequence[int] | None, changes: dict[str, Any]
    ) -> Recipe:
        before = self.experiment.recipe
        network = {name: getattr(before, name) for name in NETWORK_FIELDS}
        recipe = default(before.name, data, changes.get("validation"))
        usual = (recipe.stages[-1].epochs, *([recipe.integer_epochs] if bits else []))
        counts = _counts(epochs, usual)
        later = changes.keys() & {"distillation", "cached_teacher", "largest_drop"}
        if changes.get("guest_teacher"):
            later &= {"largest_drop"}
        if not bits and later:
            name = min(later).replace("_", "-")
            raise ValueError(f"--{name}: has no effect without a stage behind T=1, --int-bits")
        stages = (Stage(1, counts[0]), *(Stage(1, n, bits) for n in counts[1:]))
        changes = {"fine_tune": FINE_TUNE, "stages": stages, **changes}
        if "learning_rate" in changes:  # all stages are spiking ones
            changes.setdefault("spiking_learning_rate", None)
        return replace(recipe, **network).change(**changes)

    def start(
        self, experiment: Experiment, data: DataSet, directory: Path, device: torch.device,
        team: Team,
    ) -> Run:  # fmt: skip
        """Return a run at its beginning, with the file's network in it.

        Raises:
            ResourceError: what it is kept beside cannot be written.
        """
        weights, recipe = self._weights(data), experiment.recipe
        if not recipe.stages[0].bits:
            return state.start(
                experiment, directory, device, self._with_readout(experiment, weights)
            )
        if team.leads:  # it teaches, where no other network does
            kept = directory / f"{recipe.origin}.pt"
            checkpoint.save(kept, self.content | {"network": weights})
        team.wait()  # the others read it
        same = experiment.data_digest == self.experiment.data_digest
        history = self.history if same else []  # what it reached on other pictures says nothing
        return state.start(experiment, directory, device, weights, history)

    def _weights(self, data: DataSet) -> dict[str, Tensor]:
        """The file's, with normalisations measured on `data` where it has none."""
        weights: dict[str, Tensor] = self.content["network"]
        if not self.exported:
            return weights
        network = self.experiment.restore(1, 0, weights)
        count = len(data.train_labels)
        chosen = torch.linspace(0, count - 1, min(count, MEASURED)).long()  # of all classes
        renormalise(network, self.experiment.normalisation(data.train_images[chosen]))
        return dict(network.state_dict())

    def _with_readout(
        self, experiment: Experiment, weights: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """The same, with a readout newly drawn where the classes are others."""
        if experiment.labels == self.experiment.labels:
            return weights
        torch.manual_seed(experiment.recipe.seed)
        drawn = experiment.build(1, 0).readout.state_dict()
        return weights | {f"readout.{name}": value for name, value in drawn.items()}


def _counts(given: Sequence[int] | None, usual: Sequence[int]) -> Sequence[int]:
    """The epochs of each stage. Raises: ValueError: not one number for each was given."""
    if given is None:
        return usual
    if len(given) != len(usual):
        numbers = "one number" if len(usual) == 1 else f"{len(usual)} numbers"
        shown = ",".join(map(str, given))
        raise ValueError(f"--epochs {shown}: expected {numbers}, of T=1 and integers as trained")
    return given


def read(path: Path) -> dict[str, Any]:
    """Return what a checkpoint holds, or one of the network in a model file, or the bundled one.

    Raises:
        ModelError: none of these, or a model file from which there is no way back.
    """
    if not _is_model_file(path):
        return checkpoint.load(path)
    from snn_train import exported  # here, since it loads onnx

    return exported.load(str(path))


def _is_model_file(path: Path) -> bool:
    return str(path) == BUNDLED or path.suffix == ".onnx"


def check_size(data: DataSet, size: tuple[int, int], path: Path) -> None:
    """Raises: InputError: pictures are not of the (height, width) that the one in `path` sees."""
    height, width = size
    if tuple(data.train_images.shape[1:3]) != (height, width):
        problem = f"pictures are not {height}x{width}, as {path} sees them"
        raise InputError("bad_data", f"{data.name}: {problem}")
