"""Which state of a stage is kept: the latest that chance cannot tell from the most accurate."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from snn_train.records import StageOutcome
from snn_train.state import Kept, Position, Run
from snn_train.validation import keep_if_best, stage_problem, within_chance

NewRun = Callable[..., Run]


def test_the_latest_of_those_that_chance_cannot_tell_apart_is_kept(
    new_run: NewRun, tmp_path: Path
) -> None:
    run = new_run(tmp_path, spike_rate=0.2)
    names = [layer.plan.name for layer in run.network.populations()]
    run.position.stage = len(run.experiment.recipe.stages) - 1

    def kept(epoch: int, accuracy: float, rate: float = 0.2) -> int:
        least = within_chance(run.best.highest, 400)  # 1.5 points at 90 %
        keep_if_best(run, accuracy, dict.fromkeys(names, rate), epoch, least)
        return run.best.epoch

    assert kept(0, 0.95, rate=0.4) == 0
    assert kept(1, 0.90) == 1 and run.best.highest == 0.90  # of those within the budget
    assert kept(2, 0.89) == 2
    assert kept(3, 0.88) == 2  # no step by step below what was reached
    assert kept(4, 0.91) == 4 and kept(5, 0.89) == 4 and kept(6, 0.90) == 6
    assert (run.best.accuracy, run.best.highest) == (0.90, 0.91)


@pytest.mark.parametrize(("right", "count"), [(0, 1), (10, 10), (45, 50), (4500, 5000)])
def test_a_standard_error_is_that_of_shares(right: int, count: int) -> None:
    """Drawn anew, one time in six or so fewer are right: a normal distribution's lower tail."""
    least, share = within_chance(right / count, count), (right + 1) / (count + 2)
    assert least < right / count
    drawn = np.random.default_rng(0).binomial(count, share, 100_000) / count
    assert float(drawn.std()) == pytest.approx(right / count - least, rel=0.02)


def test_a_state_of_before_there_was_a_highest_is_the_highest() -> None:
    assert Kept(0.9, 3, {}, {}).highest == 0.9


def test_a_stage_passes_on_by_the_highest_accuracy(new_run: NewRun, tmp_path: Path) -> None:
    """What is kept may be lower, by no more than chance."""
    run = new_run(tmp_path, largest_drop=0.2)
    ann = StageOutcome(
        stage="ann", timesteps=0, validation=0.9, test=None, spike_rate=None, rates={}, epochs=1,
        seconds=1.0,
    )  # fmt: skip
    run.outcomes.append(ann)
    run.position = Position(1)
    rates = {layer.plan.name: 0.2 for layer in run.network.populations()}
    run.best = Kept(0.65, 3, rates, {}, highest=0.75)
    assert stage_problem(run) == ""
    run.best = Kept(0.65, 3, rates, {}, highest=0.69)
    assert stage_problem(run).startswith("accuracy fell from 90.00% to 69.00%")
