"""How a stage begins and ends: what it takes over, what it leaves behind."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snn_runtime.errors import DivergedError
from snn_train import checkpoint, remedy
from snn_train.calibrate import descend, set_thresholds, settle
from snn_train.data import DataSet
from snn_train.descent import batches
from snn_train.integer import in_integers
from snn_train.network import SpikingNetwork
from snn_train.on_disk import subset
from snn_train.optimiser import make_optimiser
from snn_train.processes import ALONE
from snn_train.run import Best, Position, Run, first_best
from snn_train.saving import insist, save_and_go_on
from snn_train.schedule import RETRIES
from snn_train.validation import evaluate, keep_if_best

CALIBRATION_IMAGES = 512
CALIBRATION_PIXELS = 512 * 64 * 64
"""At most; but 64 pictures, the authors' number for ImageNet, are always taken."""
SETTLING_BATCHES = 24


class Split:
    """The training set on the training device, split into what is trained on and what selects."""

    def __init__(self, run: Run, data: DataSet) -> None:
        settings = run.experiment.settings
        device = next(run.network.parameters()).device
        trained, held_out = data.split(settings.validation, settings.seed)
        self.images = subset(data.train_images, trained).to(device)
        self.labels = data.train_labels[trained].to(device)
        self.held_out = subset(data.train_images, held_out).to(device)
        self.held_out_labels = data.train_labels[held_out].to(device)
        batch = min(settings.batch_size, len(self.images))
        self.batch = batch - batch % run.team.size
        self.steps = len(self.images) // self.batch


def teacher(run: Run) -> SpikingNetwork | None:
    """The run's teacher, for the spiking stages of a recipe that distils."""
    if not run.stage.timesteps or not run.experiment.settings.distillation:
        return None
    return network_of(run, run.experiment.settings.teacher).eval()


def network_of(run: Run, stage: str) -> SpikingNetwork:
    """The network that a finished stage left behind, on the run's device."""
    device = next(run.network.parameters()).device
    content = checkpoint.load(stage_file(run, stage), device)
    network = run.experiment.build(content["timesteps"], content.get("bits", 0))
    network.load_state_dict(content["network"])
    return network.to(device)


def retry(run: Run, problem: str, split: Split) -> str:
    """Go back to the stage's best state, to try again, gentler; returns what there is to say.

    Raises:
        DivergedError: it was the last try.
    """
    stage, attempt = run.stage, run.position.attempt
    if attempt == RETRIES:
        state = _keep_refused(run, split)
        raise DivergedError(
            "diverged",
            f"stage {stage.name} failed {RETRIES + 1} times, the last time: {problem}; its best "
            f"state is in {refused_file(run)}; to go on: {remedy.command(run, state, problem)}",
        )
    run.network.load_state_dict(run.best.weights)
    run.begin_average()
    run.optimiser = make_optimiser(run.network, run.experiment.settings)
    run.position = Position(run.position.stage, attempt + 1)
    save_and_go_on(run)
    return f"{stage.name}: {problem}; back to its best state, learning rate halved"


def _keep_refused(run: Run, split: Split) -> Best:
    """Keep the best state of a stage that failed, for whoever can use it all the same: the best
    healthy one, or else the most accurate, or else the one that the stage began with."""
    state = run.best if run.best.epoch >= 0 else run.unhealthy or run.best
    if not state.rates:
        run.network.load_state_dict(state.weights)
        accuracy, rates = evaluate(run.network, split.held_out, split.held_out_labels, run)
        state = run.unhealthy = Best(accuracy, 0, rates, state.weights)
        save_and_go_on(run)  # the run can go on from it
    _save(run, _outcome(run, state), state.weights, refused_file(run))
    return state


