"""The newest picture of a source that goes on by itself, and never an old one.

A thread reads all that comes, so that nothing grows old in a buffer, and keeps the last picture
only. A source is lost that ends, fails, shows nothing whole for a while, or shows the same bytes
for a while, as a camera does that froze. Of a still scene they may be the same where a stream holds
only what changes: see `Shown.another`. A lost source is opened again after 1, 2, 4 … 30 seconds.
The picture that it showed last is not handed out again.
"""

import logging
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import datetime, timezone
from threading import Condition, Thread
from typing import NamedTuple, TypeAlias

from snn_runtime.errors import BusyError

EXPIRES = 1.0
"""Seconds after which a picture that nobody took is too old."""
LONGEST_PAUSE = 30.0
"""Seconds between two attempts to open a source."""

_LOG = logging.getLogger(__name__)


class Shown(NamedTuple):
    """A picture that a source shows."""

    data: bytes
    captured: float
    """When it came: seconds since 1970."""
    single: bool = False
    """Whether the source shows one picture and no more."""
    another: bool = False
    """Whether it is known to be another picture than the one before, though it may be equal."""


Pictures: TypeAlias = Generator[Shown | None, None, bool]
"""Pictures as they arrive, and None now and then in between; in the end, whether that was all.
Raises BusyError for what may pass, and another SnnError for what will not."""


@dataclass(frozen=True)
class Frame:
    """One picture of a source."""

    name: str
    """The source's, which picture it is, and when it came; of a single one the source's alone."""
    data: bytes
    number: int
    """Counts all that arrived whole, also those that nobody took."""
    captured: float
    """When it came: seconds since 1970."""


def moment(seconds: float) -> str:
    """Return a time since 1970 as in `2026-11-26T13:33:24.859+00:00`."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")


class Latest:
    """Reads a source in a thread of its own until it is over, or lost for good."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], Pictures],
        *,
        timeout: float,
        retries: int,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Begin to read.

        Args:
            name: of the source, for messages.
            connect: opens it.
            timeout: seconds without another picture after which it counts as lost.
            retries: attempts to open it again in a row.
            sleep: waits between two attempts.
        """
        self._name = name
        self._connect = connect
        self._timeout = timeout
        self._retries = retries
        self._sleep = sleep
        self._changed = Condition()
        self._frame: Frame | None = None
        self._last: bytes | None = None
        self._count = 0
        self._error: Exception | None = None
        self.over = False
        """Whether there was all that will ever come; the last picture may still be taken."""
        Thread(target=self._read, daemon=True).start()

    def close(self) -> None:
        """Stop to read; nothing comes any more. The thread ends at the next picture, within a
        moment, or after the pause between two attempts."""
        with self._changed:
            self.over, self._frame = True, None
            self._changed.notify_all()

    @property
    def finished(self) -> bool:
        """Whether all has been taken that will ever come."""
        with self._changed:
            return self.over and self._frame is None

    def take(self, seconds: float) -> Frame | None:
        """Return the newest picture that has not been taken, waiting that long for one.

        Raises:
            BusyError: `camera_lost`: all attempts failed.
            SnnError: what else ended it.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._frame or self._error or self.over, seconds)
            frame, self._frame = self._frame, None
            if frame is None and self._error is not None:
                raise self._error
        # What came before a source was over waits for its reader.
        fresh = frame and (self.over or time.time() - frame.captured < EXPIRES)
        return frame if fresh else None

    def _read(self) -> None:
        """Read until it is over or lost for good."""
        failures = 0
        try:
            while not self.over:
                before = self._count
                try:
                    over, reason = self._follow(), "it ended"
                    with self._changed:
                        self.over |= over
                        self._changed.notify_all()
                except BusyError as error:
                    reason = error.message
                if self.over:
                    return
                failures = 1 if self._count > before else failures + 1
                if failures > self._retries:
                    raise BusyError("camera_lost", f"{self._name}: is lost: {reason}")
                pause = min(2.0 ** min(failures - 1, 9), LONGEST_PAUSE)
                _LOG.warning("%s: %s; trying again in %.0f s", self._name, reason, pause)
                self._sleep(pause)
        except Exception as error:  # the one who takes pictures is told
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _follow(self) -> bool:
        """Read one connection to its end; return whether that was all."""
        pictures = self._connect()
        changed = time.monotonic()
        try:
            while not self.over:
                try:
                    shown = next(pictures)
                except StopIteration as end:
                    return bool(end.value)
                if shown is None:
                    what = "no whole picture"
                elif shown.data == self._last and not shown.another:
                    what = "the same picture"
                elif time.time() - shown.captured > EXPIRES:
                    what = "no picture in time"
                else:
                    changed = time.monotonic()
                    self._keep(shown)
                    continue
                if time.monotonic() - changed > self._timeout:
                    raise BusyError("camera_lost", f"{what} for {self._timeout:g} s")
            return True
        finally:
            pictures.close()

    def _keep(self, shown: Shown) -> None:
        self._last = shown.data
        self._count += 1
        place = "" if shown.single else f"#{self._count}@{moment(shown.captured)}"
        with self._changed:
            self._frame = Frame(self._name + place, shown.data, self._count, shown.captured)
            self._changed.notify_all()
