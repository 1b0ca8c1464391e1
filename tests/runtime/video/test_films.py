"""Films: every frame, or some of them, by number and time; what is damaged says where."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from films import make
from infer_command import Command, colours

from snn_runtime.image import prepare
from snn_runtime.infer.films import clock, film, is_film
from snn_runtime.video import reading

SHOWN = ["red"] * 10 + ["lime"] * 10 + ["blue"] * 10


@pytest.fixture(scope="module")
def avi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("films") / "film.avi", SHOWN)


@pytest.fixture(scope="module")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("films") / "film.mp4", SHOWN)


def rows(out: bytes) -> list[tuple[str, str]]:
    """What stands behind the film's name, and the label."""
    lines = [line.split(": ") for line in out.decode().splitlines()]
    return [(name.split("#")[1], said.split()[0]) for name, said in lines]


def test_every_frame_has_a_row(mp4: Path, snn_infer: Command) -> None:
    outcome = snn_infer(mp4)
    assert outcome.code == 0 and outcome.err.startswith("snn-infer: 30 labelled (")
    found = rows(outcome.out)
    names = [f"{n + 1}@0:00:0{n / 10:.3f}" for n in range(30)]
    assert found == list(zip(names, [c.replace("lime", "green") for c in SHOWN], strict=True))


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (["--every", "12"], [1, 13, 25]),
        (["--fps", "2"], [1, 6, 11, 16, 21, 26]),
        (["--every", "5", "--shard", "2/3"], [6, 21]),
    ],
)
def test_some_frames(words: list[str], numbers: list[int], avi: Path, snn_infer: Command) -> None:
    found = rows(snn_infer(*words, avi).out)
    assert [int(name.split("@")[0]) for name, _ in found] == numbers


def test_a_frame_is_the_picture_that_opencv_shows(mp4: Path) -> None:
    capture = cv2.VideoCapture(str(mp4), cv2.CAP_FFMPEG)
    for source in filter(None, film(str(mp4))):
        done, frame = capture.read()
        assert done and source.data is not None
        image = colours().image
        ours = prepare(source.data, image.height, image.width)
        theirs = prepare(frame, image.height, image.width, colour="bgr")
        assert np.array_equal(ours[0], theirs[0])
    assert not capture.read()[0]


def test_it_goes_on_where_it_stopped(avi: Path, tmp_path: Path, snn_infer: Command) -> None:
    answers = tmp_path / "answers.jsonl"
    assert snn_infer("--resume", answers, "--every", "10", avi).code == 0
    assert snn_infer("--resume", answers, "--every", "5", avi).code == 0
    lines = [json.loads(line) for line in answers.read_text().splitlines()]
    numbers = [int(line["path"].split("#")[1].split("@")[0]) for line in lines if "path" in line]
    assert numbers == [1, 11, 21, 6, 16, 26]


@pytest.mark.parametrize("suffix", [".avi", ".mkv", ".ts"])
def test_a_film_that_is_cut_has_rows_until_there(
    suffix: str, tmp_path: Path, snn_infer: Command
) -> None:
    path = make(tmp_path / f"cut{suffix}", SHOWN)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 + 50])
    outcome = snn_infer("--format", "csv", path)
    lines = outcome.out.decode().splitlines()[1:]
    good = [line for line in lines if ",truncated," not in line]
    assert 10 * 3 <= len(good) <= 17 * 3
    if suffix == ".ts":  # which does not say how long it is: half a frame is all that is damaged
        assert outcome.code == (0 if good == lines else 4)
        return
    assert outcome.code == 4 and "[truncated]" in outcome.err
    (last,) = lines[len(good) :]
    assert last.startswith(f"{path},,") and ",truncated," in last
    assert "is damaged behind 1." in last and " s of 3.000 s" in last


def test_what_is_damaged_in_the_middle_is_told(
    mp4: Path, tmp_path: Path, snn_infer: Command
) -> None:
    data = bytearray(mp4.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 300] = bytes(b ^ 0x55 for b in data[middle : middle + 300])
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    outcome = snn_infer(path)
    assert "the decoder says: " in outcome.err or outcome.code == 4


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "not_a_film"),
        (
            b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n/etc/passwd\n#EXT-X-ENDLIST\n",
            "not_a_film",
        ),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "not_a_film"),
        (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2mp41", "corrupt"),
    ],
)
def test_what_is_no_film(data: bytes, code: str, tmp_path: Path, snn_infer: Command) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(data)
    outcome = snn_infer(path)
    assert (outcome.code, outcome.out) == (3, b"") and f"[{code}]" in outcome.err


def test_films_that_are_not_there_or_too_large(avi: Path, snn_infer: Command) -> None:
    outcome = snn_infer("nowhere.MP4")
    assert outcome.code == 3 and "nowhere.MP4: no such file [missing]" in outcome.err
    outcome = snn_infer("--max-pixels", "1000", avi)
    assert (
        outcome.code == 3 and "160 x 120 pixels, more than 1,000 [too_many_pixels]" in outcome.err
    )


def test_films_in_a_list_and_in_a_folder(avi: Path, tmp_path: Path, snn_infer: Command) -> None:
    names = tmp_path / "names"
    names.write_text(f"{avi}\n")
    assert len(rows(snn_infer("--every", "10", "--files-from", names).out)) == 3
    outcome = snn_infer(avi.parent)
    assert outcome.code == 3 and "1 without an image suffix (film.avi)" in outcome.err


DYING = """
import json, os, signal, sys
sys.stdin.readline()
from PIL import Image
import io
data = io.BytesIO()
Image.new("RGB", (64, 48), "red").save(data, "BMP")
about = {"number": 1, "seconds": 0.0, "rate": 9.0, "warning": "", "length": len(data.getvalue())}
sys.stdout.buffer.write(json.dumps(about).encode() + b"\\n" + data.getvalue())
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGSEGV)
"""


def test_a_film_that_kills_its_decoder_costs_nothing_else(
    avi: Path, snn_infer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "COMMAND", [sys.executable, "-c", DYING])
    outcome = snn_infer(avi)
    assert outcome.code == 4 and rows(outcome.out) == [("1@0:00:00.000", "red")]
    assert "ends its decoder after film.avi#1@0:00:00.000: its reader ended with -11" in outcome.err


def test_without_the_extra_one_line_says_what_to_install(
    avi: Path, snn_infer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = f"import sys; sys.modules['cv2'] = None; {reading.COMMAND[-1]}"
    monkeypatch.setattr(reading, "COMMAND", [sys.executable, "-c", program])
    outcome = snn_infer(avi)
    assert (outcome.code, outcome.out) == (6, b"")
    assert outcome.err == (
        "snn-infer: error: cv2 is not installed here: pip install 'iir-snn[video]' "
        "[missing_package]\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--every", "2", "a.png"], "--every is for films"),
        (["--every", "0", "a.mp4"], "is not a whole number from 1"),
        (["--every", "2", "--fps", "2", "a.mp4"], "--every and --fps exclude each other"),
        (["--every", "2", "camera:0"], "--every is for films"),
        (["--camera-timeout", "2", "a.mp4"], "is for cameras"),
        (["--move-to", "{label}", "a.mp4"], "films and cameras are none"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], said: str, snn_infer: Command) -> None:
    outcome = snn_infer(*words)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1) and said in outcome.err


def test_times_and_beginnings() -> None:
    assert clock(0) == "0:00:00.000" and clock(36_061.9996) == "10:01:02.000"
    assert is_film(b"G" + bytes(187) + b"G") and not is_film(b"G" * 2)
