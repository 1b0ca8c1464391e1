"""Measuring a machine before a run, and planning the run to a budget of time by that.

A few of the run's real steps are taken in every stage. Where the width is free, it is the widest at
which there is time for `ENOUGH` of the recipe's epochs: with fewer a narrower network learns more
in the same time.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from torch import nn

from snn_runtime.errors import UsageError
from snn_train import state
from snn_train.batches import Split
from snn_train.calibrate import set_thresholds, settle
from snn_train.data import DataSet
from snn_train.duration import show
from snn_train.ensemble import Ensemble
from snn_train.experiment import Experiment
from snn_train.pace import EpochTime, end_of_stage
from snn_train.parallel import Team
from snn_train.planning import with_epochs
from snn_train.stage import Stage
from snn_train.state import Run
from snn_train.step import as_called, step_in_parts
from snn_train.time_budget import AIM, PICTURES, TimeBudget, factor, shared
from snn_train.validation import evaluate

WIDTHS = (0.125, 0.25, 0.375, 0.5, 0.75, 1.0)
"""Of the recipe's own, where it is free."""
ENOUGH = 1 / 3
STEPS, MOST, WHILE = 2, 20, 0.25
"""Steps measured in each stage, at least and at most, and for how many seconds at least; after one
that is not, in which torch prepares, or compiles, its kernels. On an H200 the next two took twice
as long as those of the run."""
EVALUATED = 500
"""Pictures of validation that are measured, at most."""
CALIBRATED = 64
"""Pictures by whose currents thresholds are set, at most; a run's own stages take no fewer."""
GAIN = 1.5
"""By how much a wider network's multiply-adds may be faster; where even so there would not be time
enough for it, it is not measured."""


class Place(NamedTuple):
    """Where a run is going to be computed."""

    device: torch.device
    team: Team
    micro_batch: int | None
    compiled: bool = False
    ensemble: Ensemble | None = None


def planned(
    experiment: Experiment,
    data: DataSet,
    budget: TimeBudget,
    free: bool,
    place: Place,
    done: int = 0,
) -> Experiment:
    """Return the experiment with the epochs that fit into the budget, and the width if it is free.

    Args:
        done: how many of its stages are trained already.

    Raises:
        UsageError: `bad_flag`: there is not time for an epoch of every stage.
    """
    full = experiment.recipe.width
    widths = [full * share for share in WIDTHS] if free else [full]
    chosen: _Probe | None = None
    for width, wider in zip(widths, [*widths[1:], 0.0], strict=True):
        tried = replace(experiment, recipe=replace(experiment.recipe, width=width))
        probe = _Probe(tried, data, place, done)
        probe.measure(compiled=place.compiled and not free)  # which takes a minute a width
        enough = factor(place.team.first(budget.left()), probe.weights, *probe.costs()) / ENOUGH
        if chosen and enough < 1:
            break
        chosen = probe
        if enough * GAIN < (wider / width) ** 2:
            break
    assert chosen is not None
    if place.compiled and free:
        chosen.measure(compiled=True)
    budget.measured = chosen.times
    return chosen.fitting(budget)


