"""The training loop: stages, epochs, steps.

a run     its stages, one after another; at last the test set
a stage   its epochs, begun again gentler where it may not pass on; then the next one begins
an epoch  its steps; then what was reached is measured, noted, kept if it is the best, saved
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snn_train import stages
from snn_train.batches import Batch, Split
from snn_train.data import DataSet
from snn_train.parallel import distribute
from snn_train.progress import Progress
from snn_train.saving import insist, save_and_go_on, write_metrics
from snn_train.state import Position, Run
from snn_train.step import OutOfMemory, halve_parts, step
from snn_train.teacher import load_teacher
from snn_train.validation import epoch_record, evaluate, keep_if_best, stage_problem

SAVE_EVERY = 60.0
"""Seconds of training that a power cut may cost."""


class Stopped(Exception):
    """`Progress.stop` stopped the run; its state is saved."""


def train_run(
    run: Run,
    data: DataSet,
    progress: Progress,
    stop: Callable[[], bool],
    compiled: bool = False,
) -> None:
    """Carry `run` on to its end, leaving `ann.pt`, `t1.pt`, … behind.

    Args:
        stop: called after every step; True saves the state and raises `Stopped`.
        compiled: let torch.compile make the steps faster; changes roundings.

    Raises:
        Stopped: `stop` returned True.
        DivergedError: a stage failed its gate three retries in a row.
        ResourceError: a checkpoint cannot be written, or memory does not suffice.
    """
    write_metrics(run)  # a process that was killed may have saved its state alone
    split = Split(run, data)
    while not run.finished:
        trainer = StageTrainer(run, split, progress, stop, *_models(run, compiled))
        while problem := trainer.train():
            progress.note(stages.retry(run, problem, split))
        stages.finish(run, split)
    stages.test(run, data)


def _models(run: Run, compiled: bool) -> tuple[nn.Module, nn.Module | None]:
    """The student and the teacher of a stage, as a step calls them."""
    student: nn.Module = run.network
    teacher: nn.Module | None = load_teacher(run)
    if compiled and not run.stage.bits:  # whose rounding has to stay export's
        student = torch.compile(student)  # type: ignore[assignment]  # a module of the same kind
        teacher = torch.compile(teacher) if teacher is not None else None  # type: ignore[assignment]  # likewise
    # At T = 1 nothing reaches a leak, and in the ANN no threshold.
    return distribute(student, run.team, unused_parameters=run.stage.timesteps < 2), teacher


@dataclass
class StageTrainer:
    """Trains the stage that a run is in."""

    run: Run
    split: Split
    progress: Progress
    stop: Callable[[], bool]
    student: nn.Module
    """The run's network, or what compiles or distributes it."""
    teacher: nn.Module | None

    def train(self) -> str:
        """Train to the end of the stage; return why it may not pass on, or an empty string."""
        run, split = self.run, self.split
        while run.position.epoch < run.stage.epochs:
            mean_loss = self.train_epoch()
            if not math.isfinite(mean_loss):
                return "loss is not finite"
            accuracy, rates = evaluate(run.judged, split.held_out, split.held_out_labels, run)
            record = epoch_record(run, mean_loss, accuracy, rates, split.steps * split.batch_size)
            run.records.append(record)
            if run.active_budget and record.spike_rate is not None:
                run.active_budget.correct(record.spike_rate)
            self.progress.epoch(record)
            at = run.position
            keep_if_best(run, accuracy, rates, at.epoch)
            run.position = Position(at.stage, at.attempt, at.epoch + 1)
            save_and_go_on(run)
        return stage_problem(run)

    def train_epoch(self) -> float:
        """Train from the run's step to the end of its epoch and return the mean loss."""
        run, split, team = self.run, self.split, self.run.team
        at, device = run.position, split.labels.device
        # Each process adds up its own; what was saved is of all, and counts in the first.
        loss = torch.tensor(at.loss * team.leads, dtype=torch.float64, device=device)
        begun = saved = time.monotonic() - at.seconds
        run.network.train()
        steps = self.progress.steps(range(at.step, split.steps), run, split.steps)
        for number, batch in zip(steps, split.epoch(run), strict=False):
            at.step = number
            loss += self._step(batch) / team.size
            at.step, at.seconds = number + 1, time.monotonic() - begun
            stopping, late = team.any(self.stop(), time.monotonic() - saved > SAVE_EVERY)
            if stopping or late:
                at.loss, saved = float(team.sum(loss)), time.monotonic()
                insist(run.save) if stopping else save_and_go_on(run)
            if stopping:
                raise Stopped
        return float(team.sum(loss)) / split.steps

    def _step(self, batch: Batch) -> Tensor:
        """Take the run's step, in smaller and smaller parts until memory suffices."""
        at, in_epoch = self.run.position, self.split.steps
        done, total = at.epoch * in_epoch + at.step, self.run.stage.epochs * in_epoch
        note = ""
        while True:
            try:
                loss = step(self.run, self.student, self.teacher, batch, done, total)
                break
            except OutOfMemory:
                pass  # by now whatever the failed try held is free
            note = halve_parts(self.run, len(batch.labels))
        if note:
            self.progress.note(note)
        return loss
