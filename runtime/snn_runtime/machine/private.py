"""A directory that no other user may write to, files in it, and a lock between processes."""

import fcntl
import logging
import os
import stat
import time
from pathlib import Path

from snn_runtime.files import cache_folder

LOG = logging.getLogger(__name__)

SETTING = "IIR_SNN_CACHE"
"""Environment variable that names the directory."""
WAITING = 3.0
"""Seconds between two lines that report that another process builds."""


class Unusable(Exception):
    """The directory cannot be trusted or written, with the reason."""


def directory() -> Path:
    """Where engines are kept.

    Raises:
        Unusable: There is no home folder, and nothing names another.
    """
    named = os.environ.get(SETTING)
    if named:
        return Path(named)
    folder = cache_folder()
    if folder is None:
        raise Unusable(
            f"~/.cache/iir-snn: this user has no home: set HOME, XDG_CACHE_HOME or {SETTING}"
        )
    return folder


def check_private(path: Path) -> None:
    """Raises Unusable where somebody else could put something into the directory."""
    state = os.lstat(path)
    if stat.S_ISLNK(state.st_mode):
        raise Unusable(f"{path} is a link, expected a directory")
    if not stat.S_ISDIR(state.st_mode):
        raise Unusable(f"{path} is a file, expected a directory")
    if state.st_uid != os.geteuid():
        raise Unusable(f"{path} belongs to user {state.st_uid}, expected {os.geteuid()}")
    if state.st_mode & 0o022:
        mode = stat.S_IMODE(state.st_mode)
        raise Unusable(f"{path} has mode {mode:04o}, others may write to it: chmod 700 it")


def read_own(path: Path, *, private: bool = False) -> bytes:
    """Read a plain file of this user. O_NONBLOCK: a pipe in its place would be waited for."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    with open(os.open(path, flags), "rb") as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode) or state.st_uid != os.geteuid():
            raise OSError("it is no plain file of this user")
        if private and state.st_mode & 0o077:
            raise OSError("others may read it")
        return file.read()


def acquire(descriptor: int, what: str) -> None:
    """Wait for the lock of an open file; a line is logged now and then that names `what`."""
    next_line = time.monotonic() + WAITING
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        if time.monotonic() > next_line:
            LOG.info("waiting for another process that makes %s", what)
            next_line += WAITING
