"""The state of a training run: all that an interruption must not lose, in one file.

`latest.pt` is written atomically after an epoch, every minute and on a signal; the one before it
stays as `previous.pt`. All randomness of a step is drawn from (seed, stage, attempt, epoch, step),
so a run that was stopped anywhere goes on to the same bits as one that never was.
"""

import copy
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snn_runtime.errors import ModelError
from snn_train import checkpoint
from snn_train.experiment import Experiment
from snn_train.folder import DAMAGED, LATEST, PREVIOUS, set_aside
from snn_train.found import Found
from snn_train.network import SpikingNetwork
from snn_train.optimiser import load_state, make_optimiser
from snn_train.parallel import ALONE, Team
from snn_train.recipe import Recipe
from snn_train.records import EpochRecord, StageOutcome
from snn_train.spike_budget import SpikeBudget
from snn_train.stage import Stage
from snn_train.time_budget import TimeBudget

LOG = logging.getLogger(__name__)


@dataclass
class Position:
    """Where the run is; the sums are those of the epoch's steps so far."""

    stage: int = 0
    attempt: int = 0
    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    training: float = 0.0  # accuracies of the steps, added up


@dataclass
class Kept:
    """The most accurate state of a stage so far, by validation and but for chance; see `Run`."""

    accuracy: float
    epoch: int
    rates: dict[str, float]
    weights: dict[str, Tensor]
    highest: float = 0.0  # accuracy of all that were as near to the budget

    def __post_init__(self) -> None:
        self.highest = max(self.highest, self.accuracy)  # older runs have none


@dataclass
class Run:
    """A run in progress."""

    experiment: Experiment
    directory: Path
    network: SpikingNetwork
    optimiser: torch.optim.Optimizer
    best: Kept
    position: Position = field(default_factory=Position)
    records: list[EpochRecord] = field(default_factory=list)  # one an epoch, as in metrics.jsonl
    outcomes: list[StageOutcome] = field(default_factory=list)  # one a finished stage
    spike_budget: SpikeBudget | None = None  # where the recipe has a spike rate to end at
    average: SpikingNetwork | None = None  # where the recipe has `ema`
    micro_batch: int | None = None  # pictures a process computes at once; None: its whole part
    threads: int | None = None  # that torch computes with, where it was recorded
    compiled: bool = False  # its steps, by torch.compile
    team: Team = ALONE
    unhealthy: Kept | None = None  # the most accurate state while a stage has no healthy one
    failed_saves: int = 0  # in a row
    time_budget: TimeBudget | None = None
    test_pictures: int = 0  # where nobody has counted
    found: Found | None = None  # its pictures, unless an older version began the run

    @property
    def judged(self) -> SpikingNetwork:
        """The network that is measured and kept."""
        return self.average or self.network

    @property
    def recipe(self) -> Recipe:
        return self.experiment.recipe

    @property
    def stage(self) -> Stage:
        return self.recipe.stages[self.position.stage]

    @property
    def finished(self) -> bool:
        return self.position.stage == len(self.recipe.stages)

    @property
    def active_budget(self) -> SpikeBudget | None:
        """The budget, in the stages that have to meet it: those at the last number of timesteps,
        where they spike. There are two where the last one trains T = 1 in integers."""
        last = self.recipe.stages[-1].timesteps
        if self.finished or not last or self.stage.timesteps != last:
            return None
        return self.spike_budget

    def checkpoint(self, stage: str) -> Path:
        """Where a stage's best state is, e.g. `t1`, once the stage is finished."""
        return self.directory / f"{stage}.pt"

    def save(self) -> None:
        """Write the whole state; whatever was complete before stays until this is."""
        if not self.team.leads:
            return
        latest = self.directory / LATEST
        set_aside(latest, self.directory / PREVIOUS)
        content = self.experiment.describe() | {
            "timesteps": self.network.timesteps,
            "bits": self.network.bits,
            "position": asdict(self.position),
            "best": vars(self.best),
            "unhealthy": vars(self.unhealthy) if self.unhealthy else None,
            "records": [record.to_dict() for record in self.records],
            "outcomes": [outcome.to_dict() for outcome in self.outcomes],
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "budget": vars(self.spike_budget) if self.spike_budget else None,
            "average": self.average.state_dict() if self.average else None,
            "micro_batch": self.micro_batch,
            "threads": self.threads,
            "compiled": self.compiled,
            "time_budget": self.time_budget.state() if self.time_budget else None,
            "found": vars(self.found) if self.found else None,
        }
        checkpoint.save(latest, content)

    def random(self, purpose: str, step: int = 0) -> torch.Generator:
        """A generator that depends on the place in the run alone."""
        return torch.Generator().manual_seed(self._seed(purpose, self.position.epoch, step))

    def dropout_seed(self) -> int:
        return self._seed(f"dropout{self.team.rank or ''}", self.position.epoch, self.position.step)

    def begin_average(self) -> None:
        """Let the average start from what the network is now."""
        self.average = None if self.recipe.ema is None else copy.deepcopy(self.network)

    def _seed(self, purpose: str, epoch: int, step: int) -> int:
        at = (self.recipe.seed, self.position.stage, self.position.attempt, epoch)
        key = json.dumps([purpose, *at, step])
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "big")


