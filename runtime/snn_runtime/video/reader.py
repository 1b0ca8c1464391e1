"""The process that reads frames with OpenCV, and may hang, die or be ended at any time.

A line of JSON on standard input says what is wanted; when that input ends, so does the process.
For each frame it writes a line of JSON and the bytes of a BMP file, which costs no compression and
loses nothing. A last line has `error`, `code` and `message`, or nothing: the end of a film. What
libraries print is collected, and told as the reason or as a warning.
"""

import json
import os
import re
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, Queue
from threading import Thread
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_runtime.errors import BusyError, DeviceError, InputError, SnnError
from snn_runtime.installing import missing_package
from snn_runtime.machine.children import leave_with_parent
from snn_runtime.video.latest import EXPIRES
from snn_runtime.video.wanted import Wanted

DRIFT = 1e-3
"""Seconds a second by which the clock of a camera may be wrong."""
SHORT = 0.25, 0.05
"""Seconds, and fraction of its length, that a film may lack: containers round and estimate."""
_REFUSED = re.compile(r"failed: 4(0[0-79]|1\d)(?!\d)")
"""How FFmpeg names what a server refuses for good: `method DESCRIBE failed: 401 (Unauthorized)`."""


def main() -> None:
    """Write frames until there are no more, or nobody wants them."""
    wanted = Wanted(**json.loads(sys.stdin.buffer.readline()))
    Thread(target=leave_with_parent, daemon=True).start()
    out = Out()
    try:
        for fields, frame in film(wanted, out) if wanted.film else live(wanted, out):
            out.put(fields, *bmp(frame))
        out.put({})
    except ImportError as error:
        message = missing_package(error) or str(error)
        out.put({"error": "DeviceError", "code": "missing_package", "message": message})
    except SnnError as error:
        told: dict[str, object] = {
            "error": type(error).__name__,
            "code": error.code,
            "message": error.message,
        }
        out.put(told)


class Out:
    """Standard output, which is ours alone, and what libraries print."""

    def __init__(self) -> None:
        self._file = os.fdopen(os.dup(1), "wb")
        self._printed = os.memfd_create("printed")
        for stream in (1, 2):
            os.dup2(self._printed, stream)
        os.lseek(self._printed, 0, os.SEEK_SET)

    def put(self, fields: dict[str, object], *data: bytes | memoryview) -> None:
        length = sum(map(len, data))
        self._file.write(json.dumps({**fields, "length": length}).encode() + b"\n")
        for each in data:
            self._file.write(each)
        self._file.flush()

    def said(self) -> str:
        """Return the first line that was printed since the last call, without its sender."""
        size = os.fstat(self._printed).st_size
        text = os.pread(self._printed, min(size, 4096), 0).decode(errors="replace")
        os.ftruncate(self._printed, 0)
        os.lseek(self._printed, 0, os.SEEK_SET)
        return re.sub(r"^\[.*?\] *", "", text.strip().partition("\n")[0])[:200]


def film(wanted: Wanted, out: Out) -> Iterator[tuple[dict[str, object], Any]]:
    """Yield frames of a film, each with its number, from 1, and its time in seconds.

    Raises:
        InputError: `corrupt`, `too_many_pixels`; `truncated`: it ends before its end.
    """
    import cv2

    capture = _opened(wanted, out)
    width, height, count, rate = (
        capture.get(each)
        for each in (
            cv2.CAP_PROP_FRAME_WIDTH,
            cv2.CAP_PROP_FRAME_HEIGHT,
            cv2.CAP_PROP_FRAME_COUNT,
            cv2.CAP_PROP_FPS,
        )
    )
    if width * height > wanted.max_pixels:
        size = f"{width:.0f} x {height:.0f}"
        raise InputError("too_many_pixels", f"has {size} pixels, more than {wanted.max_pixels:,}")
    step = 1 / rate if rate > 0 else 0.0
    number, seconds, due = 0, 0.0, 0.0
    while capture.grab():
        number += 1
        seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 or (number - 1) * step
        if (number - 1) % wanted.every or seconds < due - step / 2:
            continue
        done, frame = capture.retrieve()
        if not done:
            break
        due = max(due + wanted.pause, seconds - wanted.pause)
        yield {"number": number, "seconds": seconds, "rate": rate, "warning": out.said()}, frame
    length, end = count * step, seconds + step
    said = out.said()
    if said or length - end > max(SHORT[0], SHORT[1] * length):
        reason = f": {said}" if said else ""
        raise InputError("truncated", f"is damaged behind {end:.3f} s of {length:.3f} s{reason}")


