"""SIGHUP asks a server to read its models again, also while it starts and nobody could do that.

It would end the start, as it ends all other commands.
"""

import signal
from types import FrameType


class Hangup:
    """Remembers SIGHUP, until a server handles it or there is none to come."""

    def __init__(self) -> None:
        self.came = False
        self._before = signal.signal(signal.SIGHUP, self._remember)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.came = True

    def end(self) -> None:
        """Have SIGHUP do what it did before, at once if it has come."""
        signal.signal(signal.SIGHUP, self._before)
        if self.came:
            signal.raise_signal(signal.SIGHUP)
