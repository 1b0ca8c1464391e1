"""The bytes of one input: read without ever waiting, and never past the limit."""

import errno
import os
import select
import stat
from dataclasses import dataclass
from typing import Protocol

from snn_runtime.errors import InputError


class Readable(Protocol):
    """What bytes are taken from."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Limits:
    """What a picture may cost before it is refused."""

    max_bytes: int = 64 * 2**20
    """Size of the file."""
    max_pixels: int = 50_000_000
    """Width × height, checked before anything is decoded."""


DEFAULT_LIMITS = Limits()

_GLANCE = 0.2
"""Seconds between looks for signals."""
_PIECE = 2**20

_REASONS = {
    errno.ENOENT: ("missing", "no such file"),
    errno.ENOTDIR: ("missing", "no such file"),
    errno.ENAMETOOLONG: ("missing", "no such file: its name is too long"),
    errno.ELOOP: ("missing", "no such file: its links lead in a circle"),
    errno.EACCES: ("permission_denied", "permission denied"),
    errno.EPERM: ("permission_denied", "permission denied"),
    errno.EBADF: ("unreadable", "is closed"),
    errno.ENXIO: ("not_a_regular_file", "is not a regular file"),  # a socket
}


def read_file(path: str | os.PathLike[str], limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Return the bytes of a regular file; a pipe or a device is refused, not waited for.

    Raises:
        InputError: `missing`, `not_a_regular_file`, `permission_denied`, `unreadable` or
            `too_many_bytes`; the message leaves the path to the caller.
    """
    try:
        # Without O_NONBLOCK opening a FIFO waits until somebody writes into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            _check(os.fstat(descriptor), limits)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return read_stream(file, limits)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise refusal(error) from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError("missing", "no such file: its name holds a zero byte") from error


def read_stream(stream: Readable, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Return what is left in `stream`, refusing rather than reading past the limit."""
    pieces: list[bytes] = []
    room = limits.max_bytes + 1
    while room and (piece := stream.read(min(room, _PIECE))):
        pieces.append(piece)
        room -= len(piece)
    if not room:
        raise _too_many(f"more than {limits.max_bytes:,}", limits)
    return b"".join(pieces)


class Waiting:
    """A pipe or terminal to read from, noticing signals while it waits.

    A signal that arrives after Python last looked and before the system call begins would not be
    seen until the call ends, which for standard input may be never.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, size: int) -> bytes:
        """Return what is there, at most `size` bytes; nothing at the end."""
        while not select.select([self._descriptor], [], [], _GLANCE)[0]:
            pass
        return os.read(self._descriptor, size)


def refusal(error: OSError) -> InputError:
    """Return what an operating system's error about an input means to its user."""
    fallback = ("unreadable", f"cannot be read: {error.strerror or error}")
    return InputError(*_REASONS.get(error.errno or 0, fallback))


def _check(status: os.stat_result, limits: Limits) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise InputError("not_a_regular_file", "is not a regular file")
    if status.st_size > limits.max_bytes:
        raise _too_many(f"{status.st_size:,}", limits)


def _too_many(size: str, limits: Limits) -> InputError:
    return InputError(
        "too_many_bytes", f"has {size} bytes, the limit is {limits.max_bytes:,} (--max-bytes)"
    )
