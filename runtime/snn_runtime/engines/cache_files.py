"""The files that belong to the engine cache, so that no other file in its directory is removed.

An engine and the secret begin with a magic. A quarantined file may have lost its own, so its name
decides. So does it for ONNX Runtime's files, in folders that the runtime named. Links are not
followed.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

from snn_runtime.files import MARK, is_own_file
from snn_runtime.files import SUFFIX as TEMPORARY

MAGIC, SECRET_MAGIC = b"IIRSNNE1", b"IIRSNNS1"
SUFFIX = ".engine"
SECRET = "iir-snn.secret"
QUARANTINE = "quarantine"
ONNXRUNTIME = "onnxruntime-tensorrt"
"""Folder of the engines of ONNX Runtime's TensorRT provider."""
ABANDONED = 3600.0
"""Seconds after which nobody writes a temporary file any more: its writer was killed."""
Shown = Literal["sums", "spikes"]
"""Folders of a network in there, by what its engines output: sums alone, or spikes as well."""
_ENGINE = re.compile(r"[0-9a-f]{64}\.engine")
_QUARANTINED = re.compile(r"[0-9a-f]{64}-\d+")
_NETWORK = re.compile(r"[0-9a-f]{16}-\d+")
_ONNXRUNTIME_FILE = re.compile(r"TensorrtExecutionProvider_.+\.(engine|profile|timing)")


def engines(directory: Path) -> Iterator[Path]:
    for path in _entries(directory, _ENGINE):
        if begins_with(path, MAGIC):
            yield path


def secret(directory: Path) -> Iterator[Path]:
    path = directory / SECRET
    if begins_with(path, SECRET_MAGIC):
        yield path


def quarantined(directory: Path) -> Iterator[Path]:
    """Entries that were not genuine; a link or a pipe is removed itself."""
    return (path for path in _entries(directory / QUARANTINE, _QUARANTINED) if _not_a_folder(path))


def onnxruntime_engines(directory: Path) -> Iterator[Path]:
    common = directory / ONNXRUNTIME
    networks = _entries(common, _NETWORK)
    for folder in (common, *(network / shown for network in networks for shown in get_args(Shown))):
        yield from filter(is_own_file, _entries(folder, _ONNXRUNTIME_FILE))


def begins_with(path: Path, magic: bytes) -> bool:
    """Whether it is a plain file of this user that begins with `magic`."""
    if not is_own_file(path):
        return False
    try:
        # The file may have become a link or a pipe since it was looked at.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        with open(os.open(path, flags), "rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False


def sweep_abandoned(directory: Path) -> None:
    """Remove what killed writers left behind; it may be as large as an engine."""
    before = time.time() - ABANDONED
    for leftover in filter(is_own_file, directory.glob(f"{MARK}*{TEMPORARY}")):
        with suppress(OSError):  # another process was faster, or it cannot be removed
            if leftover.lstat().st_mtime < before:
                leftover.unlink()


def _entries(folder: Path, name: "re.Pattern[str]") -> list[Path]:
    """Entries with a matching name, in a folder that is not a link."""
    if folder.is_symlink() or folder.parent.is_symlink() or not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if name.fullmatch(path.name)]


def _not_a_folder(path: Path) -> bool:
    return path.is_symlink() or not path.is_dir()
