"""The bytes of one input: read without ever waiting, and never past the limit."""

import os
import select
from dataclasses import dataclass

from snn_runtime.door import Readable, read, refusal
from snn_runtime.door import read_stream as read_all


@dataclass(frozen=True)
class Limits:
    """What a picture may cost before it is refused."""

    max_bytes: int = 64 * 2**20
    """Size of the file."""
    max_pixels: int = 50_000_000
    """Width × height, checked before anything is decoded."""
    flags: bool = False
    """Whether the command has flags of these names, for messages to say so."""

    def flag(self, name: str) -> str:
        """Return the flag that a message names: none where there is none."""
        return name if self.flags else ""


DEFAULT_LIMITS = Limits()

GLANCE = 0.2
"""Seconds between looks for signals."""


def read_file(path: str | os.PathLike[str], limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Return the bytes of a regular file; a pipe or a device is refused, not waited for.

    Raises:
        InputError: see `door.open_file`; the message leaves the path to the caller.
    """
    return read(path, limits.max_bytes, limits.flag("--max-bytes"))


def read_stream(stream: Readable, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Return the rest of `stream`, refusing rather than reading past the limit."""
    return read_all(stream, limits.max_bytes, limits.flag("--max-bytes"))


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
