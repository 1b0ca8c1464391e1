"""Which files in the directory of engines are ours: no others are ever removed.

An engine and the secret begin with a magic of ours. What was put away may have lost its own, so it
is known by the name we gave it. What ONNX Runtime keeps is known by its names for it, in folders
that have ours. Nothing is looked for behind a link.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

from snn_runtime.files import is_own_file

MAGIC, SECRET_MAGIC = b"IIRSNNE1", b"IIRSNNS1"
SUFFIX = ".engine"
SECRET = "iir-snn.secret"
QUARANTINE = "quarantine"
ONNXRUNTIME = "onnxruntime-tensorrt"
"""Folder in which ONNX Runtime's TensorRT provider keeps engines of its own."""
Shown = Literal["sums", "spikes"]
"""Folders of a network in there: of an engine that shows sums alone, and of one that shows spikes
as well."""
_ENGINE = re.compile(r"[0-9a-f]{64}\.engine")
_PUT_AWAY = re.compile(r"[0-9a-f]{64}-\d+")
_NETWORK = re.compile(r"[0-9a-f]{16}-\d+")
_THEIRS = re.compile(r"TensorrtExecutionProvider_.+\.(engine|profile|timing)")


def engines(directory: Path) -> Iterator[Path]:
    for path in _entries(directory, _ENGINE):
        if carries(path, MAGIC):
            yield path


def secret(directory: Path) -> Iterator[Path]:
    path = directory / SECRET
    if carries(path, SECRET_MAGIC):
        yield path


def put_away(directory: Path) -> Iterator[Path]:
    """Entries that were not what they claimed; one may be a link or a pipe, which goes itself."""
    return (path for path in _entries(directory / QUARANTINE, _PUT_AWAY) if _no_folder(path))


def of_onnxruntime(directory: Path) -> Iterator[Path]:
    shared = directory / ONNXRUNTIME
    networks = _entries(shared, _NETWORK)
    for folder in (shared, *(network / shown for network in networks for shown in get_args(Shown))):
        yield from filter(is_own_file, _entries(folder, _THEIRS))


def carries(path: Path, magic: bytes) -> bool:
    """Whether it is a plain file of this user that begins so."""
    if not is_own_file(path):
        return False
    try:
        # Neither a link nor a pipe that has just taken the file's place may lead us on.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        with open(os.open(path, flags), "rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False


def _entries(folder: Path, name: "re.Pattern[str]") -> list[Path]:
    """What bears such a name in a folder that is no link."""
    if folder.is_symlink() or folder.parent.is_symlink() or not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if name.fullmatch(path.name)]


def _no_folder(path: Path) -> bool:
    return path.is_symlink() or not path.is_dir()
