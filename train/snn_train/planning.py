"""Keeping a run to its budget of time, by what its own records say of its speed.

A plan changes where a stage begins or is tried again, which costs nothing. While a stage goes on
it changes only if the run would miss its end by more than a busy minute explains, or leave the
stages behind it half or twice their time: learning rates depend on the epochs of the stage.
"""

import shlex
from collections.abc import Sequence
from dataclasses import replace

from snn_train.batches import Split
from snn_train.duration import show
from snn_train.experiment import Experiment
from snn_train.pace import end_of_stage, epoch_time, seconds_left, test_of_stage
from snn_train.stage import Stage
from snn_train.state import Run
from snn_train.time_budget import shared

TOLERANCE = 0.01, 0.04
"""Shares of the budget, and of what the run has still to do, by which its end may be off."""


def adjust(run: Run, split: Split) -> str:
    """Change the epochs to come if the run would not end in time; returns a message, or nothing."""
    budget, at, stages = run.time_budget, run.position, run.recipe.stages
    if budget is None or at.epoch == run.stage.epochs:
        return ""
    begins = not at.epoch and not at.step
    left = run.team.first(budget.left())
    now = epoch_time(run, split, run.stage)
    if _keeps(run, split, left, begins):
        return ""
    tested = sum(test_of_stage(run, split, epoch_time(run, split, s)) for s in stages[: at.stage])
    coming = [replace(run.stage, epochs=run.stage.epochs - at.epoch), *stages[at.stage + 1 :]]
    times = [now, *(epoch_time(run, split, stage) for stage in coming[1:])]
    ends = tested + sum(end_of_stage(run, split, time) for time in times)
    counts = shared(
        left,
        [max(1, stage.epochs) for stage in coming],
        [time.whole for time in times],
        ends,
        least=int(begins),
    )
    counts = [int(run.team.first(count)) for count in counts]
    counts[0] += at.epoch
    before = run.stage.epochs
    run.experiment = with_epochs(run.experiment, [*(s.epochs for s in stages[: at.stage]), *counts])
    if run.recipe.stages == stages:
        return ""
    budget.repeatable &= begins and not at.attempt
    planned = ", ".join(f"{s.name} {s.epochs}" for s in run.recipe.stages[at.stage :])
    was = "" if counts[0] == before else f" (planned: {before})"
    return f"{show(max(0.0, left))} left, epochs from here: {planned}{was}"


def _keeps(run: Run, split: Split, left: float, begins: bool) -> bool:
    """Whether the plan may stay as it is."""
    budget, at = run.time_budget, run.position
    assert budget is not None
    need = run.team.first(seconds_left(run, split))
    now = epoch_time(run, split, run.stage)
    mine = run.team.first((run.stage.epochs - at.epoch) * now.whole)
    if not begins and at.stage + 1 < len(run.recipe.stages):  # later stages make up for it
        later = need - mine
        return later / 2 < left - mine < 2 * later + run.team.first(now.whole)
    of_all, of_rest = TOLERANCE
    off = of_all * budget.seconds + (0.0 if begins else of_rest * need)
    return -off <= left - need <= off + run.team.first(now.whole)


def table(run: Run) -> str:
    """The plan of a run that begins, a row a stage."""
    budget, recipe = run.time_budget, run.recipe
    assert budget is not None
    rows, whole = [f"{'stage':<6}{'epochs':>7}{'an epoch':>10}{'in all':>9}"], 0.0
    for stage in _planned(run):
        epoch = sum(budget.measured[stage.name])
        whole += stage.epochs * epoch
        took = show(stage.epochs * epoch)
        rows.append(f"{stage.name:<6}{stage.epochs:>7}{_short(epoch):>10}{took:>9}")
    rest = max(0.0, budget.seconds - whole)
    rows.append(f"{'rest':<6}{'':>7}{'':>10}{show(rest):>9}  reading, measuring, test, reserve")
    first = f"plan for {show(budget.seconds)}, by the speed of this machine: width {recipe.width:g}"
    return "\n  ".join([first, *rows, f"without a budget: {repetition(run)}"])


def closing(run: Run) -> str:
    """What a finished run has used, and how it is done again."""
    budget = run.time_budget
    assert budget is not None
    used = f"used {show(budget.used())} of {show(budget.seconds)}"
    how = "the same bits again, on this machine"
    if not budget.repeatable:
        how = "nearly the same again (epochs of a stage were changed while it went on)"
    return f"{used}; {how}: {repetition(run)}"


def repetition(run: Run) -> str:
    """The command that begins the run as it was planned, with epochs in place of the budget, in a
    folder of its own."""
    numbers = ",".join(str(stage.epochs) for stage in _planned(run))
    command = run.experiment.command.rpartition(" && ")[2]
    given = iter(shlex.split(command) if command.startswith("train-snn ") else [])
    words = []
    for word in given:
        name, _, value = word.partition("=")
        if name not in ("--budget", "--out"):
            words.append(word)
        elif not value:
            next(given)
    if not words:
        return f"width={run.recipe.width:g}, epochs=({numbers},) in place of the budget"
    fixed = any(word.partition("=")[0] in ("--width", "--from", "--ann") for word in words)
    width = [] if fixed else ["--width", f"{run.recipe.width:g}"]
    return shlex.join([*words, *width, "--epochs", numbers, "--out", f"{run.directory}-again"])


def _planned(run: Run) -> list[Stage]:
    """The stages that have a plan: all but an ANN that another run has trained."""
    assert run.time_budget is not None
    return [stage for stage in run.recipe.stages if stage.name in run.time_budget.measured]


def with_epochs(experiment: Experiment, counts: Sequence[int]) -> Experiment:
    """The same with so many epochs in its stages."""
    recipe = experiment.recipe
    stages = tuple(replace(s, epochs=n) for s, n in zip(recipe.stages, counts, strict=True))
    return replace(experiment, recipe=replace(recipe, stages=stages))


def _short(seconds: float) -> str:
    return f"{seconds:.1f}s" if seconds < 10 else show(seconds)
