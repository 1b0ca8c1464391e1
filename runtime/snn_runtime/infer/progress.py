"""How far the work is, on a terminal, once it takes longer than a second."""

import shutil
import sys
import time
from collections.abc import Callable
from threading import Thread

_AFTER, _AGAIN = 1.0, 0.1
"""Seconds before the first line, and between two."""
_BAR = 24
_ERASE = "\r\x1b[K"


class Progress:
    """One line on standard error that is written over again and again.

    Whoever prints says `clear` before, and `show` afterwards. How many pictures there are is
    counted beside the work, once the line is wanted.
    """

    def __init__(
        self, count: Callable[[], int] | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin to count the time.

        Args:
            count: counts all pictures; None where nobody knows how many will come.
            clock: seconds since some time.
        """
        self._count = count
        self._clock = clock
        self._began = clock()
        self._shown = 0.0
        self._visible = False
        self._total: int | None = None

    def clear(self) -> None:
        """Remove the line, so that another can be printed in its place."""
        if self._visible:
            self._write(_ERASE)
            self._visible = False

    def show(self, done: int) -> None:
        """Print the line, where it is time to."""
        now = self._clock()
        if now - self._began < _AFTER or now - self._shown < _AGAIN:
            return
        if self._count is not None:
            Thread(target=self._find_out, args=(self._count,), daemon=True).start()
            self._count = None
        self._shown, self._visible = now, True
        width = shutil.get_terminal_size().columns - 1
        self._write(_ERASE + line(done, self._total, now - self._began)[:width])

    def _find_out(self, count: Callable[[], int]) -> None:
        self._total = count()

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            pass  # the terminal is gone; the answers may still have a reader


def line(done: int, total: int | None, seconds: float) -> str:
    """Return what is shown after `seconds`: `1,024 of 4,096 [######------] 512 pictures a second`.

    Without a total, or where more has come than was counted, there is neither bar nor time left.
    """
    speed = done / seconds
    said = f"{speed:,.0f} pictures a second" if speed >= 10 else f"{speed:.1f} pictures a second"
    if not total or done > total:
        return f"{done:,} done, {said}"
    full = _BAR * done // total
    left = f", {_spoken((total - done) / speed)} left" if done else ""
    return f"{done:,} of {total:,} [{'#' * full}{'-' * (_BAR - full)}] {said}{left}"


def _spoken(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
