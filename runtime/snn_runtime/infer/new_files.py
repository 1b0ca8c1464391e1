"""Files that show what was said of pictures: new ones in a folder, or one that is named."""

import os
import re
from itertools import count
from pathlib import Path

from snn_runtime.errors import ResourceError
from snn_runtime.files import check_target, make_folder, write_atomic


class NamedFile:
    """The file of the only picture, in place of what is there."""

    def __init__(self, path: Path) -> None:
        """Write nothing yet.

        Raises:
            ResourceError: `unwritable`.
        """
        check_target(path)
        self._path = path

    def write(self, _: str, data: bytes) -> Path:
        """Write the file, and return its place.

        Raises:
            ResourceError: `unwritable`.
        """
        write_atomic(self._path, data)
        return self._path


class NewFiles:
    """A folder in which each picture gets a file, named after it; nothing is overwritten."""

    def __init__(self, folder: Path, suffix: str) -> None:
        """Make the folder.

        Raises:
            ResourceError: `unwritable`.
        """
        make_folder(folder)
        self._folder, self._suffix = folder, suffix

    def write(self, name: str, data: bytes) -> Path:
        """Write a file for the picture of this name, and return its place.

        Raises:
            ResourceError: `unwritable`.
        """
        try:
            path = taken(self._folder, _stem(name), self._suffix)
        except OSError as error:
            reason = f"{self._folder}: cannot be written: {error.strerror or error}"
            raise ResourceError("unwritable", reason) from error
        try:
            write_atomic(path, data)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path


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
