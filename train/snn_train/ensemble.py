"""Networks of other runs as the teacher of this one: one alone, or an ensemble.

Several answer with the mean of their logits, which is the geometric mean of their probabilities.
Networks that differ err on different pictures, so their mean can be right more often than the best
of them (Hansen and Salamon 1990; as teachers: Hinton et al. 2015, section 3).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snn_runtime.errors import InputError, ModelError, UsageError
from snn_train import checkpoint
from snn_train.data import DataSet
from snn_train.data.normalisation import Normalisation
from snn_train.experiment import Experiment
from snn_train.parallel import Team
from snn_train.pretrained import check_size, read
from snn_train.recipe import TEACHER

MEMBERS = "members"
"""Where the file of several teachers has their checkpoints."""


@dataclass(frozen=True)
class Member:
    """A network that another run has trained."""

    path: Path
    content: dict[str, Any]
    """What its checkpoint holds."""
    experiment: Experiment
    """What was trained on what."""

    @classmethod
    def load(cls, path: Path, data: DataSet) -> "Member":
        """Return the network in `path`: an `ann.pt`, a spiking one of any number of timesteps, a
        model file of train-snn, or the bundled network.

        Raises:
            ModelError: none of these, one in integers, or one whose parts do not fit.
            InputError: it knows other classes than the data's, or pictures of another size.
        """
        member = cls.of(path, read(path))
        if member.content.get("bits"):
            problem = "is trained in integers, expected an ann.pt or a t1.pt as teacher"
            raise ModelError("bad_checkpoint", f"{path}: {problem}")
        check_size(data, member.experiment.size, path)
        known = member.experiment.labels
        if known != data.labels:
            here, there = (
                f"{len(names)}: {', '.join(names)[:60]}" for names in (data.labels, known)
            )
            problem = f"has classes that {path} does not know ({here}, not {there})"
            raise InputError("bad_data", f"{data.name}: {problem}")
        return member

    @classmethod
    def of(cls, path: Path, content: dict[str, Any]) -> "Member":
        """Return the network of a checkpoint. Raises: ModelError: its parts do not fit."""
        with checkpoint.fitting(path):
            experiment = Experiment.of(content)
            bits = content.get("bits", 0)  # older files have none
            experiment.restore(content["timesteps"], bits, content["network"])
        return cls(path, content, experiment)

    def facing(self, normalisation: Normalisation) -> nn.Module:
        """Return its network, for pictures that are normalised so."""
        content, own = self.content, self.experiment.normalisation
        network = self.experiment.restore(content["timesteps"], 0, content["network"])
        return network if normalisation == own else _Renormalised(network, normalisation, own)


@dataclass(frozen=True)
class Ensemble:
    """The networks that teach a run together, in place of its own first stage."""

    members: Sequence[Member]
    """One or more."""

    @classmethod
    def load(cls, given: str | Path | Sequence[str | Path], data: DataSet) -> "Ensemble":
        """Return the networks in the files that are named, one or several.

        Raises:
            UsageError: none is named.
            ModelError, InputError: as `Member.load` does.
        """
        paths = [given] if isinstance(given, str | Path) else given
        if not paths:
            raise UsageError("bad_flag", "teacher: names no network, expected one or more")
        return cls([Member.load(Path(path), data) for path in paths])

    @classmethod
    def kept(cls, path: Path) -> "Ensemble":
        """Return what `keep` wrote. Raises: ModelError: as `Member.load` does."""
        content = checkpoint.load(path)
        with checkpoint.fitting(path):
            members = content.get(MEMBERS, [content])
            if not isinstance(members, list) or not members:
                raise ValueError(f"{MEMBERS}: expected a list of checkpoints")
        return cls([Member.of(path, member) for member in members])

    def keep(self, directory: Path, team: Team) -> None:
        """Write them into the folder of a run, as one file, where every stage looks for it.

        Raises:
            ResourceError: it cannot be written.
        """
        if team.leads:
            contents = [member.content for member in self.members]
            content = contents[0] if len(contents) == 1 else {MEMBERS: contents}
            checkpoint.save(directory / f"{TEACHER}.pt", content)
        team.wait()  # the others read it

    def facing(self, normalisation: Normalisation, device: torch.device) -> nn.Module:
        """Return what answers to pictures that are normalised so."""
        networks = [member.facing(normalisation) for member in self.members]
        made = networks[0] if len(networks) == 1 else _Together(networks)
        return made.to(device).eval()


class _Together(nn.Module):
    """Networks that answer as one, with the mean of their logits."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits `(B, classes)` of `(B, 3, H, W)`."""
        return torch.stack([network(pictures).float() for network in self.networks]).mean(0)


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
