"""Which pictures a command line means: files, folders walked in order, standard input.

In a folder, only names that promise a picture are taken (`SUFFIXES`) and names beginning with a
dot are left out. Links to files are followed while they stay inside the folder; links to folders
never, since what is inside is visited anyway. `follow` lifts both rules, and every folder is still
entered only once, so a link to a parent ends.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from snn_runtime.errors import InputError
from snn_runtime.image.intake import refusal

STANDARD_INPUT = "-"

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .webp .bmp .dib .gif .tif .tiff"
    # Not readable, but a photograph must not be passed over in silence.
    " .heic .heif .avif .jxl .jp2".split()
)


@dataclass(frozen=True)
class Source:
    """One thing that may be a picture."""

    name: str
    """As given or found, undecodable bytes as surrogates; `-` is standard input."""
    error: InputError | None = None
    """Why it is none, where that is known before reading."""
    skipped: str = ""
    """Why it is left out though nothing is wrong with it."""


def find(arguments: Iterable[str], *, follow: bool = False) -> Iterator[Source]:
    """Yield what the arguments mean, one by one, never holding more than one folder's names."""
    for argument in arguments:
        if argument != STANDARD_INPUT and os.path.isdir(argument):
            yield from _walk(argument, follow)
        else:
            yield Source(argument)


def _walk(root: str, follow: bool) -> Iterator[Source]:
    inside = os.path.realpath(root)
    entered: set[tuple[int, int]] = set()
    found = False
    # Each open folder as the names still to be visited, the innermost last.
    open_folders = [_paths(root, entered)]
    while open_folders:
        source = next(open_folders[-1], None)
        if source is None:
            open_folders.pop()
            continue
        if source.error is None:
            source = _judged(source.name, inside, follow)
            if source is None:
                continue
            if not source.skipped and os.path.isdir(source.name):
                open_folders.append(_paths(source.name, entered))
                continue
        found = True
        yield source
    if not found:
        yield Source(root, InputError("no_images", "no supported images in this folder"))


def _judged(path: str, inside: str, follow: bool) -> Source | None:
    """Return None for what is passed over in silence."""
    folder = os.path.isdir(path)
    if not folder and os.path.splitext(path)[1].lower() not in SUFFIXES:
        return None
    if follow or not os.path.islink(path):
        return Source(path)
    target = os.path.realpath(path)
    if os.path.commonpath([inside, target]) != inside:
        return Source(path, skipped="is a link that leads outside the folder (--follow)")
    return None if folder else Source(path)


def _paths(folder: str, entered: set[tuple[int, int]]) -> Iterator[Source]:
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            return
        entered.add((status.st_dev, status.st_ino))
        names = sorted(os.listdir(folder))
    except OSError as error:
        yield Source(folder, refusal(error))
        return
    for name in names:
        if not name.startswith("."):
            yield Source(os.path.join(folder, name))
