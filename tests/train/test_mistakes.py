"""What a finished run shows of its mistakes: counted right, the surest first, files that open."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from snn_train import mistakes
from snn_train.data import DataSet
from snn_train.lettering import Lettering
from snn_train.mistakes import Confusion, review, table, worst_of
from snn_train.network import SpikingNetwork
from snn_train.progress import Progress
from snn_train.stage import Stage
from snn_train.state import Run
from snn_train.teacher import load_stage
from snn_train.training import train_run


def finished(run: Run, data: DataSet) -> tuple[Run, Tensor]:
    return run, train_run(run, data, Progress())


def test_the_matrix_is_the_accuracy_that_was_measured(
    new_run: Callable[..., Run],
    tiny_data: DataSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = new_run(tmp_path / "run", stages=(Stage(0, 1), Stage(1, 1)))
    run, logits = finished(made, tiny_data)
    pixels = run.experiment.normalisation(tiny_data.test_images[torch.arange(12)])
    with torch.no_grad():
        assert torch.equal(logits, load_stage(run, "t1").eval()(pixels))
    monkeypatch.delattr(SpikingNetwork, "forward")  # the test pictures are read once
    labels = tiny_data.test_labels.clone()
    labels[0] = 1 - labels[0]  # at least one is wrong now, or one more right
    names = tuple(os.fsdecode(b"$x_\xff%d$\n" % number) for number in range(12))
    data = replace(tiny_data, test_labels=labels, test_names=names)
    counts = review(run, data, logits).counts
    assert counts.sum(1).tolist() == labels.bincount().tolist()
    assert int(counts.trace()) == int((logits.argmax(1) == labels).sum())
    assert int(review(run, tiny_data, logits).counts.trace()) / 12 == run.outcomes[-1].test
    for name in ("confusion.png", "mistakes.png"):
        with Image.open(tmp_path / "run" / name) as drawn:
            assert drawn.format == "PNG"


def test_without_a_mistake_there_is_no_sheet(
    new_run: Callable[..., Run], tiny_data: DataSet, tmp_path: Path
) -> None:
    run, logits = finished(new_run(tmp_path / "run", stages=(Stage(0, 1),)), tiny_data)
    review(run, replace(tiny_data, test_labels=logits.argmax(1)), logits)
    assert (tmp_path / "run" / "confusion.png").exists()
    assert not (tmp_path / "run" / "mistakes.png").exists()


def test_the_surest_mistakes_come_first() -> None:
    chances = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.01, 0.99]])
    assert worst_of(chances, torch.tensor([1, 1, 1, 0])) == [3, 0, 2]
    assert worst_of(chances.log(), torch.tensor([1, 1, 1, 0])) == [3, 0, 2]
    many = torch.rand(50, 2, generator=torch.Generator().manual_seed(0))
    assert len(worst_of(many, 1 - many.argmax(1))) == mistakes.SHOWN


def test_it_is_a_table_for_people() -> None:
    small = Confusion(("cat", "ship"), torch.tensor([[9, 1], [0, 1200]]))
    assert table(small).splitlines() == [
        "is        cat   ship",
        "cat         9      1    90.0% right",
        "ship        0  1,200   100.0% right",
    ]
    ten = Confusion(tuple(f"a long name {n}" for n in range(10)), torch.eye(10, dtype=torch.int64))
    assert max(map(len, table(ten).splitlines())) <= 100  # names of columns are cut, not of rows
    assert "a long name 9" in table(ten)
    for classes in range(2, 31):
        busy = torch.full((classes, classes), 1234)
        lines = table(Confusion(tuple(f"kind {n}" for n in range(classes)), busy)).splitlines()
        assert max(map(len, lines)) <= 100
    counts = torch.eye(30, dtype=torch.int64)
    counts[3, 7], counts[2, 1] = 4, 5
    named = Confusion(tuple(map(str, range(30))), counts)
    assert table(named).splitlines() == [
        "most often confused:", "     5 2 taken for 1", "     4 3 taken for 7"
    ]  # fmt: skip


def test_a_matrix_of_many_classes_is_drawn() -> None:
    counts = torch.eye(100, dtype=torch.int64)
    hundred = Confusion(tuple(f"class {n}" for n in range(100)), counts)
    figure = mistakes._matrix(hundred, Lettering())
    (axis,) = figure.axes
    assert not axis.texts and axis.get_title() == "100 test pictures, 100.0% right"
    assert [label.get_text() for label in axis.get_yticklabels()][99] == "class 99"


def test_labels_of_any_language_are_drawn_without_boxes(
    new_run: Callable[..., Run], tiny_data: DataSet, tmp_path: Path
) -> None:
    """A letter that no font has is a warning of matplotlib, and here each warning is an error."""
    data = replace(tiny_data, labels=("Füchse кошка", "猫\U000e0041\U000f0000"))
    run = new_run(tmp_path / "run", stages=(Stage(0, 1),))
    logits = torch.eye(2)[1 - data.test_labels]
    review(run, data, logits)
    assert (tmp_path / "run" / "mistakes.png").exists()
    axis = mistakes._matrix(Confusion(data.labels, torch.eye(2)), Lettering()).axes[0]
    known, unknown = (label.get_text() for label in axis.get_yticklabels())
    assert known == "Füchse кошка" and unknown[1:] == "?"
