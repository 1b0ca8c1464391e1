"""From nothing to a label through the three commands themselves, on real scans."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from in_memory import in_memory
from pages import run
from PIL import Image

from snn_train.data import load


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("pipeline")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def trained(place: Path) -> Path:
    said = run("train-snn --data digits --width 0.5 --epochs 6,15 --threads 1 --format json")
    stages = json.loads(said.splitlines()[-1])["stages"]
    assert [stage["stage"] for stage in stages] == ["ann", "t1"]
    assert all(stage["test"] >= 0.95 for stage in stages)
    return place / "runs" / "digits" / "t1.pt"


@pytest.fixture(scope="module")
def exported(place: Path, trained: Path) -> tuple[Path, dict[str, object]]:
    model = place / "model.onnx"
    said = run(f"export-snn {trained} {model} --data digits --threads 1 --format json")
    return model, json.loads(said)


def test_training_leaves_metrics_and_a_plot(trained: Path) -> None:
    lines = (trained.parent / "metrics.jsonl").read_text().splitlines()
    assert {json.loads(line)["stage"] for line in lines} == {"ann", "t1"}
    with Image.open(trained.parent / "training.png") as picture:
        assert picture.format == "PNG" and min(picture.size) > 300


def test_the_exported_accuracy_is_what_snn_infer_reaches(
    place: Path, exported: tuple[Path, dict[str, object]]
) -> None:
    """The held-out scans as files, through the command: the same answers, image by image."""
    model, facts = exported
    data = load("digits", lambda items, title, total: items)
    folder = place / "scans"
    folder.mkdir()
    for index, pixels in enumerate(in_memory(data.test_images).numpy()):
        Image.fromarray(pixels).save(folder / f"{index:04}.png")
    said = run(f"snn-infer {folder} --model {model} --format json --top-k 1")
    answers = [json.loads(line) for line in said.splitlines()]
    labels = [answer["predictions"][0]["label"] for answer in answers[:-1]]
    right = np.array(labels) == data.test_labels.numpy().astype(str)
    accuracy = facts["accuracy"]
    assert isinstance(accuracy, dict)
    assert right.mean() == accuracy["exported"]
    assert right.mean() >= 0.95
    assert answers[-1]["summary"]["ok"] == len(right)
