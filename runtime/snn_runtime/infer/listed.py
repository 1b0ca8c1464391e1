"""Names of pictures from a list: a file, or standard input, as `find` prints them."""

import os
import re
import stat
from collections.abc import Iterator

from snn_runtime.door import refusal
from snn_runtime.errors import InputError
from snn_runtime.image import Waiting
from snn_runtime.infer.sources import STANDARD_INPUT, standard_input

LONGEST = 2**20
"""Bytes without a name, or without an end of one, after which this is no list of names."""
_PIECE = 2**16
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_CONTROL = re.compile(rb"[\x01-\x1f\x7f]")


def names(path: str) -> Iterator[str | None]:
    """Yield the names in a list, and None where the next has not arrived yet.

    They stand between zero bytes (`find -print0`), or on lines, which may end as on Windows. The
    first piece that holds a separator tells which: a zero byte is in no name. Empty lines and a
    byte order mark are passed over.

    Raises:
        InputError: `missing`, `not_a_regular_file`, `permission_denied`, `unreadable`;
            `bad_list`: a name that no file can have.
    """
    if path == STANDARD_INPUT:
        yield from _named(standard_input(), "standard input")
        return
    try:
        _check(os.stat(path).st_mode)  # first, for opening may already do something to a device
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # a pipe: waits for its writer
    except InputError as error:
        raise InputError(error.code, f"{path}: {error.message}") from error
    except (OSError, ValueError) as error:
        refused = refusal(error)
        raise InputError(refused.code, f"{path}: {refused.message}") from error
    try:
        yield from _named(Waiting(descriptor), path)
    finally:
        os.close(descriptor)


def _named(stream: Waiting, path: str) -> Iterator[str | None]:
    try:
        yield from _names(stream)
    except InputError as error:
        raise InputError(error.code, f"{path}: {error.message}") from error


def _check(mode: int) -> None:
    """Raises: InputError: `not_a_regular_file`: a folder, or a device, which may have no end."""
    if stat.S_ISDIR(mode):
        raise InputError("not_a_regular_file", "is a folder and no list of names: give it as INPUT")
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        hint = "no list of names; - is standard input"
        raise InputError("not_a_regular_file", f"is neither a file nor a pipe, so {hint}")


def _names(stream: Waiting) -> Iterator[str | None]:
    held, separator, idle = b"", b"", 0
    while True:
        if stream.waits():
            yield None
        piece = stream.read(_PIECE)
        idle += len(piece)
        held += piece if separator else piece.removeprefix(b"\xef\xbb\xbf" * (not held))
        known = separator
        separator = separator or next((each for each in (b"\0", b"\n") if each in held), b"")
        if not piece:
            break
        if separator:
            *whole, held = held.split(separator)
            if not known:
                _check_text(whole)
            yield from _decoded(whole, separator)
            idle = len(held) if any(name.strip(b"\r") for name in whole) else idle
        if idle > LONGEST:
            raise InputError("bad_list", f"is no list of names: {LONGEST:,} bytes without one")
    yield from _decoded(held.split(separator) if separator else [held], separator)


def _check_text(names: list[bytes]) -> None:
    """Refuse what begins like no list, but a picture: no such files, and bytes that are no text.

    Raises:
        InputError: `bad_list`.
    """
    if names[0].startswith(_UTF_16):
        raise InputError("bad_list", "is no list of names: it is in UTF-16, and UTF-8 is expected")
    odd = any(_CONTROL.search(name.rstrip(b"\r")) and not _is_text(name) for name in names)
    if odd and not any(map(os.path.lexists, names)):
        raise InputError("bad_list", "is no list of names, for it is no text")


def _is_text(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _decoded(names: list[bytes], separator: bytes) -> Iterator[str]:
    for name in names:
        if separator != b"\0":
            name = name.removesuffix(b"\r")
        if name:
            yield os.fsdecode(name)
