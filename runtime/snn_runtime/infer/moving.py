"""Pictures into a folder of their label: nothing is overwritten, nothing is lost on the way."""

import errno
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from snn_runtime.answer import Answer
from snn_runtime.errors import ResourceError, UsageError
from snn_runtime.files import MARK, SUFFIX, fsync_directory
from snn_runtime.infer.new_files import taken
from snn_runtime.infer.sources import Source
from snn_runtime.infer.values import PLACE

SHOWN = 20
"""Folders at most that the totals name."""


class Moving:
    """Moves a picture into the folder of its label, or says where it would go."""

    def __init__(self, template: str, labels: Iterable[str], *, really: bool) -> None:
        """Check that every label can be a folder.

        Raises:
            UsageError: `bad_flag`: one cannot, or would lead elsewhere.
        """
        for label in labels:
            if "/" in label or label.startswith(".") or len(os.fsencode(label)) > 255:
                raise UsageError("bad_flag", f"--move-to: {label!r} is no name of a folder")
        self._template = template
        self._really = really
        self._moved = Counter[str]()
        self._in_place = self._doubtful = 0

    def __call__(self, source: Source, answer: Answer) -> str:
        """Return what was done, or would be; nothing, where the answer is doubtful.

        Raises:
            ResourceError: `unwritable`: the picture stays where it is.
        """
        if answer.doubtful:
            self._doubtful += 1
            return ""
        path = Path(source.name)
        folder = Path(self._template.replace(PLACE, answer.label))
        try:
            if folder.is_dir() and folder.samefile(path.parent):
                self._in_place += 1
                return f"{path} is in its place"
            if path.is_symlink():
                raise OSError(errno.ELOOP, "it is a link, which stays where it is")
            if folder.exists() and not folder.is_dir():
                raise OSError(errno.ENOTDIR, "that is no folder")
            said = f"{path} would be moved to {folder / path.name}"
            if self._really:
                folder.mkdir(parents=True, exist_ok=True)
                said = f"{path} moved to {move(path, folder)}"
            self._moved[str(folder)] += 1
            return said
        except OSError as error:
            reason = f"cannot be moved to {folder}: {error.strerror or error}"
            raise ResourceError("unwritable", reason) from error

    def totals(self) -> str:
        """Return how many went where, or would go: `moved: 7 to sorted/cat; stay: 1 doubtful`."""
        went = [f"{count:,} to {folder}" for folder, count in self._moved.most_common(SHOWN)]
        if (more := len(self._moved) - SHOWN) > 0:
            went.append(f"others to {more:,} more folders")
        moved = "moved" if self._really else "would be moved"
        stayed = {"in their place": self._in_place, "doubtful": self._doubtful}
        stay = ", ".join(f"{count:,} {why}" for why, count in stayed.items() if count)
        return f"{moved}: {', '.join(went) or 'none'}" + (f"; stay: {stay}" if stay else "")


def move(path: Path, folder: Path) -> Path:
    """Move a file into a folder, and return its new place.

    A free name is taken first. The file then replaces what took it, in one step. On another file
    system a complete copy does, and the file goes last.

    Raises:
        OSError: it is where it was.
    """
    target = taken(folder, path.stem, path.suffix)
    try:
        try:
            os.rename(path, target)
            return target
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        _copy(path, target)
        path.unlink(missing_ok=True)
        return target
    except BaseException:
        target.unlink(missing_ok=True)  # the picture has not been removed
        raise


def _copy(path: Path, target: Path) -> None:
    """Replace `target` by a copy that is on the disk, with the time and the mode of the file."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=MARK, suffix=SUFFIX)
    try:
        with os.fdopen(descriptor, "wb") as copy, open(path, "rb") as file:
            shutil.copyfileobj(file, copy)
            copy.flush()
            os.fsync(copy.fileno())
        shutil.copystat(path, name)
        os.replace(name, target)
        fsync_directory(target.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
