"""Signals ask a run to stop; it saves first. A second one does not wait, unless it comes from
torchrun, which sends one to processes that a Ctrl-C has reached already."""

import os
import signal
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Remembers the first of SIGINT, SIGTERM and SIGHUP; the second ends the process at once.

    Ending at once is safe: every file is written beside its place and renamed into it. One that is
    ignored, as SIGHUP is under nohup, stays so.

    Args:
        patient: let the first one do, however many follow.
    """

    def __init__(self, patient: bool = False) -> None:
        self.patient = patient
        self.received: int | None = None
        for number in STOPPING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    def __call__(self) -> bool:
        return self.received is not None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and not self.patient:
            os._exit(128 + number)
        self.received = self.received or number
