"""The learning rate of a step.

    η = peak · ½^retries · f(step / steps) · factor        one cycle: linear up, cosine down

Nothing else decides it; `step` hands it to the optimiser.
"""

import math

from snn_train.recipe import Recipe
from snn_train.stage import Stage

INTEGER_FACTOR = 0.3
"""On the rate of the integer stage: its weights are good already. On digits in 4 bits, three seeds,
validation ended at 97.4, 98.1, 99.1 and 98.6 % for 0.03, 0.1, 0.3 and 1."""


def learning_rate(recipe: Recipe, stage: Stage, step: int, steps: int, attempt: int) -> float:
    """Return the rate for `step` of `steps` in a stage. Every retry halves it."""
    top = peak(recipe, stage) * 0.5**attempt
    factor = INTEGER_FACTOR if stage.bits else 1.0
    done = step / steps
    if recipe.constant:
        return top / math.pow(5, sum(done >= mark for mark in (0.6, 0.8, 0.9))) * factor
    if done < recipe.warm_up:
        return top * (step + 1) / (recipe.warm_up * steps + 1) * factor
    falling = (done - recipe.warm_up) / (1 - recipe.warm_up)
    return top * 0.5 * (1 + math.cos(math.pi * falling)) * factor


def peak(recipe: Recipe, stage: Stage) -> float:
    """The rate at the top of a stage's schedule, before the integer stage's factor."""
    top: float = getattr(recipe, rate_of(recipe, stage))
    return top


def rate_of(recipe: Recipe, stage: Stage) -> str:
    """The recipe's field that says at which rate a stage trains."""
    own = stage.timesteps and recipe.spiking_learning_rate is not None
    return "spiking_learning_rate" if own else "learning_rate"
