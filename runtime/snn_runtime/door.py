"""The door for every file that a stranger may have made, or that is no file at all.

A path may name a device that never ends, a pipe that nobody writes to, or 100 GB of zeros. Each is
told apart before a byte is read; what is read is read whole and never past a limit, and what it
unpacks to has a limit of its own. Only then does anybody look at what it holds.
"""

import bz2
import errno
import gzip
import lzma
import os
import stat
import zlib
from typing import BinaryIO, Protocol

from snn_runtime.errors import InputError

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

_BY_CLASS = {FileNotFoundError: errno.ENOENT, PermissionError: errno.EACCES}
"""Of errors that have no number, as fsspec raises them."""

_PACKED = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open))


class Readable(Protocol):
    """What bytes are taken from."""

    def read(self, size: int, /) -> bytes: ...


def open_file(path: str | os.PathLike[str], most: int, hint: str = "") -> BinaryIO:
    """Open a regular file of at most `most` bytes; a pipe or a device is refused, not waited for.

    Args:
        hint: said where the file is too large: which flag or limit it was.

    Raises:
        InputError: `missing`, `not_a_regular_file`, `permission_denied`, `unreadable` or
            `too_many_bytes`; the message leaves the path to the caller.
    """
    try:
        _check(os.stat(path), most, hint)  # first, for opening may already do something to a device
        # Without O_NONBLOCK opening a FIFO that has just come would wait until somebody writes.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            _check(os.fstat(descriptor), most, hint)
        except InputError:
            os.close(descriptor)
            raise
        return os.fdopen(descriptor, "rb")
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise refusal(error) from error


def size(path: str | os.PathLike[str], most: int) -> int:
    """Return how many bytes a file has that may be opened, for readers that open it themselves.

    Raises:
        InputError: as `open_file`.
    """
    with open_file(path, most) as file:
        return os.fstat(file.fileno()).st_size


def read(path: str | os.PathLike[str], most: int, hint: str = "") -> bytes:
    """Return the bytes of a file.

    Raises:
        InputError: as `open_file`.
    """
    with open_file(path, most, hint) as file:
        try:
            return read_stream(file, most, hint)
        except OSError as error:
            raise refusal(error) from error


def read_stream(stream: Readable, most: int, hint: str = "") -> bytes:
    """Return the rest of `stream`, refusing rather than reading past `most` bytes.

    Raises:
        InputError: `too_many_bytes`.
    """
    pieces: list[bytes] = []
    room = most + 1
    while room and (piece := stream.read(min(room, _PIECE))):
        pieces.append(piece)
        room -= len(piece)
    if not room:
        raise too_many(f"more than {most:,}", most, hint)
    return b"".join(pieces)


def unpacked(file: BinaryIO, most: int) -> bytes:
    """Return what a file holds, unpacked where its first bytes say gzip, bzip2 or xz.

    Raises:
        InputError: `too_many_bytes`: more than `most`, unpacked; `unreadable`: damaged.
    """
    head = file.read(8)
    file.seek(0)
    opener = next((opener for magic, opener in _PACKED if head.startswith(magic)), None)
    try:
        return read_stream(opener(file) if opener else file, most, "unpacked")
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError("unreadable", f"is corrupt ({error})") from error


def refusal(error: OSError | ValueError) -> InputError:
    """Return what an error about an input, as opening it raises, means to its user."""
    if not isinstance(error, OSError):
        return InputError("missing", "no such file: its name holds a zero byte")
    fallback = ("unreadable", f"cannot be read: {error.strerror or error}")
    number = error.errno or _BY_CLASS.get(type(error), 0)
    return InputError(*_REASONS.get(number, fallback))


def _check(status: os.stat_result, most: int, hint: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise InputError("not_a_regular_file", "is a folder and not a regular file")
    if not stat.S_ISREG(status.st_mode):
        raise InputError("not_a_regular_file", "is not a regular file")
    if status.st_size > most:
        raise too_many(f"{status.st_size:,}", most, hint)


def too_many(count: str, most: int, hint: str) -> InputError:
    """Return the refusal of `count` bytes; `hint` says which flag or limit it was."""
    said = f" ({hint})" if hint else ""
    return InputError("too_many_bytes", f"has {count} bytes, the limit is {most:,}{said}")
