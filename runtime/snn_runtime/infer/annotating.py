"""Pictures, or a film, with what the network says about them drawn on."""

import io
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from PIL import Image, ImageOps

from snn_runtime.answer import Answer
from snn_runtime.errors import ResourceError
from snn_runtime.files import MARK, SUFFIX, check_target, fsync_directory
from snn_runtime.image import Limits, Region, decode, read_file
from snn_runtime.infer.drawing import LONGEST, drawn
from snn_runtime.infer.new_files import NamedFile, NewFiles
from snn_runtime.infer.sources import Source
from snn_runtime.infer.values import is_one
from snn_runtime.video.names import WRITTEN

RATE = 10.0
"""Frames a second of a film of a camera, which shows its pictures whenever it has them."""
LEAST_RATE = 1.0
"""Frames a second, at least: WebM has no fewer."""
LONGEST_GAP = 10.0
"""Seconds for which the last picture stands still where none came."""
_QUALITY = 92

_LOG = logging.getLogger(__name__)


class Pictures:
    """Writes a JPEG for each picture into a folder, or the only picture into a file."""

    def __init__(self, path: Path, limits: Limits, region: Region | None) -> None:
        """Make the folder.

        Raises:
            ResourceError: `unwritable`.
        """
        self._files = NamedFile(path) if is_one(path) else NewFiles(path, ".jpg")
        self._form = "PNG" if is_one(path) and path.suffix.lower() == ".png" else "JPEG"
        self._limits, self._region = limits, region

    def __call__(self, source: Source, answer: Answer) -> str:
        """Write one; there is nothing to say.

        Raises:
            InputError: the picture is gone.
            ResourceError: `unwritable`.
        """
        picture = drawn(_decoded(source, self._limits), answer, self._region)
        self._files.write(source.name, _encoded(picture, self._form))
        return ""


class Film:
    """Writes a film, which is there under its name when it is complete.

    Each picture is shown for as long as it was the newest.
    """

    def __init__(self, path: Path, limits: Limits, region: Region | None) -> None:
        """Write nothing yet.

        Raises:
            ResourceError: `unwritable`.
            ImportError: there is no OpenCV.
        """
        import cv2  # whether it is here is said before the work

        cv2.utils.logging.setLogLevel(0)  # whether all was written is seen in the end
        check_target(path)
        self._path, self._limits, self._region = path, limits, region
        self._suffix, self._rate = path.suffix.lower(), RATE
        self._lock = Lock()
        self._folder = Path()
        self._writer: Any = None
        self._closed = False
        self._begun = 0.0
        self._count = 0
        self._before: Any = None

    def __call__(self, source: Source, answer: Answer) -> str:
        """Add a frame; there is nothing to say.

        Raises:
            ResourceError: `unwritable`.
        """
        import numpy as np

        picture = drawn(_decoded(source, self._limits), answer, self._region)
        with self._lock:
            if self._closed:
                return ""
            if self._writer is None:
                self._begin(picture.size, source)
            place = round((source.seconds - self._begun) * self._rate)
            missing = place - self._count
            gap = min(missing, round(LONGEST_GAP * self._rate))
            self._begun += (missing - gap) / self._rate  # what is cut is not due later
            for _ in range(gap):
                self._put(self._before)
            if gap >= 0:
                if picture.size != self._size:
                    picture = ImageOps.pad(picture, self._size)
                self._before = np.ascontiguousarray(np.asarray(picture)[..., ::-1])
                self._put(self._before)
        return ""

    def close(self) -> None:
        """Put the film in its place, if there are frames.

        Raises:
            ResourceError: `unwritable`: the disk is full.
        """
        with self._lock:
            self._closed = True
            if self._writer is None:
                return
            self._writer.release()
            made = self._made
            try:
                self._check(made)
                with open(made, "rb") as file:
                    os.fsync(file.fileno())
                os.replace(made, self._path)
                fsync_directory(self._path.parent)
                _LOG.info("%s: %s frames", self._path, f"{self._count:,}")
            except OSError as error:
                if isinstance(error, ResourceError):
                    raise
                raise _unwritable(self._path, error) from error
            finally:
                self._remove()

    @property
    def _made(self) -> Path:
        return self._folder / f"film{self._suffix}"

    def _remove(self) -> None:
        self._made.unlink(missing_ok=True)
        self._folder.rmdir()

    def _begin(self, size: tuple[int, int], source: Source) -> None:
        import cv2

        self._size = size[0] & ~1, size[1] & ~1  # the codec halves colours
        self._begun, self._rate = source.seconds, max(source.rate or RATE, LEAST_RATE)
        try:
            folder = tempfile.mkdtemp(dir=self._path.parent, prefix=MARK, suffix=SUFFIX)
        except OSError as error:
            raise _unwritable(self._path, error) from error
        self._folder = Path(folder)
        codec = WRITTEN[self._suffix]
        kind = cv2.VideoWriter.fourcc(*codec)
        with _unheard():  # OpenCV has no name for VP8 in WebM, says so and writes it
            writer = cv2.VideoWriter(str(self._made), cv2.CAP_FFMPEG, kind, self._rate, self._size)
        if not writer.isOpened():
            self._remove()
            raise ResourceError(
                "unwritable",
                f"{self._path}: OpenCV begins no film: the disk is full, or it has no {codec} here",
            )
        self._writer = writer

    def _put(self, frame: Any) -> None:
        self._writer.write(frame)
        self._count += 1

    def _check(self, made: Path) -> None:
        """See that every frame can be read again: OpenCV does not say whether the disk is full."""
        import cv2

        with _unheard():
            film = cv2.VideoCapture(str(made), cv2.CAP_FFMPEG)
        there = int(film.get(cv2.CAP_PROP_FRAME_COUNT))
        if there != self._count:
            raise ResourceError(
                "unwritable",
                f"{self._path}: {self._count:,} frames were written and {max(there, 0):,} can be "
                "read again; is the disk full?",
            )


@contextmanager
def _unheard() -> Iterator[None]:
    """Keep standard error from libraries that write to it, for a moment."""
    heard = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(heard, 2)
        os.close(nowhere)
        os.close(heard)


def _decoded(source: Source, limits: Limits) -> Image.Image:
    data = source.content(lambda name: read_file(name, limits))
    return decode(data, limits=limits).image


def _encoded(picture: Image.Image, form: str) -> bytes:
    """Return a picture as a file of this form.

    Raises:
        ResourceError: `unwritable`: there is no such file of a picture so long.
    """
    data = io.BytesIO()
    try:
        # Colours are not halved in size, for the edges of the letters.
        picture.save(data, form, quality=_QUALITY, subsampling=0)
    except (OSError, ValueError) as error:
        most = f"; a side has {LONGEST:,} at most" * (
            form == "JPEG" and max(picture.size) > LONGEST
        )
        size = f"{picture.width:,} x {picture.height:,} pixels"
        raise ResourceError("unwritable", f"{size}, no {form}{most or f': {error}'}") from error
    return data.getvalue()


def _unwritable(path: Path, error: OSError) -> ResourceError:
    return ResourceError("unwritable", f"{path}: cannot be written: {error.strerror or error}")
