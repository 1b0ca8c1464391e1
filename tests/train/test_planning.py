"""A budget of time: planned from measured steps, kept to, resumed, and done again to the bit."""

import random
import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from refusals import refused
from same import assert_same
from train.budgets import TINY, Clock, Told, train

from snn_train import api, checkpoint, probe, training
from snn_train.batches import Batch
from snn_train.data import DataSet
from snn_train.pace import recent
from snn_train.parallel import ALONE, Machine
from snn_train.records import TIMES, EpochRecord
from snn_train.stage import Stage
from snn_train.state import Run
from snn_train.step import step_in_parts
from snn_train.time_budget import AIM, PICTURES, TimeBudget, shared
from snn_train.training import Stopped

if TYPE_CHECKING:
    from train.conftest import Answer

FLAGS = ("--network", "vgg5", "--batch-size", "12", "--largest-drop", "1", "--rate-limits", "0,1",
         "--threads", "1")  # fmt: skip


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, tiny_data: DataSet) -> Clock:
    return Clock(monkeypatch, tiny_data)


def left_by(run: Run) -> dict[str, Any]:
    records = [{k: v for k, v in r.to_dict().items() if k not in TIMES} for r in run.records]
    kept = [checkpoint.load(run.checkpoint(name))["network"] for name in ("ann", "t1")]
    return {"records": records} | dict(zip(("ann", "t1"), kept, strict=True))


def test_a_run_ends_in_time_and_can_be_done_again_to_the_bit(clock: Clock, tmp_path: Path) -> None:
    begun, told = clock.now, Told()
    run = train(tmp_path / "run", told, budget="3m")
    assert 0.95 * 180 <= clock.now - begun <= 180
    ann, t1 = run.recipe.stages
    assert 0.8 < t1.epochs / ann.epochs / (57 / 15) < 1.2  # the recipe's proportions
    assert [r.epochs for r in run.records] == [ann.epochs] * ann.epochs + [t1.epochs] * t1.epochs
    plan = next(note for note in told.notes if note.startswith("plan for 3m"))
    assert re.search(rf"^ *ann +{ann.epochs} .*\n *t1 +{t1.epochs} ", plan, re.M)
    epochs = (ann.epochs, t1.epochs)
    assert f"epochs=({ann.epochs},{t1.epochs},) in place of the budget" in plan
    assert told.notes[-1].startswith("used ") and "the same bits again" in told.notes[-1]
    again = train(tmp_path / "again", Told(), epochs=epochs)
    assert_same(left_by(again), left_by(run))


@pytest.mark.parametrize(("speed", "epoch"), [(0.6, 2), (1.3, 12), (2.0, 20)])
def test_a_machine_that_changes_its_speed_is_followed(
    clock: Clock, tmp_path: Path, speed: float, epoch: int
) -> None:
    def change(now: int) -> None:
        if now == epoch:
            clock.steps = {name: seconds * speed for name, seconds in clock.steps.items()}

    begun, told = clock.now, Told(then=change)
    run = train(tmp_path / "run", told, budget="3m")
    assert 0.95 * 180 <= clock.now - begun <= 180
    changed = any("epochs from here" in note for note in told.notes)
    first = [stage for stage in run.recipe.stages if stage.name == "ann"][0]
    assert changed and [r.epoch for r in run.records[: first.epochs]] == [
        *range(1, first.epochs + 1)
    ]
    (budget,) = [run.time_budget]
    assert budget is not None
    during = any("(planned:" in note for note in told.notes if "epochs from here" in note)
    if during and not budget.repeatable:
        assert "nearly the same again" in told.notes[-1]


def test_a_busy_moment_changes_nothing(clock: Clock, tmp_path: Path) -> None:
    def pause(now: int) -> None:
        clock.now += 3.0 * (now == 12)

    told = Told(then=pause)
    run = train(tmp_path / "run", told, budget="3m")
    assert run.time_budget is not None and run.time_budget.repeatable


