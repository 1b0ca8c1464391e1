"""Every program in examples/ runs, and does what its first lines say."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PHOTOS = ROOT / "runtime" / "photos"
COMMANDS = {
    "train-snn": "snn_train.cli",
    "export-snn": "snn_export.cli",
    "snn-infer": "snn_runtime.infer.cli",
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder, beside which the commands lie that an installation has."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, module in COMMANDS.items():
        (folder / name).write_text(
            f'#!{sys.executable}\nimport sys\nsys.argv[0] = "{name}"\n'
            f"from {module} import main\nsys.exit(main())\n"
        )
        (folder / name).chmod(0o755)
    (folder / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (folder / "python3").chmod(0o755)
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def example(place: Path, name: str, *arguments: object, given: bytes = b"", code: int = 0) -> str:
    """Run an example in the folder; return what it prints."""
    program = [sys.executable] if name.endswith(".py") else ["/bin/sh"]
    paths = os.pathsep.join(str(ROOT / part) for part in ("train", "export", "runtime"))
    done = subprocess.run(
        [*program, str(EXAMPLES / name), *map(str, arguments)],
        cwd=place,
        env={**os.environ, "PATH": f"{place.parent / 'bin'}:/usr/bin:/bin", "PYTHONPATH": paths},
        input=given,
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == code, done.stderr.decode()
    return done.stdout.decode()


def test_all_of_them_are_tried() -> None:
    tried = set(re.findall(r'example\(place, "([\w.]+)"', Path(__file__).read_text()))
    programs = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")}
    assert tried == programs


def test_frames_of_a_camera(place: Path) -> None:
    frames = [np.asarray(Image.open(PHOTOS / f"{name}.jpg").convert("RGB").resize((320, 240)))
              for name in ("cat", "cat", "dog")]  # fmt: skip
    film = b"".join(np.ascontiguousarray(frame[..., ::-1]).tobytes() for frame in frames)
    said = example(place, "camera.py", 320, 240, given=film + b"half a frame").splitlines()
    assert [line.split()[:3] for line in said] == [["frame", "0:", "cat"], ["frame", "2:", "dog"]]


def test_a_folder_to_a_table(place: Path) -> None:
    shutil.copytree(PHOTOS, place / "photos", ignore=shutil.ignore_patterns("*.md"))
    (place / "photos" / "broken.jpg").write_bytes(b"no picture")
    example(place, "folder_to_csv.py", "photos", "answers.csv")
    with (place / "answers.csv").open(newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert rows["cat.jpg"]["label"] == "cat" and len(rows) == 4
    assert rows["broken.jpg"]["label"] == "" and rows["broken.jpg"]["remarks"] == "not_an_image"


def test_a_batch_job(place: Path) -> None:
    incoming = place / "incoming"
    incoming.mkdir()
    shutil.copy(PHOTOS / "cat.jpg", incoming)
    (incoming / "a broken one.jpg").write_bytes(b"no picture")
    example(place, "batch_job.sh", "incoming", "answers.jsonl", "refused")
    records = [json.loads(line) for line in (place / "answers.jsonl").read_text().splitlines()]
    assert [record.get("ok") for record in records] == [False, True, None]
    assert os.listdir(incoming) == ["cat.jpg"]
    assert os.listdir(place / "refused") == ["a broken one.jpg"]
    shutil.rmtree(incoming)
    example(place, "batch_job.sh", "incoming", "answers.jsonl", "refused")  # nothing there: 3


def test_a_batch_job_on_a_machine_that_cannot(place: Path) -> None:
    """Nothing is moved where the pictures are not to blame."""
    (place / "incoming").mkdir()
    (place / "incoming" / "a.jpg").write_bytes(b"no picture")
    (place.parent / "bin" / "snn-infer").write_text("#!/bin/sh\nexit 6\n")
    example(place, "batch_job.sh", "incoming", "answers.jsonl", "refused", code=6)
    assert os.listdir(place / "incoming") == ["a.jpg"] and os.listdir(place) == ["incoming"]


def test_digits(place: Path) -> None:
    flags = "--width 0.1 --timesteps 1 --epochs 1 --largest-drop 1 --threads 1".split()
    said = example(place, "digits.sh", *flags)
    assert "\nproven: checker passed" in said
    assert re.search(r"^a-0\.png: (unsure: )?\d \d", said, re.MULTILINE)


def test_a_network_of_snntorch(place: Path) -> None:
    said = example(place, "import_snntorch.py", 2)
    assert "against snntorch itself" in said
    (right,) = re.findall(r"^([\d.]+)% of 397 scans that it never saw$", said, re.MULTILINE)
    assert float(right) > 60
