"""Pictures that arrive in a folder, each once it is whole.

The folder is looked at again and again, which works on every file system and needs no memory of
what happened in between. A picture is whole if it has not changed from one look to the next and
nobody has it open for writing. The kernel tells: it grants a lease on a file to read only where
there is no writer. Where it grants none to us at all (files of others, network file systems), a
picture is whole if it has not changed for `SETTLED` seconds.
"""

import errno
import fcntl
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

from snn_runtime.errors import InputError
from snn_runtime.image.folder import DANGLING, OUTSIDE, SPECIAL, walk
from snn_runtime.infer.sources import LEADS_OUTSIDE, Source

LOOK = 0.2
"""Seconds between two looks, or more: looking takes a sixth of the time at most."""
SETTLED = 2.0

_NO_FILES = {
    SPECIAL: ("not_a_regular_file", "is not a regular file"),
    DANGLING: ("missing", "is a link to nothing"),
}
"""What is never opened: whoever waits to write into a pipe would take us for its reader."""

_LOG = logging.getLogger(__name__)
_Stamp = tuple[int, int, int]
"""What changes where another picture takes a name or its bytes change."""


def arriving(
    folder: str,
    *,
    follow: bool = False,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Source | None]:
    """Yield what is in a folder and all folders in it, and whatever arrives; never end.

    A picture that is written again is another one. A folder that goes away is waited for. All have
    `arrived` but what the first look found, until that changes.

    Raises:
        InputError: `missing`, `permission_denied`: the folder cannot be read at the start.
    """
    if not os.path.isdir(folder):
        raise InputError("missing", f"{folder}: no such folder")
    done: dict[str, _Stamp] = {}
    before: dict[str, tuple[_Stamp, float]] = {}
    gone = False
    for number in count():
        began = clock()
        try:
            found, why = _look(folder, follow), ""
        except InputError as error:
            if not number:
                raise InputError(error.code, f"{folder}: {error.message}") from error
            found, why = {}, f": {error.message}; waiting for it"
        if gone != bool(why):
            gone = bool(why)
            _LOG.warning("%s%s", folder, why or " is back")
        if not number:
            first = {path: stamp for path, (_, stamp) in found.items()}
        done = {path: stamp for path, stamp in done.items() if path in found}
        now = {}
        for path, (source, stamp) in found.items():
            if done.get(path) == stamp:
                continue
            last, since = before.get(path, (None, began))
            if last == stamp and _is_whole(source, began - since):
                done[path] = stamp
                yield replace(source, arrived=first.pop(path, None) != stamp)
            else:
                now[path] = stamp, since if last == stamp else began
        before = now
        yield None
        sleep(max(LOOK, 5 * (clock() - began)))


def _look(folder: str, follow: bool) -> dict[str, tuple[Source, _Stamp]]:
    """Return what is in the folder that may be a picture.

    Raises:
        InputError: the folder cannot be read.
    """
    found = {}
    for entry in walk(folder, follow=follow):
        if entry.path == folder and entry.error:
            raise entry.error
        source = Source(entry.path, entry.error)
        if entry.passed == OUTSIDE:
            source = Source(entry.path, skipped=LEADS_OUTSIDE)
        elif entry.passed in _NO_FILES:
            source = Source(entry.path, InputError(*_NO_FILES[entry.passed]))
        elif entry.passed:
            continue
        try:
            status = os.stat(entry.path, follow_symlinks=entry.passed != DANGLING)
        except OSError:  # it has just gone
            continue
        found[entry.path] = source, (status.st_ino, status.st_size, status.st_mtime_ns)
    return found


def _is_whole(source: Source, unchanged: float) -> bool:
    """Whether a file that has not changed for some seconds is complete, or is none at all."""
    if source.error or source.skipped:
        return True
    has_writer = _has_writer(source.name)
    return unchanged >= SETTLED if has_writer is None else not has_writer


def _has_writer(path: str) -> bool | None:
    """Whether somebody has a file open for writing; None where the kernel does not tell us."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False  # whoever reads it says what is wrong with it
    try:
        # A writer who comes while we hold the lease would end this process by SIGIO.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    finally:
        os.close(descriptor)
