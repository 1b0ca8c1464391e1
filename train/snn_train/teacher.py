"""The teacher of a stage: the finished network whose logits are learnt beside the labels.

It is the run's own first stage, or a guest: a network of another run, of any kind and size, that
lies in the run's folder as `teacher.pt`. It sees in each step what the student sees, or, as
`recipe.cached_teacher` says, once a stage every picture and its mirror image, neither shifted nor
changed otherwise. That saves a forward pass a step, and what it answers to a picture no longer
depends on how that is shown.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snn_runtime.errors import InputError, ModelError
from snn_train import checkpoint
from snn_train.batches import Split, as_drawn
from snn_train.data import DataSet
from snn_train.data.augmentation import Augmentation, Draws
from snn_train.data.normalisation import Normalisation
from snn_train.experiment import Experiment
from snn_train.network import SpikingNetwork
from snn_train.parallel import Team
from snn_train.pretrained import check_size
from snn_train.recipe import TEACHER
from snn_train.state import Run
from snn_train.step import forward


@dataclass(frozen=True)
class Guest:
    """A network that another run has trained, as a teacher of this one."""

    path: Path
    content: dict[str, Any]
    """What its checkpoint holds."""
    experiment: Experiment
    """What was trained on what."""

    @classmethod
    def load(cls, path: Path, data: DataSet) -> "Guest":
        """Return the network in `path`, an `ann.pt` or a spiking one of any number of timesteps.

        Raises:
            ModelError: no checkpoint of train-snn, one in integers, or one whose parts do not fit.
            InputError: it knows other classes than the data's, or pictures of another size.
        """
        guest = cls.kept(path)
        if guest.content.get("bits"):
            problem = "is trained in integers, expected an ann.pt or a t1.pt as teacher"
            raise ModelError("bad_checkpoint", f"{path}: {problem}")
        check_size(data, guest.experiment.size, path)
        known = guest.experiment.labels
        if known != data.labels:
            here, there = (
                f"{len(names)}: {', '.join(names)[:60]}" for names in (data.labels, known)
            )
            problem = f"has classes that {path} does not know ({here}, not {there})"
            raise InputError("bad_data", f"{data.name}: {problem}")
        return guest

    @classmethod
    def kept(cls, path: Path) -> "Guest":
        """Return what `keep` wrote. Raises: ModelError: as `load` does."""
        content = checkpoint.load(path)
        with checkpoint.fitting(path):
            experiment = Experiment.of(content)
            bits = content.get("bits", 0)  # older files have none
            experiment.restore(content["timesteps"], bits, content["network"])
        return cls(path, content, experiment)

    def keep(self, directory: Path, team: Team) -> None:
        """Write it into the folder of a run, where every stage looks for it.

        Raises:
            ResourceError: it cannot be written.
        """
        if team.leads:
            checkpoint.save(directory / f"{TEACHER}.pt", self.content)
        team.wait()  # the others read it

    def facing(self, normalisation: Normalisation, device: torch.device) -> nn.Module:
        """Return its network, for pictures that are normalised so."""
        content, own = self.content, self.experiment.normalisation
        network: nn.Module = self.experiment.restore(content["timesteps"], 0, content["network"])
        if normalisation != own:
            network = _Renormalised(network, normalisation, own)
        return network.to(device).eval()


class _Renormalised(nn.Module):
    """A network of pictures (x − m)/σ, for pictures (x − n)/τ: it sees ((x − n)/τ τ + n − m)/σ."""

    def __init__(self, network: nn.Module, given: Normalisation, own: Normalisation) -> None:
        super().__init__()
        self.network = network
        n, tau, m, sigma = (
            torch.tensor(part, dtype=torch.float32)[:, None, None]
            for part in (given.offset, given.deviation, own.offset, own.deviation)
        )
        self.factor = nn.Buffer(tau / sigma)
        self.shift = nn.Buffer((n - m) / sigma)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits `(B, classes)` of `(B, 3, H, W)`."""
        logits: Tensor = self.network(pictures * self.factor + self.shift)
        return logits


def load_teacher(run: Run) -> nn.Module | None:
    """Return the recipe's teacher on the run's device; None for the teacher itself and without
    distillation.

    Raises:
        ModelError: its checkpoint is gone or damaged.
    """
    name = run.recipe.teacher
    if run.stage.name == name or not run.recipe.distillation:
        return None
    if not run.recipe.guest_teacher:
        return load_stage(run, name).eval()
    device = next(run.network.parameters()).device
    return Guest.kept(run.checkpoint(name)).facing(run.experiment.normalisation, device)


def load_stage(run: Run, stage: str) -> SpikingNetwork:
    """Return the network that a finished stage left behind, on the run's device."""
    device = next(run.network.parameters()).device
    content = checkpoint.load(run.checkpoint(stage), device)
    network = run.experiment.build(content["timesteps"], content.get("bits", 0))
    network.load_state_dict(content["network"])
    return network.to(device)


@torch.no_grad()
def lessons(run: Run, split: Split, teacher: nn.Module) -> Tensor:
    """Return the teacher's logits of the N pictures that are trained on and of their mirror images,
    float32 `(2, N, classes)`; only of the pictures themselves, `(1, N, classes)`, where none is
    mirrored. Processes share the work."""
    mirrors, count = run.recipe.augmentation.mirrors, len(split.images)
    how, mine = Augmentation(flip=mirrors), run.team.part(count)
    found = split.labels.new_zeros(
        (1 + mirrors, count, len(run.experiment.labels)), dtype=torch.float32
    )
    for side in range(1 + mirrors):
        parts = torch.split(torch.arange(count)[mine], split.batch_size)
        drawn = ((index, _unshifted(how, len(index), side)) for index in parts)
        for index, (images, _) in zip(parts, as_drawn(run, split.images, drawn, how), strict=True):
            found[side, index] = forward(teacher, images, run.recipe)
    return run.team.sum(found)


def _unshifted(how: Augmentation, count: int, side: int) -> Draws:
    mirrored = torch.full((count,), bool(side))
    return Draws.of(how, count, torch.Generator(), mirrored)
