"""The tutorials, followed from top to bottom, where training is shortened."""

import logging
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from pages import DOCS, blocks, commands, example, run
from PIL import Image

SHORT = {  # pattern: what stands in its place
    r"--width \S+ ": "",
    r" --epochs \S+": "",
    r"^train-snn .*": r"\g<0> --network vgg5 --width 0.1 --timesteps 1 --epochs 1,1 "
    "--largest-drop 1 --rate-limits 0,1 --threads 1",
    r"--network vgg5 --image-size": "--image-size",
}


def shortened(line: str) -> str:
    for pattern, instead in SHORT.items():
        line = re.sub(pattern, instead, line)
    return line


def followed(page: str) -> list[str]:
    """Run a page's commands and examples; what they print, one a block."""
    printed, names = [], dict[str, object]()
    for language, text in blocks(page):
        if language == "sh":
            printed += [run(shortened(line)) for line in commands(text)]
        elif language == "python":
            printed.append(example(text, names))
    return printed


def test_a_camera_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every output is the one that the page shows, to the letter."""
    monkeypatch.chdir(DOCS.parent)
    names: dict[str, object] = {}
    shown = blocks("tutorials/camera.md")
    for (language, text), (following, output) in zip(shown, [*shown[1:], ("", "")], strict=True):
        if language == "python":
            expected = "" if following else output
            assert example(text, names) == expected


def test_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trained, exported, scanned, labelled = followed("tutorials/digits.md")
    assert trained.endswith(
        "runs/digits/t1.pt  next: export-snn runs/digits/t1.pt model.onnx --data digits\n"
    )
    assert "\nproven: checker passed" in exported and scanned == ""
    assert [line.split(":")[0] for line in labelled.splitlines()] == [
        f"scans/{number}.png" for number in range(10)
    ]


def test_your_own_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for place, name in enumerate(("cat", "ship", "truck")):
        for part, count in (("train", 20), ("test", 5)):
            folder = tmp_path / "photos" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 120, (40, 50, 3), np.uint8)
                pixels[..., place] += 120  # red cats, green ships, blue trucks
                Image.fromarray(pixels).save(folder / f"{number}.jpg")
    trained, exported, labelled, written, counted = followed("tutorials/photographs.md")
    assert trained.endswith("runs/imagefolder/t1.pt model.onnx --data imagefolder:photos\n")
    assert "accuracy on 15 test images" in exported and len(labelled.splitlines()) == 5
    assert len(written.splitlines()) == 16
    assert re.fullmatch(r"\d+ of 15 right, \d+ unsure\n", counted)


def test_an_snntorch_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    shown = blocks("how-to/import-snntorch.md")
    network, learning = (text for language, text in shown if language == "python")
    (tmp_path / "net.py").write_text(network)
    said = example(learning.replace("range(20)", "range(2)"), {})
    assert re.fullmatch(r"loss \d+\.\d{3}\n", said)
    (line,) = (line for _, text in shown for line in commands(text) if "export-snn" in line)
    exported = run(line)
    assert (
        "against snntorch itself, 24,576 neurons of 24 images: with unrounded weights 0 differ"
        in (exported)
    )


def test_embedding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger("snn_runtime"), "level", logging.WARNING)
    runtime = DOCS.parent / "runtime"
    shutil.copy(runtime / "snn_runtime" / "models" / "default.onnx", "model.onnx")
    names: dict[str, object] = {"request_body": (runtime / "photos" / "cat.jpg").read_bytes()}
    for language, text in blocks("how-to/embedding.md"):
        assert language == "python" and example(text, names) == ""
    assert repr(names["answer"]) == "<Answer 'cat' 99.8%>"
