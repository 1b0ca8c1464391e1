"""Cameras that OpenCV reads: what they show now, or nothing, whatever they do."""

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from bad_inputs.pictures import encoded
from infer_command import Command
from PIL import Image
from rtsp_server import MPEG4, Viewer, showing

from snn_runtime.errors import InputError
from snn_runtime.video import newest as newest_module
from snn_runtime.video import reading
from snn_runtime.video.wanted import Wanted, camera

pytestmark = pytest.mark.usefixtures("at_leisure")
FAKES = Path(__file__).parents[2] / "fakes"


def jpeg(colour: str, n: int = 0, size: tuple[int, int] = (64, 48)) -> bytes:
    image = Image.new("RGB", size, colour)
    image.paste((n * 40 % 256,) * 3, (0, 0, 16, 16))
    return encoded(image, "JPEG")


def labels(out: bytes) -> list[str]:
    return [line.split(": ")[1].split()[0] for line in out.decode().splitlines()]


def once(show: Callable[[Viewer], None]) -> Callable[[Viewer], None]:
    """Show this to the first viewer, and to others nothing."""
    shown = threading.Event()

    def show_once(viewer: Viewer) -> None:
        if not shown.is_set():
            shown.set()
            show(viewer)

    return show_once


def film(viewer: Viewer, *pictures: bytes, pause: float = 0.04) -> None:
    begun = time.monotonic()
    for each in pictures:
        viewer.show(each, time.monotonic() - begun)
        time.sleep(pause)


def test_a_camera_by_rtsp_and_its_user(snn_infer: Command) -> None:
    def show(viewer: Viewer) -> None:
        pictures = [jpeg(colour, n) for colour in ("red", "blue") for n in range(25)]
        film(viewer, *pictures)

    with showing(once(show)) as server:
        url = server.url.replace("//", "//me:secret@")
        outcome = snn_infer("--camera-retries", "0", url)
    assert outcome.code == 75 and "secret" not in outcome.err + outcome.out.decode()
    assert outcome.err.splitlines()[-1].startswith(
        f"snn-infer: error: {server.url}: is lost: it ended"
    )
    names = [line.split(": ")[0] for line in outcome.out.decode().splitlines()]
    numbers = [int(name.split("#")[1].split("@")[0]) for name in names]
    assert numbers == sorted(set(numbers)) and len(numbers) > 10
    found = labels(outcome.out)
    assert found == sorted(found, reverse=True) and {"red", "blue"} == set(found)


def test_a_camera_that_freezes_or_stalls_never_answers_twice(snn_infer: Command) -> None:
    stop = threading.Event()

    def stalls(viewer: Viewer) -> None:
        film(viewer, *(jpeg("red", n) for n in range(40)))
        stop.wait(300)

    def lies(viewer: Viewer) -> None:
        film(viewer, *(jpeg("red", n) for n in range(40)), *[jpeg("red", 39)] * 500)

    for show, said in (
        (stalls, "no whole picture for 1 s"),
        (lies, "the same picture for 1 s"),
    ):
        with showing(once(show)) as server:
            outcome = snn_infer("--camera-timeout", "1", "--camera-retries", "0", server.url)
        assert outcome.code == 75 and said in outcome.err
        assert 0 < len(labels(outcome.out)) <= 40
    stop.set()


def still(path: Path, count: int) -> list[bytes]:
    """Pictures of MPEG-4, the first a whole one, and nothing changes."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    frame = np.asarray(Image.new("RGB", (64, 48), "red"))[..., ::-1].copy()
    for _ in range(count):
        writer.write(frame)
    writer.release()
    chunks = path.read_bytes().partition(b"movi")[2]
    found = []
    while chunks.startswith(b"00dc"):
        size = int.from_bytes(chunks[4:8], "little")
        found.append(chunks[8 : 8 + size])
        chunks = chunks[8 + size + size % 2 :]
    assert len(found) == count
    return found


def test_a_still_scene_is_no_frozen_camera(tmp_path: Path, snn_infer: Command) -> None:
    pictures = still(tmp_path / "still.avi", 12)  # a whole one after every eleven

    def show(viewer: Viewer) -> None:
        for n in range(60):
            viewer.show_changes(pictures[n % 12], n * 0.04)
            time.sleep(0.04)

    about = MPEG4.format(pictures[0].partition(b"\0\0\1\xb6")[0].hex())
    with showing(once(show), about=about) as server:
        outcome = snn_infer("--camera-timeout", "1", "--camera-retries", "0", server.url)
    assert "is lost: it ended" in outcome.err and outcome.code == 75
    assert len(labels(outcome.out)) > 30 and set(labels(outcome.out)) == {"red"}


def test_a_camera_that_refuses_is_not_asked_again(snn_infer: Command) -> None:
    with showing(lambda viewer: None, refusal="404 Not Found") as server:
        outcome = snn_infer(server.url)
        assert server.connections == 1
    assert outcome.code == 3 and "404" in outcome.err and "[unreachable]" in outcome.err


# A process in place of the one that reads: what a driver does to it


HEAD = """
import io, json, os, signal, sys, time
from PIL import Image
sys.stdin.readline()
def show(colour, n, captured):
    data = io.BytesIO()
    image = Image.new("RGB", (64, 48), colour)
    image.putpixel((0, 0), (n, n, n))
    image.save(data, "BMP")
    head = {"captured": captured, "length": len(data.getvalue())}
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\\n" + data.getvalue())
    sys.stdout.flush()
