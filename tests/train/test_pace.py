"""What a run says of its speed and of what is left, and where it says it."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from train.tiny import Recorder

from snn_train import duration, pace, report, training
from snn_train.batches import Split
from snn_train.data import DataSet
from snn_train.pace import OFTEN, Pace, epoch_time, seconds_left
from snn_train.progress import pace_line
from snn_train.records import EpochRecord
from snn_train.stage import Stage
from snn_train.state import Run
from snn_train.step import step
from snn_train.training import train_run
from snn_train.validation import evaluate

if TYPE_CHECKING:
    from train.conftest import Answer

NewRun = Callable[..., Run]
TINY = ("--data", "digits", "--network", "vgg5", "--width", "0.05", "--epochs", "1",
        "--largest-drop", "1", "--rate-limits", "0,1", "--threads", "1")  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds"), [("45s", 45), ("30m", 1800), ("3h", 10800), ("1h30m", 5400), ("1m5s", 65)]
)
def test_lengths_of_time_are_read(text: str, seconds: int) -> None:
    assert duration.read(text) == seconds


@pytest.mark.parametrize("text", ["", "0m", "30", "m", "1.5h", "30m1h", "-3h", "3 h", "2d", "٣h"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a length of time such as"):
        duration.read(text)


@given(seconds=st.floats(0.01, 1e6))
def test_what_is_shown_can_be_read_and_is_not_too_short(seconds: float) -> None:
    read = duration.read(duration.show(seconds))
    assert seconds <= read < seconds + (1.001 if seconds <= 119 else 120)


class Clock:
    """A clock on which a step of a stage takes as many seconds as told, and validation one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float]) -> None:
        self.now = 1000.0

        def slow_step(run: Run, *rest: Any) -> Any:
            self.now += seconds[run.stage.name]
            return step(run, *rest)

        def slow_evaluate(*rest: Any) -> Any:
            self.now += 1.0
            return evaluate(*rest)

        monkeypatch.setattr("snn_train.step.step", slow_step)
        monkeypatch.setattr(training, "evaluate", slow_evaluate)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def test_what_is_left_comes_true(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, {"ann": 10.0, "t2": 70.0, "t1": 45.0})
    run, watch = new_run(tmp_path), Recorder()
    train_run(run, tiny_data, watch)
    assert [(p.stage, p.epoch, p.step) for p in watch.paces[:7]] == [
        *[("ann", epoch, step) for epoch in (1, 2) for step in (1, 2, 3)],
        ("t2", 1, 1),
    ]
    assert [p.epochs_left for p in watch.paces] == [n for n in (4, 3, 2, 1, 0) for _ in range(3)]
    assert watch.paces[0].images_per_second == pytest.approx(12 / 10)
    assert [r.epochs_left for r in watch.records] == [4, 3, 2, 1, 0]
    assert [r.validation_seconds for r in watch.records] == [1.0] * 5
    # In the last stage all is known: a step, validation (1 s for 4 pictures), settling with the 36
    # others and validation again; nobody has counted the test set.
    split = Split(run, tiny_data)
    assert (len(split.images), len(split.held_out_labels)) == (36, 4)
    last = watch.paces[-2]
    assert last.step == 2 and last.seconds_left == pytest.approx(45 + 1 + 36 / 4 + 1)
    # From the ANN alone: T = 2 costs 7 thirds of it with a teacher, T = 1 four thirds.
    first = watch.records[1]
    steps = 3 * 10 * (7 / 3 + 2 * 4 / 3)
    assert first.seconds_left is not None and first.seconds_left > steps
    assert clock.now > 1000 + 30 * 2 + 210 + 270


def test_a_stage_is_measured_by_its_own_last_epochs(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path
) -> None:
    run = new_run(tmp_path)
    split = Split(run, tiny_data)
    assert seconds_left(run, split) == 0.0  # nothing is known, nothing is made up
    record = EpochRecord(
        stage="ann", attempt=0, epoch=1, epochs=9, loss=1.0, validation=0.5, spike_rate=None,
        rates={}, seconds=100.0, images_per_second=1.0, validation_seconds=7.0,
    )  # fmt: skip
    run.records += [record, *[replace(record, seconds=float(n)) for n in (11, 12, 13)]]
    assert epoch_time(run, split, Stage(0, 9)) == pace.EpochTime(12.0, 7.0)
    assert epoch_time(run, split, Stage(1, 9)).steps == pytest.approx(13.0 * 4 / 3)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> float:
    """Every step takes long enough to be heard of."""
    Clock(monkeypatch, {"ann": OFTEN, "t1": OFTEN / 2})
    return OFTEN


def test_a_long_epoch_has_lines_of_its_own_in_a_pipe(
    train_snn: "Callable[..., Answer]", slow: float, tmp_path: Path
) -> None:
    answer = train_snn(*TINY, "--out", tmp_path / "run")
    assert (answer.code, answer.err) == (0, "")
    mine = [line for line in answer.out.splitlines() if "of the epoch" in line]
    ann = [line for line in mine if line.startswith(" ann")]
    assert len(ann) == 20 and len(mine) == 30  # 20 steps, of two minutes and of one
    assert ann[9].split() == [*"ann 1/1 50% of the epoch 1 images/s 1 epoch to".split(),
                              *"come, 1h54m left".split()]  # fmt: skip


def test_programs_get_the_same(
    train_snn: "Callable[..., Answer]", slow: float, tmp_path: Path
) -> None:
    answer = train_snn(*TINY, "--out", tmp_path / "run", "--format", "json")
    lines = [json.loads(line) for line in answer.out.splitlines()]
    steps = [line for line in lines if line["event"] == "step"]
    assert len(steps) == 30
    assert [line["step"] for line in steps if line["stage"] == "t1"] == [*range(2, 21, 2)]
    epochs = [line for line in lines if line["event"] == "epoch"]
    assert [line["epochs_left"] for line in epochs] == [1, 0]
    assert epochs[0]["seconds_left"] > 20 * OFTEN


def test_on_a_terminal_one_line_is_rewritten(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    terminal = report.Terminal()
    place = Pace("t1", 3, 30, 45, 100, 1234.5, 27, 754.0, due=False)
    for number in range(10):
        now[0] += 0.15
        terminal.step(replace(place, step=number))
    terminal.note("stopped")
    shown = capsys.readouterr()
    parts = shown.err.split("\r")
    assert len(parts) == 1 + 5 + 1 and parts[-1] == "\x1b[K"  # every other one, then none is left
    assert all(part.endswith("\x1b[K") and len(part) < 80 + 3 for part in parts[1:])
    assert "27 epochs to come, 13m left" in pace_line(place)
    assert shown.out == "  stopped\n"