def test_a_restless_machine_does_not_change_the_plan_every_few_epochs(
    clock: Clock, tmp_path: Path
) -> None:
    """As on a GPU that another run has a part of. By the last ten seconds it changed 79 times."""
    usual, chance = dict(clock.steps), random.Random(0)

    def vary(now: int) -> None:
        clock.steps = {name: seconds * chance.uniform(0.7, 1.3) for name, seconds in usual.items()}

    begun, told = clock.now, Told(then=vary)
    train(tmp_path / "run", told, budget="20m")
    assert 0.95 * 1200 <= clock.now - begun <= 1200
    assert sum("epochs from here" in note for note in told.notes) <= 20


def test_a_slow_beginning_of_a_stage_is_made_good_in_it(clock: Clock, tmp_path: Path) -> None:
    """Its first epoch waits for a compiler, say. The short stage behind it has no use for the
    time that was thought to be lost."""
    usual = clock.steps["int4"] = clock.steps["t1"]

    class Compiling(Told):
        def epoch(self, record: EpochRecord) -> None:
            super().epoch(record)
            clock.steps["t1"] = 8 * usual if record.stage == "ann" else usual

    begun, told = clock.now, Compiling()
    run = train(tmp_path / "run", told, budget="6m", int_bits=4)
    assert 0.95 * 360 <= clock.now - begun <= 360
    plan = next(note for note in told.notes if note.startswith("plan for 6m"))
    (planned,) = map(int, re.findall(r"^ *t1 +(\d+) ", plan, re.M))
    _, t1, int4 = run.recipe.stages
    assert t1.epochs > 0.65 * planned and int4.epochs < t1.epochs / 3


@pytest.mark.parametrize("epochs", [1, 12])
def test_time_in_which_nothing_runs_does_not_count(
    clock: Clock, tmp_path: Path, epochs: int
) -> None:
    whole = train(tmp_path / "whole", Told(), budget=180)
    begun = clock.now
    with pytest.raises(Stopped):
        train(tmp_path / "run", Told(epochs), budget=180)
    clock.now += 86400
    content = checkpoint.load(tmp_path / "run" / "latest.pt")
    assert content["time_budget"]["seconds"] == 180
    told = Told()
    run = api.resume(tmp_path / "run", progress=told)
    assert 0.95 * 180 <= clock.now - begun - 86400 <= 180
    # The step after the signal was taken in the epoch that goes on: the same bits.
    assert_same(left_by(run), left_by(whole))
    assert run.recipe.stages == whole.recipe.stages
    assert any(note.startswith("plan for 3m") for note in told.notes)


