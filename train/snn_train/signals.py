"""Signals ask a run to stop; it saves first. A second one does not wait, unless it comes from
torchrun, which sends one to processes that a Ctrl-C has reached already."""

import os
import signal
from contextlib import suppress
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Remembers the first of SIGINT, SIGTERM and SIGHUP; the second ends the process at once. Both
    say so on standard error.

    Ending at once is safe: every file is written beside its place and renamed into it. One that is
    ignored, as SIGHUP is under nohup, stays so.

    Args:
        again: the command that goes on; None where another process speaks for this one.
        patient: let the first one do, however many follow.
    """

    def __init__(self, again: str | None = None, patient: bool = False) -> None:
        self.again = again
        self.patient = patient
        self.received: int | None = None
        for number in STOPPING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    def __call__(self) -> bool:
        return self.received is not None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            hasty = "" if self.patient else "; a second signal ends at once, without saving"
            self._say(f"stopping after this step, then everything is saved{hasty}")
        elif not self.patient:
            lost = "what was learnt since the last save is lost"
            self._say(f"ended at once, {lost}; to go on: {self.again}")
            os._exit(128 + number)
        self.received = self.received or number

    def _say(self, line: str) -> None:
        """Not by print, which the signal may have interrupted."""
        if self.again is None:
            return
        fresh = "\r\x1b[K" if os.isatty(2) else ""  # in place of the line that is rewritten
        with suppress(OSError):
            os.write(2, f"{fresh}  {line}\n".encode(errors="backslashreplace"))
