"""How a stage ends, and how the next one begins.

A stage that may not pass on goes back to its best state with half the learning rate, at most three
times.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snn_runtime.errors import DivergedError
from snn_train import checkpoint, remedy
from snn_train.batches import Split, batches
from snn_train.calibrate import convert, set_thresholds, settle
from snn_train.data import DataSet
from snn_train.integer import in_integers
from snn_train.optimiser import make_optimiser
from snn_train.parallel import ALONE
from snn_train.records import StageOutcome
from snn_train.saving import insist, save_and_go_on
from snn_train.state import Kept, Position, Run, first_best
from snn_train.teacher import load_stage
from snn_train.validation import evaluate, keep_if_best

RETRIES = 3
CALIBRATION_IMAGES = 512
CALIBRATION_PIXELS = 512 * 64 * 64
"""At most; but 64 pictures, the authors' number for ImageNet, are always taken."""
SETTLING_BATCHES = 24


def retry(run: Run, problem: str, split: Split) -> str:
    """Go back to the stage's best state, to try again, gentler; returns a message.

    Raises:
        DivergedError: it was the last try.
    """
    stage, attempt = run.stage, run.position.attempt
    if attempt == RETRIES:
        if "not finite" in problem:  # nor is what is left; whoever goes on begins the stage again
            _go_back(run, attempt)
        state = _keep_refused(run, split)
        why = remedy.reason(state, problem)
        raise DivergedError(
            "diverged",
            f"stage {stage.name} failed {RETRIES + 1} times, the last time: {problem}{why}; its "
            f"best state is in {refused_file(run)}; to go on: "
            f"{remedy.command(run, state, problem)}",
        )
    _go_back(run, attempt + 1)
    return f"{stage.name}: {problem}; back to its best state, learning rate halved"


def _go_back(run: Run, attempt: int) -> None:
    """Begin the stage again from its best state."""
    run.network.load_state_dict(run.best.weights)
    run.begin_average()
    run.optimiser = make_optimiser(run.network, run.recipe)
    run.position = Position(run.position.stage, attempt)
    save_and_go_on(run)


def _keep_refused(run: Run, split: Split) -> Kept:
    """Keep the best state of a stage that failed, which may be usable all the same: the best
    healthy one, or else the most accurate, or else the one that the stage began with."""
    state = run.best if run.best.epoch >= 0 else run.unhealthy or run.best
    if not state.rates:
        run.network.load_state_dict(state.weights)
        accuracy, rates = evaluate(run.network, split.held_out, split.held_out_labels, run)
        state = run.unhealthy = Kept(accuracy, 0, rates, state.weights)
        save_and_go_on(run)  # the run can go on from it
    _save(run, _outcome(run, state), state.weights, refused_file(run))
    return state


def finish(run: Run, split: Split) -> str:
    """Keep the stage's best state as a checkpoint and make the next stage's network from it;
    returns a message, empty where the line of the last epoch says all."""
    run.network.load_state_dict(run.best.weights)
    run.average = None
    settled = _settle(run, split)
    outcome = _outcome(run, run.best)
    message = _kept(run, outcome, settled)
    run.outcomes.append(outcome)
    _save(run, outcome, run.best.weights, run.checkpoint(run.stage.name))
    if run.team.leads:
        refused_file(run).unlink(missing_ok=True)
    run.position = Position(run.position.stage + 1)
    if not run.finished:
        begin(run, split)
    save_and_go_on(run)
    return message


def _kept(run: Run, outcome: StageOutcome, settled: bool) -> str:
    """Say which state a stage keeps, where the last epoch's line shows other numbers."""
    last, now = run.records[-1], _shown(outcome.validation, outcome.spike_rate)
    if now == _shown(last.validation, last.spike_rate):
        return ""
    how = ", with its normalisations averaged anew (settled)" if settled else ""
    return f"{outcome.stage}: kept as it was after epoch {run.best.epoch + 1}{how}: {now}"


def _shown(validation: float, spike_rate: float | None) -> str:
    """As an epoch's line has them."""
    spikes = "" if spike_rate is None else f"  spikes {spike_rate:.1%}"
    return f"validation {validation:.2%}{spikes}"


