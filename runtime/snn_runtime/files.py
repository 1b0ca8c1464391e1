"""Files that are either the old one or the complete new one, whatever happens in between."""

import os
import tempfile
from pathlib import Path

from snn_runtime.errors import ResourceError


def write_atomic(path: Path, data: bytes) -> None:
    """Replace `path` by `data`: temporary file beside it, fsync, rename, fsync of the directory.

    Raises:
        ResourceError: `unwritable`, naming the path and the bytes needed; `path` is untouched.
    """
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            # mkstemp makes private files; a model is meant to be read by whoever serves it.
            os.chmod(name, 0o666 & ~_umask())
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _fsync_directory(path.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResourceError(
            "unwritable", f"{path}: cannot write {len(data):,} bytes: {reason}"
        ) from error


def sweep_temporary(directory: Path) -> None:
    """Remove what a killed `write_atomic` left behind in `directory`."""
    for leftover in directory.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _fsync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
