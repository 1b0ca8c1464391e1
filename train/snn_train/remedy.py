"""What can be done for a stage that has failed for good, and doing it when the run goes on.

gate                          flag
a layer fires too rarely      --rate-limits LOW,HIGH: the stage passes on as it is
or too often
accuracy fell too far         --largest-drop SHARE: likewise
spikes are off the budget     --spike-rate SHARE: likewise
a silent layer, and guesses   --percentile P: the ANN's next stage begins again, thresholds lower
a loss that is not finite,    --learning-rate, --spiking-learning-rate: the stage begins again, from
and guesses                   its best state, or if that is none from the stage before
"""

import math
import shlex
from dataclasses import replace
from typing import Any

from snn_runtime.errors import UsageError
from snn_train.choices import RATE_LIMITS, REMEDIES, USUAL
from snn_train.optimiser import make_optimiser, method
from snn_train.recipe import Recipe
from snn_train.schedule import peak, rate_of
from snn_train.state import Kept, Position, Run, first_best
from snn_train.teacher import load_stage
from snn_train.validation import health_problem

GENTLER = 16
"""By how much the suggested learning rate is lower; a stage's own retries come to 8."""
PERCENTILE, LOWER = Recipe.percentile, 15.0
"""Recipe iir-bn's; and how much lower the suggested one is where that has failed."""
SILENT = 1e-4
"""Share of a layer's neurons that fire, below which what is behind it learns nothing."""
GUESSING, MORE = 1.5, 0.1
"""An accuracy of so many times that of a guess is none, nor one that is higher by so little."""


def command(run: Run, state: Kept, problem: str) -> str:
    """Return the command with which the run goes on from `state`, which its gates refuse."""
    recipe, flags = run.recipe, list[str]()
    if "not finite" not in problem:
        flags = _lower_thresholds(run, state)
        silent = "fires at" in problem and _silent(state)  # which a lower rate does not mend
        if silent or not _guesses(run, state):
            flags = flags or _relaxed(run, state)
    if not flags:
        failed = peak(recipe, run.stage)
        usual = USUAL[method(recipe, run.stage.timesteps)[0]]
        name = "--spiking-learning-rate" if run.stage.timesteps else "--learning-rate"
        flags = [f"{name} {usual if failed > GENTLER * usual else failed / GENTLER:.2g}"]
    return f"train-snn --resume {shlex.quote(str(run.directory))} {' '.join(flags)}"


def reason(state: Kept, problem: str) -> str:
    """Return what a gate's complaint comes from, in brackets, where that is known."""
    if "not finite" in problem:
        return " (the steps were too large)"
    if "fires at" in problem and _silent(state):
        return " (a silent layer: its thresholds are too high, and nothing behind it learns)"
    return ""


def _lower_thresholds(run: Run, state: Kept) -> list[str]:
    """The flag with which thresholds are set again, where they have silenced a layer and the
    network guesses: to let that pass would be no remedy. Empty where it is none."""
    if not (_follows_ann(run) and _silent(state) and _guesses(run, state)):
        return []
    tried = run.recipe.percentile
    return [f"--percentile {PERCENTILE if tried > PERCENTILE else max(tried - LOWER, LOWER):g}"]


def _silent(state: Kept) -> bool:
    """Whether a layer sends next to nothing."""
    return min(state.rates.values()) <= SILENT


def _guesses(run: Run, state: Kept) -> bool:
    """Whether a state is hardly better than chance."""
    chance = 1 / len(run.experiment.labels)
    return state.accuracy <= min(GUESSING * chance, chance + MORE)


def _follows_ann(run: Run) -> bool:
    """Whether the stage takes its first thresholds from the ANN's currents."""
    at = run.position.stage
    return at > 0 and run.recipe.stages[at - 1].timesteps == 0


def _relaxed(run: Run, state: Kept) -> list[str]:
    """The flags with which every gate lets the state pass; none where no flag can."""
    recipe, flags = run.recipe, []
    low, high = recipe.rate_limits
    if run.stage.timesteps and not low <= min(state.rates.values()) <= max(
        state.rates.values()
    ) <= high:  # fmt: skip
        low = min(low, math.floor(min(state.rates.values()) * 1e4) / 1e4)
        high = max(high, math.ceil(max(state.rates.values()) * 1e4) / 1e4)
        flags.append(f"--rate-limits {low:g},{high:g}")
    before = run.outcomes[-1].validation if run.stage.timesteps and run.outcomes else None
    if before is not None and state.highest < before - recipe.largest_drop:
        flags.append(f"--largest-drop {math.ceil((before - state.highest) * 1e3 + 1e-6) / 1e3:g}")
    if run.active_budget:
        rate = round(run.network.spike_rate(state.rates), 4)
        if run.active_budget.problem(rate):
            if not RATE_LIMITS[0] <= rate <= RATE_LIMITS[1]:
                return []
            flags.append(f"--spike-rate {rate:g}")
    return flags


def apply(run: Run, changes: dict[str, Any]) -> None:
    """Change what may be changed of a run that goes on.

    Raises:
        UsageError: `bad_flag`: nothing is left to be changed, or it may not be.
    """
    chosen = {name: value for name, value in changes.items() if value is not None}
    if not chosen:
        return
    for name in chosen.keys() - {*REMEDIES}:
        raise UsageError("bad_flag", f"{name} cannot change a run that goes on")
    flag = f"--{next(iter(chosen)).replace('_', '-')}"
    if run.finished:
        raise UsageError("bad_flag", f"{flag}: the run in {run.directory} has done all its stages")
    if "spike_rate" in chosen:
        if run.spike_budget is None:
            raise UsageError(
                "bad_flag", f"--spike-rate: {run.directory} was begun without a budget"
            )
        run.spike_budget.target = chosen["spike_rate"]
    if "percentile" in chosen and not _follows_ann(run):
        raise UsageError(
            "bad_flag",
            "--percentile: sets first thresholds, which only the stage behind the ANN takes; "
            f"{run.directory} is at {run.stage.name}",
        )
    recipe = replace(run.recipe, **chosen)
    _check_rates(run, recipe, chosen)
    run.experiment = replace(run.experiment, recipe=recipe)
    kept = run.unhealthy
    limits = recipe.rate_limits
    if kept and not health_problem(run.stage.timesteps, kept.rates, kept.accuracy, limits):
        run.best, run.unhealthy = kept, None
    rates = rate_of(recipe, run.stage) in chosen
    lost = rates and run.position.stage and run.best.epoch >= 0 and _guesses(run, run.best)
    if "percentile" in chosen or lost:  # from the stage before, as if this one had never begun
        run.network = load_stage(run, run.recipe.stages[run.position.stage - 1].name)
        run.best, run.unhealthy = first_best(run.network), None
        run.average = None
        run.optimiser = make_optimiser(run.network, recipe)
        run.position = Position(run.position.stage)
    elif rates:
        run.network.load_state_dict(run.best.weights)
        run.begin_average()
        run.optimiser = make_optimiser(run.network, recipe)
        run.position = Position(run.position.stage)


def _check_rates(run: Run, recipe: Recipe, chosen: dict[str, Any]) -> None:
    """Raises: UsageError: a rate at which no stage trains that is left."""
    left = {rate_of(recipe, stage) for stage in recipe.stages[run.position.stage :]}
    for name in ("learning_rate", "spiking_learning_rate"):
        if name in chosen and name not in left:
            flag, other = (f"--{n.replace('_', '-')}" for n in (name, *left))
            raise UsageError(
                "bad_flag",
                f"{flag} {chosen[name]:g}: no stage that is left in {run.directory} trains at it, "
                f"expected {other}",
            )