show("red", 0, time.time())
"""
HANGS = HEAD + "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
DIES = HEAD + "time.sleep(2); os.abort()"  # what it showed is labelled by then
HALF = (
    HEAD
    + 'sys.stdout.write(\'{"captured": 0, "length": 9999}\\nBM\'); sys.stdout.flush();'
    + "time.sleep(60)"
)
OLD = HEAD + "for n in range(1, 999): show('blue', n % 256, time.time() - 120); time.sleep(0.01)"
NEVER = "import time; time.sleep(60)"


@pytest.mark.parametrize(
    ("program", "said", "shown"),
    [
        (HANGS, "no whole picture for 0.2 s", ["red"]),
        (HALF, "no whole picture for 0.2 s", ["red"]),
        (DIES, "its reader ended with -6", ["red"]),
        (OLD, "no picture in time for 0.2 s", ["red"]),
        (NEVER, "no picture within 0.4 s", []),
    ],
)
def test_a_driver_that_hangs_dies_or_lies(
    program: str, said: str, shown: list[str], snn_infer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "COMMAND", [sys.executable, "-c", program])
    monkeypatch.setattr(newest_module, "OPENING", 9.8 if shown else 0.2)
    began = time.monotonic()
    patience = "0.2" if "0.2 s" in said or not shown else "20"
    outcome = snn_infer("--camera-timeout", patience, "--camera-retries", "0", "camera:0")
    assert outcome.code == 75 and labels(outcome.out) == shown
    assert outcome.err.splitlines()[-1].endswith(f"camera:0: is lost: {said} [camera_lost]")
    assert time.monotonic() - began < 30


def test_a_process_is_gone_when_nobody_takes_its_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "COMMAND", [sys.executable, "-c", HEAD + "print(os.getpid())"])
    program = HEAD + "print(json.dumps({'captured': 0, 'length': 1, 'pid': os.getpid()})); "
    program += "print(end='x', flush=True); time.sleep(60)"
    monkeypatch.setattr(reading, "COMMAND", [sys.executable, "-c", program])
    frames = reading.frames(Wanted("/dev/video0", "V4L2"))
    next(frames)
    told = None
    while told is None:
        told = next(frames)
    frames.close()
    assert not Path(f"/proc/{told[0]['pid']}").exists()


# The process that reads, and an OpenCV whose camera does as it is told


def with_fake(monkeypatch: pytest.MonkeyPatch, node: Path, *steps: object) -> None:
    environment = {
        "PYTHONPATH": f"{FAKES / 'video'}:{Path(reading.__file__).parents[2]}",
        "FAKE_CAMERA": json.dumps([str(node), *steps]),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("steps", "said", "shown"),
    [
        (["red", "red", "unplug", "blue"], "it ended", 2),
        (["red", "stop"], "it ended", 1),
        (["red", "hang"], "no whole picture for 0.4 s", 1),
        (["red", "again", "again", "hang"], "no whole picture for 0.4 s", 1),
    ],
)
def test_a_camera_of_this_machine(
    steps: list[str], said: str, shown: int, tmp_path: Path, snn_infer: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    node = tmp_path / "video0"
    node.touch()
    with_fake(monkeypatch, node, *steps)
    monkeypatch.setattr(newest_module, "camera", lambda text, pause: Wanted(str(node), "V4L2"))
    patience = "0.4" if "hang" in steps else "20"
    outcome = snn_infer("--camera-timeout", patience, "--camera-retries", "0", "camera:0")
    assert outcome.code == 75 and said in outcome.err
    assert 1 <= len(found := labels(outcome.out)) <= shown and set(found) == {"red"}


def test_a_camera_that_is_not_there(snn_infer: Command) -> None:
    outcome = snn_infer("--camera-retries", "1", "camera:99")
    assert outcome.code == 75 and outcome.err.count("trying again") == 1
    assert "camera:99: is lost: there is no /dev/video99 [camera_lost]" in outcome.err


def test_a_ribbon_camera_needs_gstreamer(snn_infer: Command) -> None:
    outcome = snn_infer("csi:0")
    assert outcome.code == 6 and outcome.err.count("\n") == 1
    assert "has no GSTREAMER here; on a Jetson: apt-get install python3-opencv" in outcome.err


def test_names_of_cameras(snn_infer: Command) -> None:
    assert camera("camera:3") == Wanted("/dev/video3", "V4L2")
    assert camera("CAMERA:/dev/v4l/by-id/usb-1") == Wanted("/dev/v4l/by-id/usb-1", "V4L2")
    assert camera("rtsp://a/b", 0.5) == Wanted("rtsp://a/b", pause=0.5)
    csi = camera("csi:1")
    assert csi.backend == "GSTREAMER" and "sensor-id=1 !" in csi.target
    for text in ("camera:", "camera:x", "csi:-1", "csi:/dev/video0", "camera:0 ! fakesink"):
        with pytest.raises(InputError, match="is no camera"):
            camera(text)
    assert snn_infer("camera:x").code == 3
