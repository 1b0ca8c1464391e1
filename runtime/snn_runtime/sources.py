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
    # Each open folder as what is still to be visited, the innermost last.
    open_folders = [_entries(root, entered)]
    while open_folders:
        entry = next(open_folders[-1], None)
        if entry is None:
            open_folders.pop()
            continue
        source = entry if isinstance(entry, Source) else _judged(entry, inside, follow)
        if source is None:
            continue
        if isinstance(entry, os.DirEntry) and not source.skipped and _is_folder(entry):
            open_folders.append(_entries(source.name, entered))
            continue
        found = True
        yield source
    if not found:
        yield Source(root, InputError("no_images", "no supported images in this folder"))


def _judged(entry: os.DirEntry[str], inside: str, follow: bool) -> Source | None:
    """Return None for what is passed over in silence."""
    path, folder = entry.path, _is_folder(entry)
    if not folder and os.path.splitext(path)[1].lower() not in SUFFIXES:
        return None
    if follow or not entry.is_symlink():
        return Source(path)
    target = os.path.realpath(path)
    if os.path.commonpath([inside, target]) != inside:
        return Source(path, skipped="is a link that leads outside the folder (--follow)")
    return None if folder else Source(path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # Of a link that leads nowhere or in a circle, DirEntry.is_dir may raise.
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def _entries(folder: str, entered: set[tuple[int, int]]) -> Iterator[os.DirEntry[str] | Source]:
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            return
        entered.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        yield Source(folder, refusal(error))
        return
    yield from (entry for entry in entries if not entry.name.startswith("."))
