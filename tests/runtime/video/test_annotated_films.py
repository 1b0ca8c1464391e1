"""Films with the labels drawn on: complete, or not there."""

import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from bad_inputs.pictures import encoded
from films import make
from infer_command import Command, finish, start
from mjpeg_server import MJPEG, Request, picture, serving
from PIL import Image
from playwright.sync_api import Page

from snn_runtime.errors import ResourceError
from snn_runtime.image import Limits
from snn_runtime.infer import annotating
from snn_runtime.infer.annotating import Film
from snn_runtime.infer.sources import Source
from snn_runtime.video import names

SIZE = (320, 240)


def frames(path: Path) -> tuple[float, list[npt.NDArray[np.uint8]]]:
    """Frames a second, and the frames, RGB."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    found = []
    while (read := capture.read())[0]:
        found.append(np.asarray(read[1][..., ::-1], np.uint8))
    return capture.get(cv2.CAP_PROP_FPS), found


def colours(shown: list[npt.NDArray[np.uint8]]) -> list[int]:
    """Which channel is the brightest in each."""
    return [int(each[:100].mean((0, 1)).argmax()) for each in shown]


@pytest.mark.parametrize(
    ("words", "rate", "count"), [([], 10, 20), (["--every", "4"], 2.5, 5), (["--fps", "5"], 5, 10)]
)
def test_a_film_of_a_film(
    words: list[str], rate: float, count: int, tmp_path: Path, snn_infer: Command
) -> None:
    source = make(tmp_path / "film.avi", ["red"] * 12 + ["blue"] * 8, SIZE)
    out = tmp_path / "shown.mp4"
    out.write_bytes(b"an old one")
    outcome = snn_infer(*words, "--annotate", out, source)
    assert outcome.code == 0 and f"{out}: {count} frames\n" in outcome.err
    found, shown = frames(out)
    assert (found, len(shown)) == (rate, count)
    assert colours(shown) == [0] * round(0.6 * count) + [2] * round(0.4 * count)
    assert all((each[-30:].min(2) > 180).any() for each in shown)  # what is written is white
    assert sorted(each.name for each in tmp_path.iterdir()) == ["film.avi", "shown.mp4"]


def test_a_folder_of_frames(tmp_path: Path, snn_infer: Command) -> None:
    source = make(tmp_path / "film.avi", ["red"] * 12, SIZE)
    snn_infer("--every", "5", "--annotate", tmp_path / "out", source)
    written = sorted(each.name for each in (tmp_path / "out").iterdir())
    assert written == ["film-1.jpg", "film-11.jpg", "film-6.jpg"]


def test_a_damaged_film_is_annotated_as_far_as_it_goes(tmp_path: Path, snn_infer: Command) -> None:
    source = make(tmp_path / "film.avi", ["red"] * 20, SIZE)
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    outcome = snn_infer("--annotate", tmp_path / "shown.mp4", source)
    assert outcome.code == 4
    assert len(frames(tmp_path / "shown.mp4")[1]) == outcome.out.count(b"\n") > 5


@pytest.mark.parametrize(
    ("name", "number", "code"),
    [
        ("shown.mp4", signal.SIGINT, 130),
        ("shown.webm", signal.SIGTERM, 143),
        ("shown.mp4", signal.SIGHUP, 129),
    ],
)
def test_a_camera_until_two_signals(
    name: str, number: int, code: int, model: Path, tmp_path: Path
) -> None:
    def page(request: Request) -> None:
        request.begin(MJPEG)
        for n in range(500):
            size = SIZE if n < 8 else (160, 240)  # its size changes
            image = Image.new("RGB", size, "red")
            image.putpixel((0, 0), (n % 256,) * 3)
            request.part(encoded(image, "JPEG", quality=95))
            time.sleep(0.05)

    out = tmp_path / name
    with serving(cam=page) as server:
        process = start(model, f"{server.url}/cam", "--annotate", out, stdout=subprocess.PIPE)
        assert process.stdout
        for _ in range(20):
            assert b"red" in process.stdout.readline()
        assert not out.exists()
        for _ in range(2):  # of which the second must not lose the film
            process.send_signal(number)
            time.sleep(0.01)
        outcome = finish(process)
    said = re.sub(r"snn-infer: closing what is open.*\n", "", outcome.err, count=1)  # at any time
    assert outcome.code == code and re.fullmatch(
        rf"{out}: \d+ frames\nsnn-infer: (interrupted|stopped by signal {number})\n", said
    )
    rate, shown = frames(out)
    assert (
        rate == annotating.RATE
        and 8 <= len(shown)
        and {each.shape for each in shown} == {(240, 320, 3)}
    )
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_film_with_pictures_far_apart(tmp_path: Path, snn_infer: Command) -> None:
    """WebM has no fewer frames than one a second."""
    source = make(tmp_path / "film.avi", ["red"] * 40 + ["blue"] * 20, SIZE)
    snn_infer("--every", "20", "--annotate", tmp_path / "shown.webm", source)
    rate, shown = frames(tmp_path / "shown.webm")
    assert (rate, colours(shown)) == (1, [0, 0, 0, 0, 2])


def test_a_camera_that_was_away_stands_still_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotating, "drawn", lambda picture, *_: picture)
    film, answer = Film(tmp_path / "shown.mp4", Limits(), None), cast(Any, None)
    for seconds in (0.0, 0.1, 60.0, 60.1, 60.2, 60.4):
        data = encoded(Image.new("RGB", SIZE, "red" if seconds < 1 else "blue"), "JPEG")
        film(Source("camera", data=data, seconds=seconds), answer)
    film.close()
    still = round(annotating.LONGEST_GAP * annotating.RATE)
    assert colours(frames(tmp_path / "shown.mp4")[1]) == [0] * (2 + still) + [2] * 5


def test_other_endings_are_refused(tmp_path: Path, snn_infer: Command) -> None:
    outcome = snn_infer("--annotate", tmp_path / "shown.mkv", "film.avi")
    assert outcome.code == 2 and "as .mp4 for players, or as .webm for browsers" in outcome.err


def test_a_codec_that_is_not_here(
    tmp_path: Path, snn_infer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(names.WRITTEN, ".mp4", "AV01")  # wheels of OpenCV have no encoder
    source = make(tmp_path / "film.avi", ["red"] * 3, SIZE)
    outcome = snn_infer("--annotate", tmp_path / "shown.mp4", source)
    assert outcome.code != 0 and "it has no AV01 here" in outcome.err
    assert [each.name for each in tmp_path.iterdir()] == ["film.avi"]


def test_a_film_that_did_not_get_on_the_disk_is_not_there(
    tmp_path: Path, snn_infer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(Film):
        def _check(self, made: Path) -> None:
            made.write_bytes(made.read_bytes()[:5000])
            super()._check(made)

    monkeypatch.setattr(annotating, "Film", Full)
    source = make(tmp_path / "film.avi", ["red"] * 20, SIZE)
    out = tmp_path / "shown.mp4"
    out.write_bytes(b"an old one")
    outcome = snn_infer("--annotate", out, source)
    assert outcome.code == ResourceError.exit_code and "20 frames were written and 0" in outcome.err
    assert out.read_bytes() == b"an old one"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["film.avi", "shown.mp4"]


def test_where_no_film_can_be_written(tmp_path: Path, snn_infer: Command) -> None:
    source = make(tmp_path / "film.avi", ["red"] * 3, SIZE)
    outcome = snn_infer("--annotate", tmp_path / "nowhere" / "a.mp4", source)
    assert outcome.code == 7 and "is no such folder" in outcome.err and outcome.out == b""


def test_a_browser_plays_it(page: Page, tmp_path: Path, snn_infer: Command) -> None:
    source = make(tmp_path / "film.avi", ["red"] * 10, SIZE)
    snn_infer("--annotate", tmp_path / "shown.webm", source)
    with serving(film=picture((tmp_path / "shown.webm").read_bytes(), "video/webm")) as server:
        page.goto(f"{server.url}/film")  # a page of Chromium's own, with the film in it
        about = page.evaluate(
            """async () => {
              const video = document.querySelector("video");
              const ended = new Promise((done, failed) => {
                video.onended = done;
                video.onerror = () => failed(video.error.message);
                setTimeout(() => failed("it does not end"), 20_000);
              });
              video.muted = true;
              await Promise.all([video.play(), ended]);
              return [video.videoWidth, video.videoHeight, video.duration];
            }"""
        )
    assert about == [320, 240, 1.0]
