"""What can be done for a stage that has failed for good, and doing it when the run goes on.

gate                          flag that lets the stage pass on as it is
a layer fires too rarely      --rate-limits LOW,HIGH
accuracy fell too far         --largest-drop SHARE
spikes are off the budget     --spike-rate SHARE
loss is not finite            --learning-rate, --spiking-learning-rate: the stage begins again
"""

import math
import shlex
from dataclasses import replace
from typing import Any

from snn_runtime.errors import UsageError
from snn_train.choices import RATE_LIMITS, REMEDIES
from snn_train.optimiser import make_optimiser
from snn_train.schedule import peak
from snn_train.state import Best, Position, Run
from snn_train.validation import gate

GENTLER = 16
"""By how much the suggested learning rate is lower; a stage's own retries come to 8."""


def command(run: Run, state: Best, problem: str) -> str:
    """Return the command with which the run goes on from `state`, which its gates refuse."""
    flags = [] if "not finite" in problem else _relaxed(run, state)
    if not flags:
        rate = peak(run.recipe, run.stage) / GENTLER
        name = "--spiking-learning-rate" if run.stage.timesteps else "--learning-rate"
        flags = [f"{name} {rate:.2g}"]
    return f"train-snn --resume {shlex.quote(str(run.directory))} {' '.join(flags)}"


def _relaxed(run: Run, state: Best) -> list[str]:
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
    if before is not None and state.accuracy < before - recipe.largest_drop:
        flags.append(f"--largest-drop {math.ceil((before - state.accuracy) * 1e3 + 1e-6) / 1e3:g}")
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
    recipe = replace(run.recipe, **chosen)
    run.experiment = replace(run.experiment, recipe=recipe)
    kept = run.unhealthy
    limits = recipe.rate_limits
    if kept and not gate(run.stage.timesteps, kept.rates, kept.accuracy, None, 1.0, limits):
        run.best, run.unhealthy = kept, None
    if "learning_rate" in chosen or "spiking_learning_rate" in chosen:
        run.network.load_state_dict(run.best.weights)
        run.begin_average()
        run.optimiser = make_optimiser(run.network, recipe)
        run.position = Position(run.position.stage)
