"""How fast a run goes, and how long it has still to go: told by its own records.

an epoch    its steps, and validation: the mean of the stage's last epochs
before      what was measured for a budget, or the speed of the steps so far, or that of another
            stage: an epoch's cost is 3 max(T, 1), and one more where a teacher looks on, since a
            backward pass costs about two forward ones
the end     what validation costs for every picture that settling and the test look at
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from snn_train.batches import Split
from snn_train.records import EpochRecord
from snn_train.stage import Stage
from snn_train.stages import SETTLING_BATCHES
from snn_train.state import Run

RECENT, SPAN, PART = 3, 10.0, 0.05
"""Epochs whose mean counts, or more until they took so many seconds, or that part of a budget of
time: a machine may be busier than it was, but not every second."""
OFTEN = 120.0
"""Seconds of an epoch after which it is time for a sign of life."""


@dataclass(frozen=True)
class Pace:
    """Where a run is, after a step, and how fast it goes."""

    stage: str
    epoch: int
    """From 1."""
    epochs: int
    """Epochs of the stage."""
    step: int
    """Steps of the epoch that are done."""
    steps: int
    images_per_second: float
    """Over the epoch so far, without validation."""
    epochs_left: int
    """Of all stages, after this one."""
    seconds_left: float
    """To the end of the run, the test included."""
    due: bool
    """Whether another two minutes of the epoch are over: where nothing is seen of a step, say so
    now."""


@dataclass(frozen=True)
class EpochTime:
    """Seconds of an epoch of a stage."""

    steps: float
    validation: float

    @property
    def whole(self) -> float:
        return self.steps + self.validation


def pace(run: Run, split: Split, before: float) -> Pace:
    """Where the run is; `before` are the seconds of the epoch before this step."""
    at, stage = run.position, run.stage
    return Pace(
        stage.name,
        at.epoch + 1,
        stage.epochs,
        at.step,
        split.steps,
        at.step * split.batch_size / max(at.seconds, 1e-9),
        epochs_left(run) - 1,
        seconds_left(run, split),
        at.seconds // OFTEN > before // OFTEN,
    )


def epochs_left(run: Run) -> int:
    """Epochs that are not over, of all stages."""
    return sum(stage.epochs for stage in _stages_left(run)) - run.position.epoch


def seconds_left(run: Run, split: Split) -> float:
    """Seconds to the end of the run, the test included, if nothing goes wrong."""
    at, done, total = run.position, run.position.epoch + run.position.step / split.steps, 0.0
    for stage in run.recipe.stages[: at.stage]:
        total += test_of_stage(run, split, epoch_time(run, split, stage))
    for stage in _stages_left(run):
        time = epoch_time(run, split, stage)
        epochs = stage.epochs - done
        total += epochs * time.steps + math.ceil(epochs) * time.validation
        total += end_of_stage(run, split, time)
        done = 0.0
    return total


def end_of_stage(run: Run, split: Split, time: EpochTime) -> float:
    """Seconds to settle a stage's normalisations and judge them, and for its part of the test."""
    settling = min(SETTLING_BATCHES * split.batch_size, len(split.images))
    settled = time.validation * (1 + settling / max(1, len(split.held_out_labels)))
    return settled + test_of_stage(run, split, time)


def test_of_stage(run: Run, split: Split, time: EpochTime) -> float:
    """Seconds to read the test set for a stage."""
    return time.validation * run.test_pictures / max(1, len(split.held_out_labels))


def epoch_time(run: Run, split: Split, stage: Stage) -> EpochTime:
    """Return what an epoch of a stage takes; zeros while nothing has been measured at all."""
    span = max(SPAN, PART * run.time_budget.seconds) if run.time_budget else SPAN
    mine = recent([record for record in run.records if record.stage == stage.name], span)
    if mine:
        validation = [record.validation_seconds or 0.0 for record in mine]
        return EpochTime(_mean([record.seconds for record in mine]), _mean(validation))
    if run.time_budget and stage.name in run.time_budget.measured:
        return EpochTime(*run.time_budget.measured[stage.name])
    at, now = run.position, run.stage
    if at.step:
        known, steps = now, at.seconds * split.steps / at.step
    elif run.records:
        known, steps = _stage_named(run, run.records[-1].stage), run.records[-1].seconds
    else:
        return EpochTime(0.0, 0.0)
    steps *= cost(run, stage) / cost(run, known)
    forward = len(split.held_out_labels) / (split.steps * split.batch_size)
    return EpochTime(steps, steps * forward * max(stage.timesteps, 1) / cost(run, stage))


def recent(records: Sequence[EpochRecord], span: float = SPAN) -> Sequence[EpochRecord]:
    """The last of a stage's records, by which the next epochs are foreseen."""
    count, seconds = 0, 0.0
    while count < len(records) and (count < RECENT or seconds < span):
        count += 1
        seconds += records[-count].seconds
    return records[len(records) - count :]


def cost(run: Run, stage: Stage) -> int:
    """Forward passes of the ANN that training on a picture costs."""
    recipe = run.recipe
    teacher = stage.name != recipe.teacher and recipe.distillation and not recipe.cached_teacher
    return 3 * max(stage.timesteps, 1) + bool(teacher)


def _stages_left(run: Run) -> Sequence[Stage]:
    return run.recipe.stages[run.position.stage :]


def _stage_named(run: Run, name: str) -> Stage:
    return next((stage for stage in run.recipe.stages if stage.name == name), run.recipe.stages[0])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
