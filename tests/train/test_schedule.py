"""Learning rates, stages, and which of them pass on."""

import json
import math
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn_train.choices import RecipeName
from snn_train.cli import changes
from snn_train.data.augmentation import Augmentation
from snn_train.defaults import default_recipe
from snn_train.flags import parse_args
from snn_train.layout import Architecture
from snn_train.recipe import Recipe
from snn_train.schedule import learning_rate
from snn_train.stage import LEAST_SHARE, Stage, shared
from snn_train.state import Kept
from snn_train.validation import health_problem, stage_problem

ONE = (Stage(0, 1),)


def rates(recipe: Recipe, steps: int, attempt: int = 0, timesteps: int = 0) -> list[float]:
    stage = Stage(timesteps, 1)
    return [learning_rate(recipe, stage, step, steps, attempt) for step in range(steps)]


def test_one_cycle_rises_to_the_peak_and_falls_to_nearly_nothing() -> None:
    settings = Recipe(ONE, learning_rate=0.8, warm_up=0.2)
    cycle = rates(settings, 1000)
    assert cycle[0] == pytest.approx(0.8 / 201)
    assert cycle[200] == pytest.approx(0.8) == max(cycle)
    assert cycle[600] == pytest.approx(0.4)  # half way down, the cosine is half
    assert 0 < cycle[-1] < 1e-4
    assert cycle[:201] == sorted(cycle[:201])
    assert cycle[200:] == sorted(cycle[200:], reverse=True)
    linear = [b - a for a, b in zip(cycle[:199], cycle[1:200], strict=True)]
    assert max(linear) == pytest.approx(min(linear))


def test_spiking_stages_may_have_a_peak_of_their_own() -> None:
    same, own = Recipe(ONE), Recipe(ONE, learning_rate=0.8, spiking_learning_rate=0.2)
    assert rates(same, 10) == rates(same, 10, timesteps=2)
    assert max(rates(own, 1000)) == pytest.approx(0.8)
    for timesteps in (5, 1):
        assert max(rates(own, 1000, timesteps=timesteps)) == pytest.approx(0.2)


def test_the_papers_schedule_is_constant_and_divided_by_5_three_times() -> None:
    cycle = rates(Recipe(ONE, learning_rate=1.0, constant=True), 100)
    expected = [1.0] * 60 + [0.2] * 20 + [0.04] * 10 + [0.008] * 10
    assert cycle == pytest.approx(expected)


@pytest.mark.parametrize("constant", [False, True])
def test_every_retry_halves_the_rate(constant: bool) -> None:
    settings = Recipe(ONE, constant=constant)
    first = rates(settings, 37)
    for attempt in (1, 2, 3):
        assert rates(settings, 37, attempt) == pytest.approx([r / 2**attempt for r in first])


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
def test_rates_are_positive_however_short_a_stage(steps: int) -> None:
    assert all(0 < rate <= 2e-3 for rate in rates(Recipe(ONE), steps))


HEALTHY = {"conv1": 0.2, "conv2": 0.1}


@pytest.mark.parametrize(
    ("timesteps", "rates", "accuracy", "problem"),
    [
        (1, HEALTHY, 0.9, ""),
        (1, {"conv1": 0.005, "conv2": 0.6}, 0.9, ""),  # the limits are allowed
        (0, {"conv1": 0.99, "conv2": 0.0}, 0.1, ""),  # an ANN may do as it likes
        (0, HEALTHY, math.nan, "loss is not finite"),
        (1, HEALTHY, math.inf, "loss is not finite"),
        (2, HEALTHY | {"conv2": 0.0049}, 0.9, "conv2 fires at 0.49%, expected 0.5% to 60%"),
        (2, HEALTHY | {"conv1": 0.61}, 0.9, "conv1 fires at 61.00%, expected"),
        (2, HEALTHY | {"conv1": math.nan}, 0.9, "conv1 fires at nan%"),
    ],
)
def test_only_healthy_states_are_a_start(
    timesteps: int, rates: dict[str, float], accuracy: float, problem: str
) -> None:
    found = health_problem(timesteps, rates, accuracy)
    assert found.startswith(problem) and bool(found) == bool(problem)


