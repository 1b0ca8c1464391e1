"""A pipe or a terminal, read so that no signal goes unnoticed."""

import os
import select

from snn_runtime.door import refusal

GLANCE = 0.2
"""Seconds between looks for signals."""


class Waiting:
    """A pipe or terminal to read from, noticing signals while it waits.

    A signal that arrives after Python last looked and before the system call begins would not be
    seen until the call ends, which for standard input may be never.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def waits(self) -> bool:
        """Whether a read would have to wait."""
        try:
            return not select.select([self._descriptor], [], [], 0)[0]
        except OSError:  # reading says what is wrong with it
            return False

    def read(self, size: int) -> bytes:
        """Return what is there, at most `size` bytes; nothing at the end.

        Raises:
            InputError: `unreadable`: it is closed, or a terminal that hung up.
        """
        try:
            while not select.select([self._descriptor], [], [], GLANCE)[0]:
                pass
            return os.read(self._descriptor, size)
        except OSError as error:
            raise refusal(error) from error
