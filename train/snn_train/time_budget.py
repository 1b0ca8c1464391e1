"""A budget of time: what a run may take from its first to its last second, and what it has used.

The plan is a number of epochs for every stage, in the proportions of the recipe:

    nᵢ = k wᵢ        k = (left − Σ endᵢ) / Σ wᵢ secondsᵢ

with wᵢ the recipe's epochs, or those planned before, and what an epoch and the end of each stage
take, see `pace`. The last stage has what rounding leaves. Time in which no process runs is not
counted: what is used is saved with the run.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from snn_runtime.errors import UsageError
from snn_train import duration

AIM = 0.98
"""Share of the budget to end at; saving and a busy minute have the rest."""
PICTURES = 4.0
"""Seconds at the end, for the pictures of a run: most of them until matplotlib is loaded."""


@dataclass
class TimeBudget:
    """What a run may take, and has used."""

    seconds: float
    spent: float = 0.0
    """By the processes before this one, up to their last save."""
    measured: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By stage, before the run began: seconds of an epoch's steps, and of validation."""
    repeatable: bool = True
    """Whether each stage kept the epochs it began with, on which its learning rates depend."""
    since: float = 0.0
    """When this process began, on the monotonic clock."""

    @classmethod
    def given(cls, budget: "str | float | TimeBudget | None") -> "TimeBudget | None":
        """Return a budget of seconds, or such as `30m`, that begins now; one that has begun as it
        is.

        Raises:
            UsageError: `bad_flag`: it is no length of time.
        """
        if budget is None or isinstance(budget, TimeBudget):
            return budget
        try:
            seconds = float(duration.read(budget)) if isinstance(budget, str) else float(budget)
        except ValueError as error:
            raise UsageError("bad_flag", f"budget: {error}") from error
        if not 0 < seconds < math.inf:
            raise UsageError("bad_flag", f"budget: {seconds} seconds, expected more than 0")
        return cls(seconds, since=time.monotonic())

    def used(self) -> float:
        """Seconds, of all processes that carried the run."""
        return self.spent + time.monotonic() - self.since

    def left(self) -> float:
        """Seconds to the aim, where the pictures begin; below 0 beyond it."""
        return AIM * self.seconds - PICTURES - self.used()

    def state(self) -> dict[str, Any]:
        """Plain containers, for a process that goes on."""
        measured = {name: list(times) for name, times in self.measured.items()}
        return {
            "seconds": self.seconds,
            "spent": self.used(),
            "measured": measured,
            "repeatable": self.repeatable,
        }

    @classmethod
    def of(cls, values: dict[str, Any]) -> "TimeBudget":
        """The inverse of `state`, from now on. Raises: TypeError, KeyError, ValueError."""
        measured = {name: (float(a), float(b)) for name, (a, b) in values["measured"].items()}
        return cls(**values | {"measured": measured, "since": time.monotonic()})


def factor(left: float, weights: Sequence[int], epochs: Sequence[float], ends: float) -> float:
    """k: how many times the weights there is time for.

    Args:
        left: seconds.
        weights: epochs of every stage.
        epochs: seconds of an epoch of each.
        ends: seconds of the ends of all.
    """
    cost = sum(w * seconds for w, seconds in zip(weights, epochs, strict=True))
    return (left - ends) / max(cost, 1e-9)


def shared(
    left: float, weights: Sequence[int], epochs: Sequence[float], ends: float, least: int = 1
) -> list[int]:
    """Return so many epochs of every stage as there is time for, `least` of the first one and at
    least one of each other.

    Args:
        left, weights, epochs, ends: as in `factor`.
    """
    times = factor(left, weights, epochs, ends)
    counts = [max(1, round(times * weight)) for weight in weights]
    counts[0] = max(least, counts[0])
    before = sum(n * s for n, s in zip(counts[:-1], epochs[:-1], strict=True))
    rest = (left - ends - before) / max(epochs[-1], 1e-9)
    counts[-1] = max(least if len(counts) == 1 else 1, int(rest))
    return counts