def test_a_retry_has_what_is_left(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = iter(["", "it is lost", "", ""])
    monkeypatch.setattr(training, "stage_problem", lambda _: next(problems))
    told, begun = Told(), clock.now
    run = train(tmp_path / "run", told, budget=180)
    assert [r.attempt for r in run.records if r.stage == "t1"][-1] == 1
    # The first try of t1 used its share up; the second one has a single epoch.
    assert run.recipe.stages[1].epochs == 1 and clock.now - begun < 180 * 1.05
    assert "nearly the same again" in told.notes[-1]


@pytest.mark.parametrize("seconds", [100, 600])
def test_the_width_is_what_there_is_time_for(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    clock.power = 2.0
    monkeypatch.setattr(probe, "WIDTHS", (0.1, 0.2, 0.4))
    free = {key: value for key, value in TINY.items() if key != "width"}
    begun = clock.now
    run = api.train("digits", out=tmp_path / "run", progress=Told(), budget=seconds, **free)
    assert run.recipe.width == {100: 0.1, 600: 0.2}[seconds]
    assert 0.85 * seconds <= clock.now - begun <= seconds


@pytest.mark.parametrize("free", [False, True])
def test_a_compiled_run_is_planned_by_compiled_steps(
    clock: Clock, tmp_path: Path, free: bool
) -> None:
    begun, told = clock.now, Told()
    chosen = {key: value for key, value in TINY.items() if key != "width" or not free}
    run = api.train(
        "digits", out=tmp_path / "run", progress=told, budget=180,
        machine=Machine(compiled=True), **chosen,
    )  # fmt: skip
    ann, t1 = run.recipe.stages
    plain = train(tmp_path / "plain", Told(), budget=180).recipe.stages
    assert 2 < (ann.epochs + t1.epochs) / (plain[0].epochs + plain[1].epochs) < 3
    assert 0.95 * 180 <= clock.now - begun
    assert not any("epochs from here" in note for note in told.notes)


@pytest.mark.parametrize(("asked", "expected"), [(0.08, 0.08), (None, 0.15)])
def test_measured_steps_fire_as_often_as_the_run_will(
    tiny_data: DataSet, new_run: Callable[..., Run], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, asked: float | None, expected: float,
) -> None:  # fmt: skip
    """By events, the spikes decide how long a step takes."""
    real, rates = step_in_parts, dict[str, float]()

    def step(run: Run, student: Any, teacher: Any, batch: Batch, *rest: Any) -> Any:
        if run.stage.timesteps and run.stage.name not in rates:
            with torch.no_grad():
                run.network.rates = {}
                run.network(batch.images)
            seen = {name: float(rate) for name, rate in run.network.rates.items()}
            rates[run.stage.name], run.network.rates = run.network.spike_rate(seen), None
        return real(run, student, teacher, batch, *rest)

    monkeypatch.setattr(probe, "step_in_parts", step)
    stages = (Stage(0, 2), Stage(1, 2), Stage(1, 1, 4))
    run = new_run(
        tmp_path / "run", stages=stages, dropout=0.0, spike_rate=asked, percentile=85.0, width=0.25
    )
    place = probe.Place(torch.device("cpu"), ALONE, None)
    probe.planned(run.experiment, tiny_data, TimeBudget(1e4, since=time.monotonic()), False, place)
    assert rates == pytest.approx(dict.fromkeys(("t1", "int4"), expected), rel=0.3)


def test_an_ann_that_is_trained_has_no_part_in_the_plan(clock: Clock, tmp_path: Path) -> None:
    train(tmp_path / "first", Told(), epochs=(2, 1))
    begun, told, ann = clock.now, Told(), tmp_path / "first" / "ann.pt"
    chosen = {name: TINY[name] for name in ("batch_size", "largest_drop", "rate_limits")}
    run = api.train(
        "digits", out=tmp_path / "run", ann=ann, progress=told, budget="3m", **chosen,
        command="train-snn --data digits --ann=ann.pt --budget=3m --out=run",
    )  # fmt: skip
    assert 0.95 * 180 <= clock.now - begun <= 180
    done, t1 = run.recipe.stages
    assert done.epochs == 2 and [r.stage for r in run.records] == ["t1"] * t1.epochs
    plan = next(note for note in told.notes if note.startswith("plan for 3m"))
    assert "\n  ann " not in plan
    again = f"train-snn --data digits --ann=ann.pt --epochs {t1.epochs} --out {tmp_path}/run-again"
    assert again in plan


def test_epochs_are_foreseen_from_the_last_three_or_ten_seconds() -> None:
    def count(seconds: float, epochs: int) -> int:
        shape: dict[str, Any] = {
            "stage": "ann", "attempt": 0, "epochs": 99, "loss": 0.0, "validation": 0.0, "rates": {},
            "spike_rate": None, "images_per_second": 0.0, "seconds": seconds,
        }  # fmt: skip
        records = [EpochRecord(epoch=number, **shape) for number in range(epochs)]
        last = recent(records)
        assert last == records[epochs - len(last) :]
        return len(last)

    assert [count(5.0, 9), count(0.5, 99), count(0.5, 9), count(99.0, 1), count(1.0, 0)] == [
        3, 20, 9, 1, 0
    ]  # fmt: skip


def test_too_little_time_is_refused_before_anything_is_written(
    train_snn: "Callable[..., Answer]", clock: Clock, tmp_path: Path
) -> None:
    answer = train_snn("--data", "digits", *FLAGS, "--budget", "20s", "--out", tmp_path / "run")
    parts = ("--budget 20s: to load and measure took ", "s, an epoch of every stage, ", "at least")
    refused(answer, 2, *parts)
    assert not (tmp_path / "run").exists()
    (least,) = re.findall(r"expected (\w+) at least", answer.err)
    begun = clock.now
    assert (
        train_snn("--data", "digits", *FLAGS, "--budget", least, "--out", tmp_path / "run").code
        == 0
    )
    assert clock.now - begun <= 60


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--budget", "5"], "'5' is not a length of time such as 45s, 30m or 1h30m"),
        (["--budget", "30m", "--epochs", "3"], "--epochs and --budget: choose one"),
    ],
)
def test_what_is_no_budget_is_refused(
    refused_unbegun: Callable[..., None], flags: list[str], expected: str
) -> None:
    refused_unbegun("--data", "digits", *flags, expected=[expected])