def start(
    experiment: Experiment,
    directory: Path,
    device: torch.device,
    weights: dict[str, Tensor] | None = None,
    outcomes: Sequence[StageOutcome] = (),
) -> Run:
    """Return a run at its very beginning.

    Args:
        weights: of its first network; None draws them.
        outcomes: of the stages that another run did for this one.
    """
    recipe = experiment.recipe
    torch.manual_seed(recipe.seed)
    first = recipe.stages[0]
    network = experiment.build(first.timesteps, first.bits).to(device)
    if weights is not None:
        network.load_state_dict(weights)
    target = recipe.spike_rate
    run = Run(
        experiment,
        directory,
        network,
        make_optimiser(network, recipe),
        first_best(network),
        outcomes=[*outcomes],
        spike_budget=None if target is None else SpikeBudget.of(target, device),
    )
    run.begin_average()
    return run


def resume(directory: Path, device: torch.device, team: Team = ALONE) -> Run:
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
            team.wait()  # until all have seen it
            if team.leads:  # or the next save would put a damaged file in the place of the good one
                set_aside(directory / LATEST, directory / DAMAGED)
        return run
    raise ModelError("bad_checkpoint", f"nothing to resume: {'; '.join(reasons)}")


def _restore(content: dict[str, Any], directory: Path, device: torch.device) -> Run:
    try:
        experiment = Experiment.of(content)
        bits = content.get("bits", 0)
        network = experiment.restore(content["timesteps"], bits, content["network"]).to(device)
        optimiser = make_optimiser(network, experiment.recipe)
        load_state(optimiser, content["optimiser"])
        best, position = Kept(**content["best"]), Position(**content["position"])
        records = [EpochRecord.from_dict(row) for row in content["records"]]
        outcomes = [StageOutcome.from_dict(row) for row in content["outcomes"]]
        # Older runs have none of these keys.
        budget = SpikeBudget(**content["budget"]) if content.get("budget") else None
        hours = TimeBudget.of(content["time_budget"]) if content.get("time_budget") else None
        unhealthy = Kept(**content["unhealthy"]) if content.get("unhealthy") else None
        found = Found(**content["found"]) if content.get("found") else None
        average = copy.deepcopy(network) if content.get("average") else None
        if average:
            average.load_state_dict(content["average"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        problem = f"{directory}: holds no resumable run ({error})"
        raise ModelError("bad_checkpoint", problem) from error
    return Run(
        experiment, directory, network, optimiser, best, position, records, outcomes, budget,
        average, content.get("micro_batch"), content.get("threads"),
        content.get("compiled", False), unhealthy=unhealthy, time_budget=hours, found=found,
    )  # fmt: skip


def first_best(network: nn.Module) -> Kept:
    """The state a stage starts from: to be beaten by any epoch that counts."""
    return Kept(0.0, -1, {}, copy_weights(network))


def copy_weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}
