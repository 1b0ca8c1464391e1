"""training.png: every run can be drawn, also an older one, and shows what it should."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from snn_train import plot as module
from snn_train.data import DataSet
from snn_train.plot import plot
from snn_train.progress import Progress
from snn_train.records import EpochRecord
from snn_train.state import Run
from snn_train.training import train_run

NewRun = Callable[..., Run]


class Drawn:
    """What is drawn: the lines of every axis by their labels, and the words."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines: list[dict[str, int]] = []
        self.words: list[str] = []
        self.alone: list[set[str]] = []
        """The markers of lines of one point, of every axis."""
        self.scale = ""
        """Of the axis of losses."""
        real = module._draw

        def draw(figure: Any, run: Run, colours: Any) -> None:
            real(figure, run, colours)
            self.lines = [
                {str(line.get_label()): len(line.get_xdata()) for line in axis.lines}
                for axis in figure.axes
            ]
            self.alone = [
                {str(line.get_marker()) for line in axis.lines if len(line.get_xdata()) == 1}
                for axis in figure.axes
            ]
            self.scale = figure.axes[0].get_yscale()
            self.words = [text.get_text() for axis in figure.axes for text in axis.texts]

        monkeypatch.setattr(module, "_draw", draw)


def record(stage: str, epoch: int, attempt: int = 0, **more: Any) -> EpochRecord:
    rate = None if stage == "ann" else 0.2
    return EpochRecord(
        stage=stage, attempt=attempt, epoch=epoch, epochs=9, loss=1.0, validation=0.5 + epoch / 99,
        spike_rate=rate, rates={"conv1": 0.1, "conv2": 0.3}, seconds=1.0, images_per_second=1.0,
        **more,
    )  # fmt: skip


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    return Drawn(monkeypatch)


def test_a_run_of_three_stages(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, drawn: Drawn
) -> None:
    run = new_run(tmp_path)
    train_run(run, tiny_data, Progress())
    run.records[-1] = replace(run.records[-1], target=0.2)
    with Image.open(plot(run)) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert pixels.shape[0] > 500 and 0.005 < (pixels < 128).mean() < 0.2  # neither empty nor full
    loss, accuracy, spikes = drawn.lines
    assert len(loss) >= 3
    assert accuracy["training"] == accuracy["validation"] == 2  # the ANN's, then the others unnamed
    assert spikes.keys() >= {"conv1", "conv2", "conv3", "weighted", "wanted"}
    assert drawn.words[:3] == ["ann", "t2", "t1"]
    kept = f"kept of t1: epoch {run.best.epoch + 1}, "
    assert any(label.startswith(kept) for label in accuracy)


def test_older_runs_have_no_training_accuracy(
    new_run: NewRun, tmp_path: Path, drawn: Drawn
) -> None:
    run = new_run(tmp_path)
    old = EpochRecord.from_dict(record("ann", 1).to_dict())
    assert old.training is None and "training" not in old.to_dict()
    run.records = [old, replace(old, stage="t1", spike_rate=0.1)]
    plot(run)
    assert drawn.lines[1].keys() >= {"validation"} and "training" not in drawn.lines[1]


def test_an_ann_alone_has_no_spikes(
    new_run: NewRun, tmp_path: Path, drawn: Drawn, recwarn: pytest.WarningsRecorder
) -> None:
    run = new_run(tmp_path)
    run.records = [record("ann", 1, training=0.4)]
    plot(run)
    assert drawn.lines[2] == {} and not recwarn.list
    run.records.append(record("ann", 1, 1))  # tried again
    plot(run)
    assert len(drawn.lines[2]) == 1 and not recwarn.list


def test_every_attempt_is_a_line_of_its_own_and_marked(
    new_run: NewRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: Drawn
) -> None:
    marks: list[object] = []
    real = module._mark_stages

    def mark(axis: Any, records: Any) -> None:
        before = len(axis.lines)
        real(axis, records)
        marks.append([line.get_xdata()[0] for line in axis.lines[before:]])

    monkeypatch.setattr(module, "_mark_stages", mark)
    run = new_run(tmp_path)
    run.records = [record("ann", 1), *(record("t1", e, a) for a in (0, 1) for e in (1, 2))]
    plot(run)
    assert marks == [[1.5, 3.5]] * 3  # t1 begins, t1 is tried again


def test_a_loss_that_explodes_hides_no_other(new_run: NewRun, tmp_path: Path, drawn: Drawn) -> None:
    run, scales = new_run(tmp_path), []
    for loss in (2.0, 1e36):
        run.records = [record("ann", 1), record("ann", 2), replace(record("ann", 3), loss=loss)]
        plot(run)
        scales.append(drawn.scale)
    assert scales == ["linear", "log"]


def test_a_long_run_of_many_layers(new_run: NewRun, tmp_path: Path, drawn: Drawn) -> None:
    run = new_run(tmp_path)
    rates = {f"conv{i}": 0.1 for i in range(33)}
    run.records = [replace(record("t1", e), rates=rates) for e in range(1, 200)]
    plot(run)
    named = [name for name in drawn.lines[2] if name.startswith("conv")]
    assert len(named) == module.MOST_LAYERS and {"conv0", "conv32"} <= {*named}
    assert drawn.alone[0] == drawn.alone[2] == set()
    run.records.append(replace(record("int4", 1), rates=rates))
    plot(run)
    assert drawn.alone[0] == drawn.alone[2] == {"."}


def test_a_full_disk_is_told_and_ends_nothing(
    new_run: NewRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = new_run(tmp_path)
    run.records = [record("ann", 1)]
    run.directory = tmp_path / "gone"
    with caplog.at_level(logging.WARNING):
        plot(run)
    assert "gone" in caplog.text
