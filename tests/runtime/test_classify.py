"""Pictures in any form, labels out: what `snn-infer` does, to the same pixel."""

import io
import json
import pickle
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import snn_runtime as snn
from snn_runtime.errors import InputError, UsageError

PHOTOS = Path(__file__).parents[2] / "runtime" / "photos"
CAT = PHOTOS / "cat.jpg"


@pytest.fixture(scope="module")
def model() -> snn.Model:
    return snn.load(threads=1)


def test_the_answers_are_those_of_the_command(model: snn.Model) -> None:
    program = "from snn_runtime.infer.cli import main; raise SystemExit(main())"
    command = [sys.executable, "-c", program, "--format", "json", "--top-k", "10", str(PHOTOS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in done.stdout.splitlines()][:-1]
    assert len(records) == 3
    for record, answer in zip(
        records, model.classify([record["path"] for record in records]), strict=True
    ):
        assert [vars(p) for p in answer.predictions] == record["predictions"]
        assert answer.label == record["predictions"][0]["label"]
        assert answer.probability == record["predictions"][0]["probability"]
        assert list(answer.warnings) == record["warnings"] and answer.unsure == record["unsure"]


@pytest.mark.parametrize("readme", ["README.md"])
def test_the_examples_run(readme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = PHOTOS.parents[1]
    monkeypatch.chdir(root)
    (example,) = re.findall(r"```python\n(.*?)```", (root / readme).read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    answer = names["answer"]
    assert isinstance(answer, snn.Answer) and answer.label == "cat"


def test_the_example_of_the_reference_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On files of the names that it says; the package's own docstring has the same lines."""
    root = PHOTOS.parents[1]
    monkeypatch.chdir(tmp_path)
    shutil.copy(CAT, "cat.jpg")
    shutil.copy(root / "runtime" / "snn_runtime" / "models" / "default.onnx", "model.onnx")
    page = (root / "docs" / "reference" / "python.md").read_text()
    (example,) = re.findall(r"```python\n(import snn_runtime.*?)```", page, re.DOTALL)
    for code in (example, str(snn.__doc__).split("\n\n", 1)[1]):
        names: dict[str, object] = {}
        exec(code, names)
        answer = names["answer"]
        assert isinstance(answer, snn.Answer) and answer.label == "cat"


def test_every_form_of_a_file_is_the_same_picture(model: snn.Model) -> None:
    expected = model.classify(CAT)
    assert expected.label == "cat" and not expected.warnings
    assert model.classify(str(CAT)) == expected
    assert model.classify(CAT.read_bytes()) == expected
    assert model.classify(io.BytesIO(CAT.read_bytes())) == expected
    with CAT.open("rb") as file:
        assert model.classify(file) == expected


def test_a_picture_in_memory_is_resampled_as_a_file_is(model: snn.Model, tmp_path: Path) -> None:
    """Of any size, in either order of channels; a file without loss has the same pixels."""
    drawn = Image.open(CAT).convert("RGB").resize((97, 61))
    drawn.save(tmp_path / "drawn.png")
    expected = snn.read_image(tmp_path / "drawn.png", model)
    assert expected.shape == (32, 32, 3) and expected.dtype == np.uint8
    array = np.asarray(drawn)
    np.testing.assert_array_equal(snn.read_image(drawn, model), expected)
    np.testing.assert_array_equal(snn.read_image(array, model), expected)
    np.testing.assert_array_equal(
        snn.read_image(np.ascontiguousarray(array[..., ::-1]), model, colour="bgr"), expected
    )
    several = model.classify(np.stack([array, array[:, ::-1]]))
    assert several[0] == model.classify(drawn) and len(several) == 2


def test_a_picture_that_pillow_opened_is_turned_upright(model: snn.Model) -> None:
    sideways = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = Image.open(CAT).convert("RGB").resize((40, 30))
    upright.transpose(Image.Transpose.ROTATE_90).save(sideways, "PNG", exif=exif)
    np.testing.assert_array_equal(
        snn.read_image(Image.open(sideways), model), snn.read_image(upright, model)
    )


def test_an_image_of_the_right_size_passes_untouched(model: snn.Model) -> None:
    array = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    np.testing.assert_array_equal(snn.read_image(array, model), array)
    logits = model.logits(array[np.newaxis])
    np.testing.assert_array_equal(logits, model.backend.run(array[np.newaxis]))
    assert [p.logit for p in model.classify(array).top(2)] == sorted(logits[0].tolist())[:-3:-1]


def test_spikes_of_a_picture(model: snn.Model) -> None:
    spikes = model.spikes(CAT)
    expected = model.backend.spikes(snn.read_image(CAT, model)[np.newaxis])
    assert list(spikes) == [node.name for node in model.graph.populations]
    for node in model.graph.populations:
        sent, kind = spikes[node.name], np.bool_ if node.levels == 1 else np.uint8
        assert sent.dtype == kind and sent.shape == model.graph.shapes[node.name]
        np.testing.assert_array_equal(sent, expected[node.name][0].astype(kind))


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (3, "is int, expected a path"),
        (io.StringIO("x"), "is StringIO, expected a path"),
        (np.zeros((4, 4, 3), np.uint8), "4 x 4 pixels"),
        (np.zeros((32, 32), np.uint8), r"an array of uint8, \(32, 32\), expected uint8"),
        (np.zeros((32, 32, 3), np.float32), "an array of float32"),
        (b"", "is empty"),
        ("missing.jpg", "missing.jpg: no such file"),
    ],
)
def test_what_is_no_picture_is_refused(model: snn.Model, picture: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        model.classify(picture)  # type: ignore[call-overload]  # which a type checker refuses too
    with pytest.raises(InputError, match=f"^picture 1: .*{said}"):
        model.classify([CAT, picture])  # type: ignore[list-item]  # likewise


def test_the_order_of_channels_is_an_array_s(model: snn.Model) -> None:
    with pytest.raises(InputError, match="which is for arrays only"):
        model.classify(CAT, colour="bgr")


def test_habits(model: snn.Model) -> None:
    answer = model.classify(CAT)
    assert repr(answer) == f"<Answer 'cat' {answer.probability:.1%}>"
    assert repr(model).startswith("<Model 32x32, 10 classes, ")
    assert set(dir(snn)) >= {"load", "Model", "Answer", "read_image"}
    assert model.classify([]) == [] and len(answer.top(3)) == 3 == len(answer.top(99)) - 7
    with pickle.loads(pickle.dumps(model)) as again:
        assert again.classify(CAT) == answer
    with ThreadPoolExecutor(4) as pool:
        assert all(found == answer for found in pool.map(model.classify, [CAT] * 16))


def test_a_count_of_labels_is_no_slice() -> None:
    answer = snn.load().classify(PHOTOS / "cat.jpg")
    assert answer.top(0) == () and len(answer.top(3)) == 3
    with pytest.raises(UsageError, match=r"top\(-1\): expected 0 or more"):
        answer.top(-1)


def test_grey_of_32_bits_that_holds_8_is_warned_of_as_grey_of_16_is() -> None:
    grey = Image.open(PHOTOS / "cat.jpg").convert("L")
    for mode in ("I", "I;16"):
        assert any("below a quarter" in w for w in snn.load().classify(grey.convert(mode)).warnings)
