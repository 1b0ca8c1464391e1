"""The training loop: stages, epochs, steps.

a run     its stages, one after another; at last the test set
a stage   its epochs, begun again gentler where it may not pass on; then the next one begins
an epoch  its steps; then what was reached is measured, noted, kept if it is the best, saved
"""

import math
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from snn_train import stages
from snn_train.batches import Batch, Split
from snn_train.data import DataSet
from snn_train.pace import epochs_left, pace, seconds_left
from snn_train.planning import adjust
from snn_train.progress import Progress
from snn_train.records import EpochRecord
from snn_train.saving import insist, save_and_go_on, write_metrics
from snn_train.state import Position, Run
from snn_train.step import as_called, step_in_parts
from snn_train.teacher import cached_logits, load_teacher
from snn_train.validation import (
    epoch_record,
    evaluate,
    keep_if_best,
    stage_problem,
    within_chance,
)

SAVE_EVERY = 60.0
"""Seconds of training that a power cut may cost."""
SAVING_SHARE = 0.05
"""Of the time: an epoch that is over sooner leaves its state to a later one to save."""


class Stopped(Exception):
    """`Progress.stop` stopped the run; its state is saved."""


def train_run(run: Run, data: DataSet, progress: Progress) -> Tensor:
    """Carry `run` on to its end, leaving `ann.pt`, `t1.pt`, … behind.

    Returns:
        What the last stage's network answers to the test pictures, as `stages.test` does.

    Raises:
        Stopped: `progress.stop` returned True; the state is saved.
        DivergedError: a stage failed its gate three retries in a row.
        ResourceError: a checkpoint cannot be written, or memory does not suffice.
    """
    write_metrics(run)  # a process that was killed may have saved its state alone
    split = Split(run, data)
    while not run.finished:
        if (run.network.timesteps, run.network.bits) != (run.stage.timesteps, run.stage.bits):
            stages.begin(run, split)  # from an ANN that was trained before
        student, teacher = as_called(run.network, load_teacher(run), run.team, run.compiled)
        split.teacher_logits = None
        if teacher is not None and run.recipe.cached_teacher:
            progress.note(f"the teacher answers to {len(split.images):,} pictures, once")
            split.teacher_logits, teacher = cached_logits(run, split, teacher), None
        trainer = StageTrainer(run, split, progress, student, teacher)
        while problem := trainer.train():
            progress.note(stages.retry(run, problem, split))
        if kept := stages.finish(run, split):
            progress.note(kept)
    return stages.test(run, data)


@dataclass
class StageTrainer:
    """Trains the stage that a run is in."""

    run: Run
    split: Split
    progress: Progress
    student: nn.Module
    """The run's network, or what compiles or distributes it."""
    teacher: nn.Module | None
    next_save: float = 0.0
    """On the monotonic clock: when an epoch's end is worth one."""

    def train(self) -> str:
        """Train to the end of the stage; return why it may not pass on, or an empty string."""
        run, split = self.run, self.split
        if not run.position.epoch and not run.position.step:
            self._adjust()
        while run.position.epoch < run.stage.epochs:
            loss, training = self.train_epoch()
            if not math.isfinite(loss):
                return "loss is not finite"
            record = self._measured(loss, training)
            run.records.append(record)
            if run.active_budget and record.spike_rate is not None:
                run.active_budget.correct(record.spike_rate)
            at = run.position
            least = within_chance(run.best.highest, len(split.held_out_labels))
            keep_if_best(run, record.validation, record.rates, at.epoch, least)
            run.position = Position(at.stage, at.attempt, at.epoch + 1)
            self._adjust()
            left = round(seconds_left(run, split), 1)
            run.records[-1] = replace(record, epochs_left=epochs_left(run), seconds_left=left)
            self.progress.epoch(run.records[-1])
            self._save()
        return stage_problem(run)

    def train_epoch(self) -> tuple[float, float]:
        """Train from the run's step to the end of its epoch; return the mean loss and accuracy."""
        run, split, team = self.run, self.split, self.run.team
        at, device = run.position, split.labels.device
        # Each process adds up its own; what was saved is of all, and counts in the first.
        before = torch.tensor([at.loss, at.training], dtype=torch.float64, device=device)
        sums = before * team.leads
        begun = saved = time.monotonic() - at.seconds
        run.network.train()
        for batch in split.epoch(run):
            sums += self._step(batch) / team.size
            earlier, now = at.seconds, time.monotonic()
            at.step, at.seconds = at.step + 1, now - begun
            self.progress.step(pace(run, split, earlier))
            stopping, late = team.any(self.progress.stop(), now - saved > SAVE_EVERY)
            if stopping or late:
                (at.loss, at.training), saved = team.sum(sums).tolist(), time.monotonic()
                insist(run.save) if stopping else save_and_go_on(run)
            if stopping:
                raise Stopped
        loss, training = (team.sum(sums) / split.steps).tolist()
        return loss, training

    def _save(self) -> None:
        """Save the state at the end of an epoch, if it is the stage's last one or time for it."""
        begun = time.monotonic()
        if begun >= self.next_save or self.run.position.epoch >= self.run.stage.epochs:
            save_and_go_on(self.run)
            self.next_save = begun + (time.monotonic() - begun) / SAVING_SHARE

    def _adjust(self) -> None:
        """Keep to the budget of time, where there is one."""
        if note := adjust(self.run, self.split):
            self.progress.note(note)

    def _measured(self, loss: float, training: float) -> EpochRecord:
        """Judge what the epoch has reached."""
        run, split, begun = self.run, self.split, time.monotonic()
        accuracy, rates = evaluate(run.judged, split.held_out, split.held_out_labels, run)
        seconds, images = time.monotonic() - begun, split.steps * split.batch_size
        return epoch_record(run, (loss, training), accuracy, rates, images, seconds)

    def _step(self, batch: Batch) -> Tensor:
        """Take the run's step."""
        at, in_epoch = self.run.position, self.split.steps
        done, total = at.epoch * in_epoch + at.step, self.run.stage.epochs * in_epoch
        how = (self.run, self.student, self.teacher)
        measured, note = step_in_parts(*how, batch, done, total)
        if note:
            self.progress.note(note)
        return measured
