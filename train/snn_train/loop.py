"""The training loop: stages, epochs, steps."""

import math
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch

from snn_train import stages
from snn_train.data import DataSet
from snn_train.descent import Descent, batches
from snn_train.run import Position, Run
from snn_train.saving import insist, save_and_go_on
from snn_train.validation import evaluate, keep_if_best, problem, record, write_metrics

SAVE_EVERY = 60.0
"""Seconds of training that a power cut may cost."""


class Display(Protocol):
    """What the loop tells while it runs."""

    def steps(self, items: Iterable[int], run: Run, total: int) -> Iterable[int]: ...
    def epoch(self, record: dict[str, Any]) -> None: ...
    def note(self, text: str) -> None: ...


class Stopped(Exception):
    """A signal asked the run to stop; its state is saved."""


def train(
    run: Run,
    data: DataSet,
    display: Display,
    stop: Callable[[], bool],
    compiled: bool = False,
) -> None:
    """Carry `run` on to its end, leaving `ann.pt`, `t5.pt`, … behind.

    Args:
        stop: asked after every step; True saves the state and raises `Stopped`.
        compiled: let torch.compile make the steps faster; changes roundings.

    Raises:
        Stopped: as asked.
        DivergedError: a stage failed its gate three retries in a row.
        ResourceError: a checkpoint cannot be written, or memory does not suffice.
    """
    write_metrics(run)  # a process that was killed may have saved its state alone
    split = stages.Split(run, data)
    while not run.finished:
        descent = Descent(run, stages.teacher(run), compiled)
        while trouble := _train_epochs(descent, split, display, stop) or problem(run):
            display.note(stages.retry(run, trouble, split))
        stages.finish(run, split)
    stages.test(run, data)


def _train_epochs(
    descent: Descent, split: stages.Split, display: Display, stop: Callable[[], bool]
) -> str:
    """Train to the end of the stage, or return what went wrong on the way."""
    run = descent.run
    while run.position.epoch < run.stage.epochs:
        mean_loss = _train_epoch(descent, split, display, stop)
        if not math.isfinite(mean_loss):
            return "loss is not finite"
        accuracy, rates = evaluate(run.judged, split.held_out, split.held_out_labels, run)
        run.records.append(record(run, mean_loss, accuracy, rates, split.steps * split.batch))
        display.epoch(run.records[-1])
        at = run.position
        keep_if_best(run, accuracy, rates, at.epoch)
        run.position = Position(at.stage, at.attempt, at.epoch + 1)
        save_and_go_on(run)
    return ""


def _train_epoch(
    descent: Descent, split: stages.Split, display: Display, stop: Callable[[], bool]
) -> float:
    """Train from the run's step to the end of its epoch and return the mean loss."""
    run, at, device = descent.run, descent.run.position, split.images.device
    order = torch.randperm(len(split.images), generator=run.random("order"))
    mine = run.team.share(split.batch)
    # Each process adds up its own; what was saved is of all, and counts in the first.
    loss = torch.tensor(at.loss * run.team.leads, dtype=torch.float64, device=device)
    total = split.steps * run.stage.epochs
    begun = saved = time.monotonic() - at.seconds
    run.network.train()
    parts = torch.split(order, split.batch)[: split.steps]
    pictures = batches(run, split.images, parts, at.step)
    for step in display.steps(range(at.step, split.steps), run, split.steps):
        at.step = step
        labels = split.labels[parts[step][mine].to(device)]
        done = at.epoch * split.steps + step
        of_step, note = descent.step(next(pictures), labels, done, total)
        if note:
            display.note(note)
        loss += of_step / run.team.size
        at.step, at.seconds = step + 1, time.monotonic() - begun
        stopping, late = run.team.any(stop(), time.monotonic() - saved > SAVE_EVERY)
        if stopping or late:
            at.loss, saved = float(run.team.sum(loss)), time.monotonic()
            insist(run.save) if stopping else save_and_go_on(run)
        if stopping:
            raise Stopped
    return float(run.team.sum(loss)) / split.steps