@pytest.mark.parametrize(
    ("timesteps", "before", "accuracy", "problem"),
    [
        (1, [0.9], 0.801, ""),
        (1, [0.9], 0.79, "accuracy fell from 90.00% to 79.00%, budget is 10%"),
        (1, [], 0.1, ""),
        (0, [0.9], 0.1, ""),
    ],
)
def test_a_stage_may_lose_little(
    timesteps: int, before: list[float], accuracy: float, problem: str
) -> None:
    run: Any = SimpleNamespace(
        recipe=Recipe(ONE),
        stage=Stage(timesteps, 1),
        best=Kept(accuracy, 0, HEALTHY, {}),
        outcomes=[SimpleNamespace(validation=each) for each in before],
        active_budget=None,
    )
    assert stage_problem(run) == problem


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ((), "no stages"),
        ((Stage(0, 0),), "at least one timestep and one epoch"),
        ((Stage(-1, 1),), "at least one timestep and one epoch"),
        ((Stage(0, 1), Stage(1, 1), Stage(2, 1)), r"timesteps \[1, 2\] do not descend"),
        ((Stage(0, 1), Stage(2, 1), Stage(2, 1)), r"timesteps \[2, 2\] do not descend"),
    ],
)
def test_settings_refuse_stages_that_lead_nowhere(stages: tuple[Stage, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(stages)


def test_settings_survive_plain_containers() -> None:
    settings = Recipe(
        (Stage(0, 3), Stage(1, 2)), optimiser="sgd", augmentation=Augmentation(True, 2, 3)
    )
    assert (
        Recipe.from_dicts(asdict(Architecture()), json.loads(json.dumps(settings.settings())))
        == settings
    )


def stages(recipe: RecipeName, data: str, **flags: str) -> list[tuple[int, int]]:
    words = [word for name, value in flags.items() for word in (f"--{name}={value}",)]
    args = parse_args(["--data", data, *words])
    changed = default_recipe(recipe, data).change(**changes(args))
    return [(stage.timesteps, stage.epochs) for stage in changed.stages]


DOWN = {"timesteps": "5,4,3,2,1"}


@pytest.mark.parametrize(
    ("recipe", "data", "flags", "expected"),
    [
        ("iir", "cifar10", {}, [(0, 300), *((t, 500) for t in (5, 4, 3, 2, 1))]),
        ("iir", "digits", {}, [(0, 30), *((t, 10) for t in (5, 4, 3, 2, 1))]),
        ("iir", "digits", {"timesteps": "1"}, [(0, 30), (1, 10)]),
        ("iir-bn", "cifar10", {}, [(0, 20), (1, 72)]),
        ("iir-bn", "digits", {}, [(0, 15), (1, 57)]),
        ("iir-bn", "digits", {"timesteps": "1"}, [(0, 15), (1, 57)]),
        # What these had when they were the default.
        ("iir-bn", "cifar10", DOWN, [(0, 20), (5, 3), (4, 3), (3, 3), (2, 3), (1, 30)]),
        ("iir-bn", "digits", DOWN, [(0, 15), (5, 3), (4, 3), (3, 3), (2, 3), (1, 15)]),
        ("iir-bn", "imagenet", DOWN, [(0, 40), (5, 2), (4, 2), (3, 2), (2, 2), (1, 20)]),
        ("iir-bn", "digits", {"timesteps": "5,3,1"}, [(0, 15), (5, 4), (3, 4), (1, 25)]),
        ("iir-bn", "digits", {"timesteps": "2"}, [(0, 15), (2, 28)]),
        ("iir", "mnist", {"timesteps": "7,6,1"}, [(0, 300), (7, 500), (6, 500), (1, 500)]),
        ("iir", "mnist", {"timesteps": "3,1", "epochs": "7"}, [(0, 7), (3, 7), (1, 7)]),
        ("iir", "mnist", {"timesteps": "3,1", "epochs": "7,2"}, [(0, 7), (3, 2), (1, 2)]),
        ("iir", "mnist", {"timesteps": "3,1", "epochs": "7,2,9"}, [(0, 7), (3, 2), (1, 9)]),
    ],
)  # fmt: skip
def test_stages_are_those_asked_for(
    recipe: RecipeName, data: str, flags: dict[str, str], expected: list[tuple[int, int]]
) -> None:
    assert stages(recipe, data, **flags) == expected


@given(
    hours=st.integers(1, 2000),
    timesteps=st.lists(st.integers(1, 12), min_size=1, max_size=6, unique=True),
)
def test_stages_that_share_hours_cost_no_more(hours: int, timesteps: list[int]) -> None:
    timesteps.sort(reverse=True)
    epochs = shared(hours, timesteps)
    *between, last = epochs
    assert len(epochs) == len(timesteps) and min(epochs) >= 1 and len({*between}) <= 1
    spent = sum(n * t for n, t in zip(epochs, timesteps, strict=True))
    if hours >= sum(timesteps) + LEAST_SHARE * timesteps[-1]:  # there is enough to share
        assert hours - timesteps[-1] < spent <= hours
        assert all(last >= LEAST_SHARE * each for each in between)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"timesteps": "5,x"}, "--timesteps 5,x: expected whole numbers from 1"),
        ({"timesteps": "2,0"}, "--timesteps 2,0: expected"),
        ({"timesteps": "2,,1"}, "--timesteps 2,,1: expected"),
        ({"timesteps": "-1"}, "--timesteps -1: expected"),
        ({"timesteps": "²"}, "--timesteps ²: expected"),
        ({"timesteps": "1,2"}, r"timesteps \[1, 2\] do not descend, expected such as"),
        ({"epochs": "1.5"}, "--epochs 1.5: expected"),
        ({"epochs": "0"}, "--epochs 0: expected"),
        ({"timesteps": "2,1", "epochs": "1,2,3,4"}, "--epochs 1,2,3,4: expected at most 3 numbers"),
    ],
)
def test_lists_that_cannot_be_obeyed_are_refused(flags: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stages("iir-bn", "digits", **flags)


def test_recipes_fill_in_what_the_flags_leave_open() -> None:
    paper = default_recipe("iir", "cifar10")
    assert (paper.optimiser, paper.learning_rate, paper.constant) == ("adam", 1e-4, True)
    assert (paper.batch_size, paper.percentile, paper.distillation) == (64, 90.0, 0.0)
    ours = default_recipe("iir-bn", "cifar10")
    assert (ours.optimiser, ours.constant, ours.distillation) == ("adamw", False, 0.5)
    digits = default_recipe("iir-bn", "digits")
    assert digits.batch_size == 64  # small data, small batches
    chosen = digits.change(batch_size=9, seed=0)
    assert asdict(chosen) == asdict(digits) | {"batch_size": 9}