class _Probe:
    """An experiment of which a few steps are taken, and nothing is kept."""

    def __init__(self, experiment: Experiment, data: DataSet, place: Place, done: int) -> None:
        self.experiment, self.place, self.device = experiment, place, place.device
        self.run = state.start(experiment, Path(), place.device)
        self.run.team, self.run.micro_batch = place.team, place.micro_batch
        self.run.test_pictures = len(data.test_labels)
        self.split = Split(self.run, data)
        self.done, self.stages = experiment.recipe.stages[:done], experiment.recipe.stages[done:]
        self.weights = [stage.epochs for stage in self.stages]
        self.times: dict[str, tuple[float, float]] = {}
        """By stage: seconds of an epoch's steps, and of validation."""

    def measure(self, compiled: bool) -> None:
        self.times = {stage.name: self._time(stage, compiled) for stage in self.stages}

    def costs(self) -> tuple[list[float], float]:
        """Seconds of an epoch of every stage, and of the ends of all."""
        each = [EpochTime(*self.times[stage.name]) for stage in self.stages]
        return [t.whole for t in each], sum(end_of_stage(self.run, self.split, t) for t in each)

    def fitting(self, budget: TimeBudget) -> Experiment:
        """Return the experiment with as many epochs as there is time for.

        Raises:
            UsageError: `bad_flag`: that is less than one of every stage.
        """
        (epochs, ends), left = self.costs(), self.run.team.first(budget.left())
        if sum(epochs) + ends > left:
            used, need = budget.used(), sum(epochs) + ends + PICTURES
            raise UsageError(
                "bad_flag",
                f"--budget {show(budget.seconds)}: to load and measure took {show(used)}, an epoch "
                f"of every stage, the test and the pictures take {show(need)} more, expected "
                f"{show((used + need) / AIM)} at least",
            )
        counts = shared(left, self.weights, epochs, ends)
        return with_epochs(self.experiment, [*(stage.epochs for stage in self.done), *counts])

    def _time(self, stage: Stage, compiled: bool) -> tuple[float, float]:
        recipe = replace(self.experiment.recipe, stages=(stage,))
        run = state.start(replace(self.experiment, recipe=recipe), Path(), self.device)
        run.team, run.micro_batch = self.run.team, self.run.micro_batch
        teacher = self._teacher(stage)
        if stage.timesteps:
            self._fire_as_wanted(run)
        run.network.train()
        student, teacher = as_called(run.network, teacher, run.team, compiled)
        batches = chain.from_iterable(self.split.epoch(run) for _ in count())

        def step() -> None:
            step_in_parts(run, student, teacher, next(batches), 0, 1)

        def validate() -> None:
            evaluate(run.network, self.split.held_out[:some], labels[:some], run)

        labels = self.split.held_out_labels
        some = min(EVALUATED, len(labels))
        step()
        seconds, validation = self._each(step, STEPS), self._each(validate, 1)
        self.run.micro_batch = run.micro_batch
        return seconds * self.split.steps, validation * len(labels) / some

    def _fire_as_wanted(self, run: Run) -> None:
        """Let about as many neurons fire as at the end of the run, or, where no spike rate is
        asked for, as at the beginning: by events a step takes as long as there are spikes."""
        recipe, images = run.recipe, next(self.split.epoch(run)).images[:CALIBRATED]
        rate = 1 - recipe.percentile / 100 if recipe.spike_rate is None else recipe.spike_rate
        like = self.experiment.build(run.stage.timesteps, 0).to(self.device)
        set_thresholds(like, images, 100 * (1 - rate))
        settle(like, [images])  # integers are normalised by what has been measured
        run.network.load_state_dict(like.state_dict())

    def _each(self, work: Callable[[], None], least: int) -> float:
        """The median of the seconds that a piece of work takes."""
        seconds: list[float] = []
        while len(seconds) < least or (len(seconds) < MOST and sum(seconds) < WHILE):
            begun = time.monotonic()
            work()
            seconds.append(self._since(begun))
        return median(seconds)

    def _teacher(self, stage: Stage) -> nn.Module | None:
        """What answers in every step of the stage; a run's own is not trained yet."""
        recipe, name = self.experiment.recipe, self.experiment.recipe.teacher
        if stage.name == name or not recipe.distillation or recipe.cached_teacher:
            return None
        if self.place.ensemble:
            return self.place.ensemble.facing(self.experiment.normalisation, self.device)
        like = self.experiment.build(0 if name == "ann" else int(name[1:]), 0)
        return like.to(self.device).eval()

    def _since(self, begun: float) -> float:
        """Seconds, those of the first process, so that all plan alike."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.run.team.first(time.monotonic() - begun)