def finish(run: Run, split: Split) -> None:
    """Keep the stage's best state as a checkpoint and make the next stage's network from it."""
    run.network.load_state_dict(run.best.weights)
    run.average = None
    _settle(run, split)
    outcome = _outcome(run, run.best)
    run.outcomes.append(outcome)
    _save(run, outcome, run.best.weights, stage_file(run, run.stage.name))
    if run.team.leads:
        refused_file(run).unlink(missing_ok=True)
    run.position = Position(run.position.stage + 1)
    if not run.finished:
        _begin(run, split)
    save_and_go_on(run)


def _outcome(run: Run, state: Best) -> dict[str, Any]:
    """What a state of the stage reached; the test set is not read yet."""
    mine = [r for r in run.records if r["stage"] == run.stage.name]
    return {
        "stage": run.stage.name,
        "timesteps": run.stage.timesteps,
        "bits": run.stage.bits,
        "validation": state.accuracy,
        "test": None,
        "spike_rate": run.network.spike_rate(state.rates) if run.stage.timesteps else None,
        "rates": state.rates,
        "epochs": len(mine),
        "seconds": round(sum(r["seconds"] for r in mine), 1),
    }


def _settle(run: Run, split: Split) -> None:
    """Settle the best state's normalisations; kept where validation is none the worse for it."""
    if not run.network.normalised_weights():
        return
    order = torch.randperm(len(split.images), generator=run.random("settling"))
    parts = torch.split(order, split.batch)[:SETTLING_BATCHES]
    settle(run.network, batches(run, split.images, parts))
    accuracy, rates = evaluate(run.network, split.held_out, split.held_out_labels, run)
    if not keep_if_best(run, accuracy, rates, run.best.epoch):
        run.network.load_state_dict(run.best.weights)


def _begin(run: Run, split: Split) -> None:
    settings, first = run.experiment.settings, run.network.timesteps == 0
    if run.stage.bits:
        run.network = in_integers(run.network, run.stage.bits, run.experiment.normalisation)
    else:
        run.network = descend(run.network, run.stage.timesteps)
    if first:
        chosen = torch.randperm(len(split.images), generator=run.random("calibration"))
        most = max(64, CALIBRATION_PIXELS // math.prod(split.images.shape[1:3]))
        sample = [chosen[: min(CALIBRATION_IMAGES, most)]]
        (images,) = batches(run, split.images, sample, team=ALONE)  # all see the same
        set_thresholds(run.network, images, settings.percentile)
    run.begin_average()
    run.optimiser = make_optimiser(run.network, settings)
    run.best, run.unhealthy = first_best(run.network), None


def test(run: Run, data: DataSet) -> None:
    """Read the test set, once, for every stage of this run, when nothing is left to choose."""
    device = next(run.network.parameters()).device
    images, labels = data.test_images.to(device), data.test_labels.to(device)
    own = {stage.name for stage in run.experiment.settings.stages}
    outcomes = [outcome for outcome in run.outcomes if outcome["stage"] in own]
    for outcome in outcomes:
        network = network_of(run, outcome["stage"])
        outcome["test"], outcome["test_rates"] = evaluate(network, images, labels, run)
    for outcome in outcomes:
        weights = checkpoint.load(stage_file(run, outcome["stage"]))["network"]
        _save(run, outcome, weights, stage_file(run, outcome["stage"]))
    insist(run.save)


def stage_file(run: Run, name: str) -> Path:
    return run.directory / f"{name}.pt"


def refused_file(run: Run) -> Path:
    return stage_file(run, f"{run.stage.name}-refused")


def _save(run: Run, outcome: dict[str, Any], weights: dict[str, Tensor], file: Path) -> None:
    content = run.experiment.describe() | {
        "timesteps": outcome["timesteps"],
        "bits": outcome.get("bits", 0),  # a stage from before there were integers
        "metrics": outcome,
        "history": run.outcomes,
        "network": {name: tensor.cpu() for name, tensor in weights.items()},
    }
    if run.team.leads:
        insist(lambda: checkpoint.save(file, content))
    run.team.wait()  # the others read it
