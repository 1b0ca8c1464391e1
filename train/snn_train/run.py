"""The state of a training run: all that an interruption must not lose, in one file.

`latest.pt` is written atomically at every epoch, every minute and on a signal; the one before it
stays as `previous.pt`. All randomness of a step is drawn from (seed, stage, attempt, epoch, step),
so a run that was stopped anywhere goes on to the same bits as one that never was.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snn_runtime.errors import ModelError, ResourceError
from snn_train import checkpoint
from snn_train.augment import Normalisation
from snn_train.budget import Budget
from snn_train.data import DataSet, Fit
from snn_train.integer import IntegerNetwork
from snn_train.muon import ADAMW_SHARE, Muon
from snn_train.network import Architecture, SpikingNetwork
from snn_train.schedule import Settings, Stage

LOG = logging.getLogger(__name__)

LATEST, PREVIOUS, DAMAGED = "latest.pt", "previous.pt", "damaged.pt"


@dataclass
class Position:
    """Where the run is; the sums are those of the epoch so far."""

    stage: int = 0
    attempt: int = 0
    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    seconds: float = 0.0


@dataclass
class Best:
    """The best healthy state of the stage so far, by validation accuracy."""

    accuracy: float
    epoch: int
    rates: dict[str, float]
    weights: dict[str, Tensor]


@dataclass(frozen=True)
class Experiment:
    """What is trained on what: fixed for the whole run."""

    architecture: Architecture
    settings: Settings
    data: str
    """As given to --data."""
    data_digest: str
    """SHA-256 of every pixel and label: a resumed run must see the same."""
    labels: tuple[str, ...]
    fit: Fit
    normalisation: Normalisation
    command: str

    def build(self, timesteps: int, bits: int) -> SpikingNetwork:
        """Return a new network for a stage; `bits` other than 0 for the integer stage."""
        if bits:
            return IntegerNetwork(self.architecture, bits, self.normalisation)
        return SpikingNetwork(self.architecture, timesteps)

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


@dataclass
class Run:
    """A run in progress."""

    experiment: Experiment
    directory: Path
    network: SpikingNetwork
    optimiser: torch.optim.Optimizer
    best: Best
    position: Position = field(default_factory=Position)
    records: list[dict[str, Any]] = field(default_factory=list)
    """One an epoch, as in metrics.jsonl."""
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    """One a finished stage."""
    control: Budget | None = None
    """The budget of spikes, where one was asked for."""

    @property
    def stage(self) -> Stage:
        return self.experiment.settings.stages[self.position.stage]

    @property
    def budget(self) -> Budget | None:
        """The budget, in the stages that have to meet it: those at the last number of timesteps,
        where they spike. There are two where the last one trains T = 1 in integers."""
        last = self.experiment.settings.stages[-1].timesteps
        if self.finished or not last or self.stage.timesteps != last:
            return None
        return self.control

    @property
    def finished(self) -> bool:
        return self.position.stage == len(self.experiment.settings.stages)

    def save(self) -> None:
        """Write the whole state; whatever was complete before stays until this is."""
        latest = self.directory / LATEST
        _set_aside(latest, self.directory / PREVIOUS)
        content = self.experiment.describe() | {
            "timesteps": self.network.timesteps,
            "bits": self.network.bits,
            "position": asdict(self.position),
            "best": vars(self.best),
            "records": self.records,
            "outcomes": self.outcomes,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "budget": vars(self.control) if self.control else None,
        }
        checkpoint.save(latest, content)

    def random(self, purpose: str, step: int = 0) -> torch.Generator:
        """A generator that depends on the place in the run alone."""
        return torch.Generator().manual_seed(self._seed(purpose, self.position.epoch, step))

    def seed_dropout(self) -> None:
        torch.manual_seed(self._seed("dropout", self.position.epoch, self.position.step))

    def _seed(self, purpose: str, epoch: int, step: int) -> int:
        at = (self.experiment.settings.seed, self.position.stage, self.position.attempt, epoch)
        key = json.dumps([purpose, *at, step])
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "big")


def start(
    experiment: Experiment,
    directory: Path,
    device: torch.device,
    weights: dict[str, Tensor] | None = None,
    outcomes: Sequence[dict[str, Any]] = (),
) -> Run:
    """Return a run at its very beginning.

    Args:
        weights: of its first network; None draws them.
        outcomes: of the stages that another run did for this one.
    """
    torch.manual_seed(experiment.settings.seed)
    first = experiment.settings.stages[0]
    network = experiment.build(first.timesteps, first.bits).to(device)
    if weights is not None:
        network.load_state_dict(weights)
    optimiser = make_optimiser(network, experiment.settings)
    target = experiment.settings.spike_rate
    control = None if target is None else Budget.of(target, device)
    best = first_best(network)
    return Run(
        experiment, directory, network, optimiser, best, outcomes=[*outcomes], control=control
    )


def resume(directory: Path, device: torch.device) -> Run:
    """Return the run saved in `directory`: the latest complete state, or the one before it.

    Raises:
        ModelError: neither can be read.
    """
    reasons = []
    for name in (LATEST, PREVIOUS):
        try:
            run = _restore(checkpoint.load(directory / name, device), directory, device)
        except ModelError as error:
            reasons.append(error.message)
            continue
        if name == PREVIOUS:
            LOG.warning("%s; going on from %s", reasons[0], PREVIOUS)
            # Or the next save would put a damaged file in the place of the good one.
            _set_aside(directory / LATEST, directory / DAMAGED)
        return run
    raise ModelError("bad_checkpoint", f"nothing to resume: {'; '.join(reasons)}")


def _set_aside(file: Path, place: Path) -> None:
    try:
        if file.exists():
            file.replace(place)
    except OSError as error:
        raise ResourceError("unwritable", f"{file}: cannot be renamed: {error.strerror}") from error


def _restore(content: dict[str, Any], directory: Path, device: torch.device) -> Run:
    try:
        experiment = Experiment.of(content)
        # Runs from before there were integers or budgets have no such keys.
        network = experiment.build(content["timesteps"], content.get("bits", 0)).to(device)
        network.load_state_dict(content["network"])
        optimiser = make_optimiser(network, experiment.settings)
        optimiser.load_state_dict(content["optimiser"])
        best, position = Best(**content["best"]), Position(**content["position"])
        records, outcomes = content["records"], content["outcomes"]
        control = Budget(**content["budget"]) if content.get("budget") else None
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            "bad_checkpoint", f"{directory}: holds no resumable run ({error})"
        ) from error
    return Run(
        experiment, directory, network, optimiser, best, position, records, outcomes, control
    )


def first_best(network: nn.Module) -> Best:
    """The state a stage starts from: to be beaten by any epoch that counts."""
    return Best(0.0, -1, {}, copy_weights(network))


def copy_weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def make_optimiser(network: SpikingNetwork, settings: Settings) -> torch.optim.Optimizer:
    """Weights decay; thresholds, leaks, shifts and biases do not."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0},
    ]
    rate = settings.learning_rate
    if settings.optimiser == "muon":
        return Muon(_muon_groups(network, groups), rate)
    if settings.optimiser == "sgd":
        return torch.optim.SGD(groups, rate, momentum=0.9, nesterov=True)
    if settings.optimiser == "adam":
        return torch.optim.Adam(groups, rate, amsgrad=True)
    return torch.optim.AdamW(groups, rate)


def _muon_groups(network: SpikingNetwork, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Normalised weights turn; the readout, thresholds, leaks and shifts are AdamW's."""
    turned = network.normalised_weights()
    known = {id(weight) for weight in turned}
    for group in groups:
        group["params"] = [p for p in group["params"] if id(p) not in known]
        group["share"] = ADAMW_SHARE
    return [{"params": turned, "weight_decay": 0.0, "orthogonal": True}, *groups]


def digest(data: DataSet) -> str:
    """SHA-256 of a data set's pixels and labels."""
    state = hashlib.sha256()
    for tensor in (data.train_images, data.train_labels, data.test_images, data.test_labels):
        state.update(str(tuple(tensor.shape)).encode())
        state.update(tensor.contiguous().numpy().data)
    return state.hexdigest()
