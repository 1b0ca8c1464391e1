"""Pictures with their labels drawn on: readable on anything, of a size that fits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from bad_inputs.pictures import encoded
from infer_command import RED, Command, png
from PIL import Image

from snn_runtime.answer import Answer, Prediction
from snn_runtime.infer.drawing import drawn


def answer(label: str = "cat", probability: float = 0.75) -> Answer:
    return Answer((Prediction(label, 0, 1.0, probability),))


def pixels(image: Image.Image, said: Answer) -> npt.NDArray[np.int64]:
    return np.asarray(drawn(image, said)).astype(np.int64)


def luminance(values: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Of sRGB, as the rules for readable pages (WCAG 2) define it."""
    linear = np.where(values <= 10, values / 255 / 12.92, ((values / 255 + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ [0.2126, 0.7152, 0.0722])


def band(picture: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The rows of the text, above the bar."""
    height = round(min(picture.shape[:2]) / 15)
    return picture[-2 * height - height // 6 : -(height // 6) - 1]


@pytest.mark.parametrize("background", ["white", "black", "yellow", "noise"])
@pytest.mark.parametrize("probability", [0.75, 0.25])
def test_text_can_be_read_on_anything(background: str, probability: float) -> None:
    if background == "noise":
        noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
        image = Image.fromarray(noise)
    else:
        image = Image.new("RGB", (640, 480), background)
    rows = band(pixels(image, answer(probability=probability)))
    behind = luminance(rows[:, 250:400])  # between label and probability
    text = np.sort(luminance(rows[:, :200]).ravel())[-50:]
    assert (text.min() + 0.05) / (behind.max() + 0.05) > 4.5


def test_nothing_above_the_band_is_touched_and_the_bar_is_as_long_as_the_probability() -> None:
    image = Image.effect_noise((640, 480), 90).convert("RGB")
    found = pixels(image, answer(probability=0.75))
    height = 480 // 15
    top = 480 - 2 * height - height // 6
    assert np.array_equal(found[:top], np.asarray(image)[:top])
    bar = (found[-2] == 255).all(1)
    assert bar[:480].all() and not bar[480:].any()


def test_sizes_grow_with_the_picture_and_small_pictures_are_enlarged() -> None:
    def height(side: int) -> int:
        rows = band(pixels(Image.new("RGB", (side, side), "black"), answer()))
        lit = np.nonzero((rows > 128).any((1, 2)))[0]
        return int(lit[-1] - lit[0] + 1)

    assert height(960) == pytest.approx(2 * height(480), abs=2)
    assert drawn(Image.new("RGB", (32, 28)), answer()).size == (288, 252)
    assert height(28) >= 9


@pytest.mark.parametrize("label", ["w" * 300, "\x1b[31mred\n\n", "", "ü\udcff"])
def test_a_label_of_any_kind_stays_in_its_place(label: str) -> None:
    rows = band(pixels(Image.new("RGB", (300, 300), "black"), answer(label)))
    assert not (rows[:, :6] > 99).any() and not (rows[:, -6:] > 99).any()
    share = band(pixels(Image.new("RGB", (300, 300), "black"), answer("")))
    assert np.array_equal(rows[:, 220:], share[:, 220:])


def test_every_doubt_is_drawn() -> None:
    image = Image.new("RGB", (640, 480), "black")
    sure, unsure = answer(), answer(probability=0.25)
    shown = [sure, replace(sure, unfamiliar=True), unsure, replace(unsure, unfamiliar=True)]
    rows = [band(pixels(image, each))[:, :500] for each in shown]
    assert len({each.tobytes() for each in rows}) == 4
    yellow = [((each[..., 0] > 200) & (each[..., 2] < 99)).any() for each in rows]
    assert yellow == [False, True, True, True]


def test_pictures_are_written_with_their_labels(tmp_path: Path, snn_infer: Command) -> None:
    (tmp_path / "in" / "more").mkdir(parents=True)
    blue = png("blue", 300)
    for name, data in {"a.png": blue, "more/a.png": RED, "no.jpg": b"no picture"}.items():
        (tmp_path / "in" / name).write_bytes(data)
    out = tmp_path / "out" / "of"
    outcome = snn_infer("--annotate", out, tmp_path / "in")
    assert outcome.code == 4
    assert sorted(each.name for each in out.iterdir()) == ["a-2.jpg", "a.jpg"]
    shown = np.asarray(Image.open(out / "a.jpg")).astype(int)
    assert shown.shape == (300, 300, 3) and np.abs(shown[:200] - [0, 0, 255]).max() < 8
    assert (shown[-40:] > 200).all(2).any()


@pytest.mark.parametrize(("name", "form"), [("out.jpg", "JPEG"), ("out.PNG", "PNG")])
def test_the_only_picture_may_be_a_file(
    name: str, form: str, tmp_path: Path, snn_infer: Command
) -> None:
    (tmp_path / "a.png").write_bytes(png("blue", 300))
    (tmp_path / name).write_bytes(b"an old one")
    assert snn_infer("--annotate", tmp_path / name, tmp_path / "a.png").code == 0
    with Image.open(tmp_path / name) as shown:
        assert (shown.format, shown.size) == (form, (300, 300))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.png", name]


def test_what_was_looked_at_has_a_frame(tmp_path: Path, snn_infer: Command) -> None:
    (tmp_path / "a.png").write_bytes(png("blue", 300))
    snn_infer("--crop", "50,60,100,120", "--annotate", tmp_path / "out", tmp_path / "a.png")
    shown = np.asarray(Image.open(tmp_path / "out" / "a.jpg")).astype(int)
    white = (shown[:240] > 180).all(2)
    rows, columns = np.nonzero(white)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (50, 149, 60, 179)


def test_nothing_is_overwritten(tmp_path: Path, snn_infer: Command) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(encoded(Image.new("RGB", (300, 300), "red"), "JPEG"))
    before = photo.read_bytes()
    for _ in range(2):
        assert snn_infer("--annotate", tmp_path, photo).code == 0
    assert photo.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a-2.jpg", "a-3.jpg", "a.jpg"]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("-", "picture.jpg"),
        ("é x.tar.png", "é-x.tar.jpg"),
        ("..png", "png.jpg"),
        ("\udcff.png", "picture.jpg"),
    ],
)
def test_names(name: str, written: str, tmp_path: Path, snn_infer: Command) -> None:
    path = tmp_path / name
    path.write_bytes(RED)
    assert snn_infer("--annotate", tmp_path / "out", path).code == 0
    assert [each.name for each in (tmp_path / "out").iterdir()] == [written]


def test_a_long_picture_is_enlarged_as_far_as_a_jpeg_goes(
    tmp_path: Path, snn_infer: Command
) -> None:
    assert drawn(Image.new("RGB", (40_000, 210)), answer()).size == (40_000, 210)
    assert drawn(Image.new("RGB", (8, 1_600)), answer()).size == (240, 48_000)
    (tmp_path / "long.png").write_bytes(encoded(Image.new("RGB", (40_000, 210), "red"), "PNG"))
    shown = tmp_path / "shown"
    assert snn_infer("--annotate", shown, tmp_path / "long.png").code == 0
    with Image.open(shown / "long.jpg") as image:
        assert image.size == (40_000, 210)


def test_a_picture_that_no_jpeg_holds_fails_alone(tmp_path: Path, snn_infer: Command) -> None:
    (tmp_path / "a.png").write_bytes(RED)
    (tmp_path / "b.png").write_bytes(encoded(Image.new("RGB", (65_504, 328), "red"), "PNG"))
    (tmp_path / "c.png").write_bytes(RED)
    names = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    outcome = snn_infer("--annotate", tmp_path / "shown", *names)
    assert outcome.code == 4 and len(outcome.out.splitlines()) == 3
    said = "65,504 x 328 pixels, no JPEG; a side has 65,500 at most [unwritable]"
    assert f"snn-infer: error: {names[1]}: {said}" in outcome.err
    assert sorted(each.name for each in (tmp_path / "shown").iterdir()) == ["a.jpg", "c.jpg"]


def test_where_nothing_can_be_written(tmp_path: Path, snn_infer: Command) -> None:
    (tmp_path / "file").write_bytes(RED)
    outcome = snn_infer("--annotate", tmp_path / "file" / "out", tmp_path / "file")
    assert outcome.code == 7 and "[unwritable]" in outcome.err and outcome.out == b""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--annotate", "a.mp4", "a.png"], "is a film, which shows one film or one camera"),
        (["--annotate", "a.mp4", "a.mp4"], "not FILE itself"),
        (["--annotate", "a.mp4", "b.mp4", "c.mp4"], "the only INPUT"),
        (["--annotate", "a.avi", "b.mp4"], "films are written as .mp4"),
        (["--annotate", "a.tif", "b.tif"], "pictures are written as .jpg"),
        (["--annotate", "a.jpg", "a.jpg"], "not FILE itself"),
        (["--annotate", "a.jpg", "b.jpg", "c.jpg"], "the only INPUT"),
        (["--annotate", "a.jpg", "-"], "the only INPUT, a file"),
        (["--annotate", "a.jpg", "b.mp4"], "the only INPUT, a file"),
        (["--explain", "a.png", "photos"], "the only INPUT, a file"),
        (["--explain", "a.jpg", "b.jpg"], "pages are written as .png"),
        (["--annotate", "photos/out", "photos"], "leads into a folder that is read"),
        (["--annotate", "photos", "--watch", "photos"], "leads into a folder that is read"),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: list[str], said: str, tmp_path: Path, snn_infer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    outcome = snn_infer(*words)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1) and said in outcome.err
