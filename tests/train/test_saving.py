"""A disk that is full for a while costs no run, and one that stays full ends it with its state."""

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from train.tiny import Recorder

from snn_runtime.errors import ResourceError
from snn_runtime.files import write_atomic
from snn_train import checkpoint, saving, training
from snn_train.data import DataSet
from snn_train.progress import Progress
from snn_train.records import EpochRecord
from snn_train.stage import Stage
from snn_train.state import Run, resume
from snn_train.training import train_run

NewRun = Callable[..., Run]


def weights(directory: Path) -> list[torch.Tensor]:
    return list(checkpoint.load(directory / "t1.pt")["network"].values())


class Disk:
    """Refuses the writes for which `full` holds, by their number."""

    def __init__(self, full: Callable[[int], bool]) -> None:
        self.full, self.writes, self.refused = full, 0, 0

    def write(self, path: Path, data: bytes) -> None:
        self.writes += 1
        if self.full(self.writes):
            self.refused += 1
            raise ResourceError("unwritable", f"{path}: cannot write {len(data):,} bytes: full")
        write_atomic(path, data)


@pytest.fixture(autouse=True)
def after_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes."""
    monkeypatch.setattr(training, "SAVING_SHARE", math.inf)


@pytest.mark.parametrize("first", (2, 8))
def test_a_disk_that_is_full_for_a_while_changes_no_bit(
    new_run: NewRun,
    tiny_data: DataSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    first: int,
) -> None:
    train_run(new_run(tmp_path / "whole"), tiny_data, Progress())
    disk = Disk(lambda number: first <= number < first + saving.IN_A_ROW - 1)
    monkeypatch.setattr(checkpoint, "write_atomic", disk.write)
    with caplog.at_level(logging.WARNING):
        train_run(new_run(tmp_path / "full"), tiny_data, Progress())
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert disk.refused == saving.IN_A_ROW - 1 == len(warnings)
    assert all("cannot write" in record.getMessage() for record in warnings)
    same = zip(weights(tmp_path / "full"), weights(tmp_path / "whole"), strict=True)
    assert all(torch.equal(mine, theirs) for mine, theirs in same)
    assert resume(tmp_path / "full", torch.device("cpu")).finished


def test_failures_are_counted_in_a_row(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, disk = new_run(tmp_path), Disk(lambda number: number % saving.IN_A_ROW != 0)
    monkeypatch.setattr(checkpoint, "write_atomic", disk.write)
    for _ in range(3 * saving.IN_A_ROW):
        saving.save_and_go_on(run)
    assert run.failed_saves == 0
    disk.full = lambda number: True
    for _ in range(saving.IN_A_ROW - 1):
        saving.save_and_go_on(run)
    with pytest.raises(ResourceError, match=f"full; {saving.IN_A_ROW} saves in a row have failed"):
        saving.save_and_go_on(run)


def test_a_run_that_is_stopped_never_says_saved_where_it_is_not(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(lambda number: True)
    monkeypatch.setattr(checkpoint, "write_atomic", disk.write)
    with pytest.raises(ResourceError):
        train_run(new_run(tmp_path), tiny_data, Recorder(stopping=lambda: True))
    assert disk.writes == saving.IN_A_ROW


def test_metrics_that_cannot_be_written_are_no_end_either(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(lambda number: number in (2, 3))
    monkeypatch.setattr("snn_train.saving.write_atomic", disk.write)
    train_run(new_run(tmp_path), tiny_data, Progress())
    assert disk.refused == 2
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 5


def test_saving_takes_no_more_than_its_share_of_the_time(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, saves = [1000.0], list[tuple[str, int]]()

    class Slow(Progress):
        def epoch(self, record: EpochRecord) -> None:
            now[0] += 3.0

    def save(run: Run) -> None:
        now[0] += 1.0
        saves.append((run.stage.name, run.position.epoch))

    monkeypatch.setattr(training, "SAVING_SHARE", 0.05)
    monkeypatch.setattr(training, "save_and_go_on", save)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    run = new_run(tmp_path, stages=(Stage(0, 20), Stage(1, 9)))
    train_run(run, tiny_data, Slow())
    # Another one 20 seconds after the one before began, and at the end of each stage.
    assert saves == [("ann", n) for n in (1, 8, 15, 20)] + [("t1", n) for n in (1, 8, 9)]