def live(wanted: Wanted, out: Out) -> Iterator[tuple[dict[str, object], Any]]:
    """Yield the newest frame, and the newest again, each with the time when it came.

    A thread takes all frames, also while one is written to somebody slow: nothing grows old in a
    driver or a socket.

    Raises:
        BusyError: `camera_lost`.
        InputError: `unreachable`.
        DeviceError: `opencv_backend`.
    """
    newest: Queue[tuple[dict[str, object], Any] | SnnError] = Queue(1)
    capture = _opened(wanted, out)
    Thread(target=_grab, args=(capture, wanted, out, newest), daemon=True).start()
    while not isinstance(taken := newest.get(), SnnError):
        yield taken
    raise taken


def _grab(capture: Any, wanted: Wanted, out: Out, newest: "Queue[Any]") -> None:
    try:
        _grab_all(capture, wanted, newest)
        reason = f"it ended{': ' * bool(said := out.said())}{said}"
    except Exception as error:  # whatever OpenCV raises, somebody waits
        reason = f"OpenCV fails: {error}"
    _replace(newest, BusyError("camera_lost", reason))


def _grab_all(capture: Any, wanted: Wanted, newest: "Queue[Any]") -> None:
    import cv2

    lag, due, changes = Lag(), 0.0, _sends_changes(capture, wanted)
    while capture.grab():
        if wanted.backend == "V4L2" and not os.path.exists(wanted.target):
            break  # the driver may go on with old frames
        now = time.monotonic()
        late = lag.of(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, now)
        if late > EXPIRES or now < due:
            continue
        done, frame = capture.retrieve()
        if not done:
            break
        due = now + wanted.pause
        about = {"captured": time.time() - late, "another": changes and lag.goes_on}
        _replace(newest, (about, frame))


def _sends_changes(capture: Any, wanted: Wanted) -> bool:
    """Whether a stream says what changes from one picture to the next, as all but MJPEG do: a still
    scene is then bit for bit the same, and the sender's clock tells its pictures apart."""
    import cv2

    if wanted.backend != "FFMPEG":
        return False
    return int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").lower() != b"mjpg"


def _replace(newest: "Queue[Any]", item: Any) -> None:
    with suppress(Empty):
        newest.get_nowait()
    newest.put(item)


class Lag:
    """How much later a frame comes than the least late one came.

    Where frames are decoded more slowly than they are sent, they wait in a socket, each longer
    than the one before. The camera's clock tells: it stays behind ours.
    """

    def __init__(self) -> None:
        self._least = float("inf")
        self._before = 0.0, 0.0
        self.goes_on = False
        """Whether the last stamp was later than the one before."""

    def of(self, stamp: float, now: float) -> float:
        """Return seconds, for a frame with a time stamp; 0 where stamps do not go on."""
        before, then = self._before
        self._before = stamp, now
        self.goes_on = stamp > before
        if not self.goes_on:
            self._least = float("inf")
            return 0.0
        self._least = min(self._least + DRIFT * (now - then), now - stamp)
        return now - stamp - self._least


def _opened(wanted: Wanted, out: Out) -> Any:
    import cv2

    backend = getattr(cv2, f"CAP_{wanted.backend}")
    if not cv2.videoio_registry.hasBackend(backend):
        raise DeviceError(
            "opencv_backend",
            f"OpenCV {cv2.__version__} has no {wanted.backend} here; on a Jetson: apt-get install "
            "python3-opencv, and a virtual environment with --system-site-packages and without "
            "opencv-python-headless",
        )
    if wanted.backend == "V4L2" and not os.path.exists(wanted.target):
        raise BusyError("camera_lost", f"there is no {wanted.target}")
    capture = cv2.VideoCapture(wanted.target, backend)
    if capture.isOpened():
        out.said()
        return capture
    said = out.said() or "OpenCV does not say why"
    if wanted.film:
        raise InputError("corrupt", f"cannot be opened as a film: {said}")
    if _REFUSED.search(said):
        raise InputError("unreachable", f"the camera refuses: {said}")
    raise BusyError("camera_lost", f"it cannot be opened: {said}")


def bmp(frame: npt.NDArray[np.uint8]) -> tuple[bytes, memoryview]:
    """Return the head and the pixels of a BMP file: BGR rows from the top, as OpenCV has them, each
    filled up to four bytes. OpenCV's own encoder takes longer than decoding a frame."""
    height, width = frame.shape[:2]
    grey = frame.ndim == 2 or frame.shape[2] == 1
    pixels = np.repeat(frame.reshape(height, width, 1), 3, axis=2) if grey else frame
    rows = pixels.reshape(height, 3 * width)
    if width % 4:
        rows = np.pad(rows, ((0, 0), (0, -3 * width % 4)))
    data = np.ascontiguousarray(rows).reshape(-1).data
    about = (40, width, -height, 1, 24, 0, data.nbytes, 0, 0, 0, 0)
    return struct.pack("<2sIIIIiiHHIIiiII", b"BM", 54 + data.nbytes, 0, 54, *about), data
