"""Files that are either the old one or the complete new one, whatever happens in between, and the
folder for those that can be made again.

What is removed is ours, or stays: a temporary file has our mark in its name, is a plain file and
belongs to this user.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from snn_runtime.errors import ResourceError

MARK, SUFFIX = ".iir-snn-", ".tmp"
"""How the names of our temporary files begin and end. The name of the file that one is for is not
in it: that may be as long as a name can be."""
_TAKES_NONE = "permission denied, or read-only"


def write_atomic(
    path: Path,
    data: bytes,
    *,
    private: bool = False,
    executable: bool = False,
    like: Path | None = None,
) -> None:
    """Replace `path` by `data`: temporary file beside it, fsync, rename, fsync of the directory.

    Args:
        private: Nobody but this user may read it.
        executable: It is a program.
        like: A file whose permissions it gets, if that exists.

    Raises:
        ResourceError: `unwritable`, naming the path and the bytes needed; `path` is untouched.
    """
    check_target(path)
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=MARK, suffix=SUFFIX)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            # mkstemp makes private files; a model is meant to be read by whoever serves it.
            public = (0o777 if executable else 0o666) & ~_umask()
            if like is not None and like.exists():
                public = stat.S_IMODE(like.stat().st_mode) & 0o777
            os.chmod(name, 0o600 if private else public)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        fsync_directory(path.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResourceError(
            "unwritable", f"{path}: cannot write {len(data):,} bytes: {reason}"
        ) from error


def make_folder(path: Path) -> None:
    """Make a folder for new files, and refuse one that takes none.

    Raises:
        ResourceError: `unwritable`.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        there = isinstance(error, FileExistsError)
        reason = "is no folder" if there else getattr(error, "strerror", None) or error
        raise ResourceError("unwritable", f"{path}: cannot be written: {reason}") from error
    if not _takes_files(path):
        raise ResourceError("unwritable", f"{path}: cannot be written: {_TAKES_NONE}")


def check_target(path: Path, *sources: Path | None) -> None:
    """Refuse what cannot be replaced by a file, before the work that would be lost.

    Args:
        sources: what the file is made from.

    Raises:
        ResourceError: `unwritable`: as `check_regular`, or its folder takes no new files; or it is
            a source, which would be lost.
    """
    check_regular(path)
    for source in sources if path.exists() else ():
        if source is not None and source.exists() and path.samefile(source):
            raise ResourceError("unwritable", f"{path}: is read, and is not replaced: name another")
    if not _takes_files(path.parent):
        raise ResourceError("unwritable", f"{path}: cannot write, {path.parent}: {_TAKES_NONE}")


def check_regular(path: Path) -> None:
    """Refuse what is no file, and could be none.

    Raises:
        ResourceError: `unwritable`: its folder is not there, or it is a folder, a pipe or a device
            (replacing /dev/null, as root can, would break the system).
    """
    try:
        if not path.parent.is_dir():
            raise ResourceError(
                "unwritable", f"{path}: cannot write, {path.parent} is no such folder"
            )
        if not stat.S_ISREG(path.stat().st_mode):
            raise ResourceError("unwritable", f"{path}: is no regular file, and is not replaced")
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        if isinstance(error, ResourceError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise ResourceError("unwritable", f"{path}: cannot be written: {reason}") from error


def _takes_files(folder: Path) -> bool:
    effective = os.access in os.supports_effective_ids
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=effective)


def cache_folder() -> Path | None:
    """$XDG_CACHE_HOME/iir-snn, or ~/.cache/iir-snn; None where there is no home folder."""
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    # No HOME, and a user without a name: `~` would be a folder of that name, wherever this runs.
    return None if folder.startswith("~") else Path(folder) / "iir-snn"


def sweep_temporary(directory: Path) -> None:
    """Remove what a killed `write_atomic` left behind in `directory`, and nothing else."""
    for leftover in directory.glob(f"{MARK}*{SUFFIX}"):
        if is_own_file(leftover):
            leftover.unlink(missing_ok=True)


def is_own_file(path: Path) -> bool:
    """Whether it is a plain file of this user, no link to one."""
    try:
        state = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(state.st_mode) and state.st_uid == os.geteuid()


@contextmanager
def scratch_settings(variable: str) -> Iterator[None]:
    """Have a library keep its settings and caches in a folder that is gone afterwards, not in the
    home folder, while it is imported; unless the user has named one by the environment `variable`.

    Raises:
        ResourceError: `unwritable`: there is no temporary folder either.
    """
    if variable in os.environ:
        yield
        return
    try:
        folder = tempfile.TemporaryDirectory(prefix="iir-snn-")
    except OSError as error:
        raise ResourceError(
            "unwritable", f"no folder for temporary files can be written: {error.strerror or error}"
        ) from error
    with folder as name:
        os.environ[variable] = name
        try:
            yield
        finally:
            del os.environ[variable]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def fsync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