def _outcome(run: Run, state: Kept) -> StageOutcome:
    """What a state of the stage reached; the test set is not read yet."""
    mine = [record for record in run.records if record.stage == run.stage.name]
    return StageOutcome(
        stage=run.stage.name,
        timesteps=run.stage.timesteps,
        bits=run.stage.bits,
        validation=state.accuracy,
        test=None,
        spike_rate=run.network.spike_rate(state.rates) if run.stage.timesteps else None,
        rates=state.rates,
        epochs=len(mine),
        seconds=round(sum(record.seconds for record in mine), 1),
    )


def _settle(run: Run, split: Split) -> bool:
    """Settle the best state's normalisations where validation is none the worse for it; returns
    whether they are."""
    if not run.network.normalised_weights():
        return False
    order = torch.randperm(len(split.images), generator=run.random("settling"))
    # Full batches only: of one picture alone no normalisation has a variance.
    parts = torch.split(order, split.batch_size)[: min(SETTLING_BATCHES, split.steps)]
    settle(run.network, batches(run, split.images, parts))
    accuracy, rates = evaluate(run.network, split.held_out, split.held_out_labels, run)
    better = keep_if_best(run, accuracy, rates, run.best.epoch, run.best.accuracy)
    if not better:
        run.network.load_state_dict(run.best.weights)
    return better


def begin(run: Run, split: Split) -> None:
    """Make the network of the run's stage from what the run has, an ANN or more timesteps."""
    first = run.network.timesteps == 0
    if run.stage.bits:
        run.network = in_integers(run.network, run.stage.bits, run.experiment.normalisation)
    else:
        run.network = convert(run.network, run.stage.timesteps)
    if first:
        chosen = torch.randperm(len(split.images), generator=run.random("calibration"))
        most = max(64, CALIBRATION_PIXELS // math.prod(split.images.shape[1:3]))
        sample = [chosen[: min(CALIBRATION_IMAGES, most)]]
        (images,) = batches(run, split.images, sample, team=ALONE)  # all see the same
        set_thresholds(run.network, images, run.recipe.percentile)
    run.begin_average()
    run.optimiser = make_optimiser(run.network, run.recipe)
    run.best, run.unhealthy = first_best(run.network), None


def judge_first(run: Run, data: DataSet) -> None:
    """Measure what a run begins with, where that is the stage before its own: its file says how
    good it was on pictures that may be others, or nothing. Again, if it was stopped in between."""
    if run.records or run.finished or not (run.position.stage or run.stage.bits):
        return
    network, split = load_stage(run, run.recipe.origin), Split(run, data)
    accuracy, rates = evaluate(network, split.held_out, split.held_out_labels, run)
    rate = network.spike_rate(rates) if network.timesteps else None
    measured: dict[str, Any] = {"validation": accuracy, "rates": rates, "spike_rate": rate}
    if run.outcomes:
        run.outcomes[-1] = replace(run.outcomes[-1], **measured)
        return
    name, steps = run.recipe.origin, network.timesteps
    run.outcomes.append(
        StageOutcome(stage=name, timesteps=steps, test=None, epochs=0, seconds=0.0, **measured)
    )


def test(run: Run, data: DataSet) -> Tensor:
    """Read the test set, once, for every stage of this run, when nothing is left to choose.

    Returns:
        The last stage's logits, float32 `(N, classes)` on the CPU.
    """
    device = next(run.network.parameters()).device
    images, labels = data.test_images.to(device), data.test_labels.to(device)
    logits = torch.zeros(len(labels), len(data.labels))
    own = [stage.name for stage in run.recipe.stages]
    for index, outcome in enumerate(run.outcomes):
        if outcome.stage in own:
            network = load_stage(run, outcome.stage)
            accuracy, rates = evaluate(network, images, labels, run, logits)
            run.outcomes[index] = replace(outcome, test=accuracy, test_rates=rates)
    for outcome in run.outcomes:  # whose history holds what all of them reached
        if outcome.stage in own:
            file = run.checkpoint(outcome.stage)
            _save(run, outcome, checkpoint.load(file)["network"], file)
    insist(run.save)
    return logits


def refused_file(run: Run) -> Path:
    return run.checkpoint(f"{run.stage.name}-refused")


def _save(run: Run, outcome: StageOutcome, weights: dict[str, Tensor], file: Path) -> None:
    at = (outcome.timesteps, outcome.bits)
    content = run.experiment.checkpoint(*at, weights, outcome, run.outcomes)
    if run.team.leads:
        insist(lambda: checkpoint.save(file, content))
    run.team.wait()  # the others read it
