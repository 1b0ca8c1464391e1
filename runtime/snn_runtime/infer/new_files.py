"""New files in a folder, named after pictures: nothing is overwritten."""

import os
import re
from itertools import count
from pathlib import Path

from snn_runtime.errors import ResourceError
from snn_runtime.files import write_atomic


class NewFiles:
    """A folder in which each picture gets a file."""

    def __init__(self, folder: Path, suffix: str) -> None:
        """Make the folder.

        Raises:
            ResourceError: `unwritable`.
        """
        self._folder, self._suffix = folder, suffix
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def write(self, name: str, data: bytes) -> Path:
        """Write a file for the picture of this name, and return its place.

        Raises:
            ResourceError: `unwritable`.
        """
        try:
            path = taken(self._folder, _stem(name), self._suffix)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            write_atomic(path, data)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def _unwritable(self, error: OSError) -> ResourceError:
        reason = f"{self._folder}: cannot be written: {error.strerror or error}"
        return ResourceError("unwritable", reason)


def taken(folder: Path, stem: str, suffix: str) -> Path:
    """Take a free name by an empty file, which nobody else can do at the same time: `cat.jpg`, or
    `cat-2.jpg` where that is taken.

    Raises:
        OSError: there can be no such file.
    """
    for number in count(1):
        path = folder / f"{stem}{f'-{number}' * (number > 1)}{suffix}"
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            break
        except FileExistsError:
            continue
    return path


def _stem(name: str) -> str:
    """`cat` of `photos/cat.jpg`, `film-25` of `film.mp4#25@0:00:01.000`."""
    whole, _, moment = os.path.basename(name).partition("#")
    number = moment.partition("@")[0]
    stem = "-".join(filter(None, (os.path.splitext(whole)[0], number)))
    return re.sub(r"[^\w.-]+", "-", stem).strip("-.")[:100] or "picture"