def test_the_command_that_does_it_again_is_printed(
    train_snn: "Callable[..., Answer]", clock: Clock, tmp_path: Path
) -> None:
    flags = ("--data", "digits", *FLAGS, "--width", "0.1")
    answer = train_snn(*flags, "--budget", "3m", "--out", tmp_path / "my run")
    assert (answer.code, answer.err) == (0, "")
    (line,) = [line for line in answer.out.splitlines() if "the same bits again" in line]
    words = shlex.split(line.partition("machine: ")[2])
    assert words[0] == "train-snn" and "--budget" not in words and "--epochs" in words
    words[words.index("--out") + 1] = str(tmp_path / "again")
    assert train_snn(*words[1:]).code == 0
    kept = [checkpoint.load(tmp_path / name / "t1.pt")["network"] for name in ("my run", "again")]
    assert_same(kept[0], kept[1])


@given(
    left=st.floats(10, 1e5),
    stages=st.lists(st.tuples(st.integers(1, 500), st.floats(0.1, 100)), min_size=1, max_size=6),
    ends=st.floats(0, 5),
)
def test_what_is_shared_fits(left: float, stages: list[tuple[int, float]], ends: float) -> None:
    weights, seconds = [n for n, _ in stages], [s for _, s in stages]
    counts = shared(left, weights, seconds, ends)
    assert min(counts) >= 1 and len(counts) == len(stages)
    took = sum(n * s for n, s in zip(counts, seconds, strict=True)) + ends
    assume(counts[-1] > 1)
    assert left - seconds[-1] - 1e-6 <= took <= left + 1e-6


def test_a_budget_survives_plain_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    budget = TimeBudget(600.0, measured={"ann": (1.0, 2.0)}, since=100.0)
    now[0] = 150.0
    state = budget.state()
    now[0] = 9000.0
    later = TimeBudget.of(state)
    now[0] = 9010.0
    assert later.used() == 60.0 and later.left() == AIM * 600 - PICTURES - 60.0
    assert later.measured == budget.measured and later.repeatable


def test_probing_leaves_the_run_its_random_numbers(clock: Clock, tmp_path: Path) -> None:
    torch.manual_seed(123)
    first = train(tmp_path / "a", Told(), budget=100)
    assert first.time_budget is not None
    again = train(tmp_path / "b", Told(), budget=100)
    assert_same(left_by(first), left_by(again))


@pytest.mark.parametrize(
    ("seconds", "expected", "times"),
    [
        ([0.06, 0.06, *[0.03] * 20], 0.03, 7),  # a GPU's first steps, as on an H200
        ([5.0, 7.0], 6.0, 2),
        ([0.0] * 20, 0.0, 20),
    ],
)
def test_a_step_is_measured_until_its_time_is_known(
    monkeypatch: pytest.MonkeyPatch, seconds: list[float], expected: float, times: int
) -> None:
    left, now = iter(seconds), [100.0]

    def work() -> None:
        now[0] += next(left)

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    measuring = object.__new__(probe._Probe)
    measuring.device, measuring.run = torch.device("cpu"), SimpleNamespace(team=ALONE)  # type: ignore[assignment]  # all that is asked of it
    assert measuring._each(work, 2) == pytest.approx(expected)
    assert len(seconds) - len(list(left)) == times
