"""From nothing to a label through the three commands themselves, on real scans."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from in_memory import in_memory
from PIL import Image

from snn_train.data import load


def command(module: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    program = f"import sys; from {module} import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pipeline")


@pytest.fixture(scope="module")
def trained(place: Path) -> Path:
    flags = "--data digits --width 0.5 --epochs 6,15 --format json".split()
    done = command("snn_train.cli", *flags, cwd=place)
    assert done.returncode == 0, done.stderr
    stages = json.loads(done.stdout.splitlines()[-1])["stages"]
    assert [stage["stage"] for stage in stages] == ["ann", "t1"]
    assert all(stage["test"] >= 0.95 for stage in stages)
    return place / "runs" / "digits" / "t1.pt"


@pytest.fixture(scope="module")
def exported(place: Path, trained: Path) -> tuple[Path, dict[str, object]]:
    model = place / "model.onnx"
    done = command(
        "snn_export.cli", trained, model, "--data", "digits", "--format", "json", cwd=place
    )
    assert done.returncode == 0, done.stderr
    return model, json.loads(done.stdout)


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
    done = command(
        "snn_runtime.infer.cli",
        folder,
        "--model",
        model,
        "--format",
        "json",
        "--top-k",
        1,
        cwd=place,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    labels = [answer["predictions"][0]["label"] for answer in answers[:-1]]
    right = np.array(labels) == data.test_labels.numpy().astype(str)
    accuracy = facts["accuracy"]
    assert isinstance(accuracy, dict)
    assert right.mean() == accuracy["exported"]
    assert right.mean() >= 0.95
    assert answers[-1]["summary"]["ok"] == len(right)
