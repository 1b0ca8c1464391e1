"""What is in a folder: one walk for all commands, which names what it passes over and why.

Only names that promise a picture are taken (`SUFFIXES`, in any case). Passed over are names that
begin with a dot, and what systems leave behind everywhere (`LEFT_BY_SYSTEMS`). Links to files are
followed while they stay inside the folder; links to folders never, since what is inside is visited
anyway. `follow` lifts both rules, but every folder is entered only once, and never through a link
that lies in it: such a link would go round in circles.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from snn_runtime.door import refusal
from snn_runtime.errors import InputError

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .webp .bmp .dib .gif .tif .tiff"
    # Not readable, but a photograph must not be passed over in silence.
    " .heic .heif .avif .jxl .jp2".split()
)
LEFT_BY_SYSTEMS = frozenset(
    "thumbs.db ehthumbs.db desktop.ini icon\r __macosx @eadir @__thumb @recycle #recycle #snapshot "
    "$recycle.bin lost+found".split(" ")
) | {"system volume information"}
"""Files and folders, in lower case; in `@eaDir` and `@__thumb` lie thumbnails of the pictures."""

HIDDEN = "hidden"
OF_THE_SYSTEM = "left by a system"
NO_PICTURE = "without an image suffix"
SPECIAL = "neither file nor folder"
DANGLING = "links to nothing"
OUTSIDE = "links that lead outside"
SEEN = "links to folders that are read anyway"


@dataclass(frozen=True)
class Entry:
    """One thing in a folder, or in a folder in it."""

    path: str
    """As found, undecodable bytes as surrogates."""
    passed: str = ""
    """Why it is passed over, one of the reasons above; empty for a picture."""
    error: InputError | None = None
    """Why a folder cannot be looked into."""


@dataclass
class Tally:
    """How many things there are of each reason, with the first name as an example."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Count what is passed over."""
        self.note(entry.passed, os.path.basename(entry.path))

    def note(self, reason: str, name: str) -> None:
        """Count one more of a reason."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self.examples.setdefault(reason, name)

    def __bool__(self) -> bool:
        return bool(self.counts)

    def __str__(self) -> str:
        """As in `2 left by a system (Thumbs.db, …), 1 hidden (.DS_Store)`."""
        return ", ".join(
            f"{count:,} {reason} ({self.examples[reason]}{', …' if count > 1 else ''})"
            for reason, count in self.counts.items()
        )


def walk(root: str, *, follow: bool = False) -> Iterator[Entry]:
    """Yield what is in `root`, by name, a folder's content in the folder's place.

    Never more than one folder's names are held for each level.
    """
    try:
        inside = os.path.realpath(root)
    except OSError as error:  # the working folder has been removed
        yield Entry(root, error=refusal(error))
        return
    entered: set[tuple[int, int]] = set()
    # Each open folder as what is still to be visited, the innermost last.
    open_folders = [_entries(root, entered)]
    while open_folders:
        entry = next(open_folders[-1], None)
        if entry is None:
            open_folders.pop()
        elif isinstance(entry, Entry):
            yield entry
        elif passed := _passed(entry, inside, follow):
            yield Entry(entry.path, passed)
        elif _is_folder(entry):
            open_folders.append(_entries(entry.path, entered))
        else:
            yield Entry(entry.path)


def is_named_by_systems(name: str) -> bool:
    """Whether a file or folder of this name is nobody's own: hidden, or left by a system."""
    return name.startswith(".") or name.lower() in LEFT_BY_SYSTEMS


def named_as_picture(path: str) -> bool:
    """Whether `walk` would take a file, by its path below the root: for listings of a bucket."""
    *folders, name = path.split("/")
    return not (any(map(is_named_by_systems, folders)) or _passed_by_name(name, folder=False))


def _passed_by_name(name: str, folder: bool) -> str:
    if is_named_by_systems(name):
        return HIDDEN if name.startswith(".") else OF_THE_SYSTEM
    no_picture = not folder and os.path.splitext(name)[1].lower() not in SUFFIXES
    return NO_PICTURE if no_picture else ""


def _passed(entry: os.DirEntry[str], inside: str, follow: bool) -> str:
    """Return why the entry is passed over, or an empty string."""
    folder = _is_folder(entry)
    if passed := _passed_by_name(entry.name, folder):
        return passed
    if not entry.is_symlink():
        return "" if folder or entry.is_file() else SPECIAL
    target = os.path.realpath(entry.path)
    if not follow and not _holds(inside, target):
        return OUTSIDE
    if folder:
        circle = _holds(target, os.path.realpath(os.path.dirname(entry.path)))
        return SEEN if circle or not follow else ""
    if not os.path.exists(entry.path):
        return DANGLING
    return "" if os.path.isfile(entry.path) else SPECIAL


def _holds(folder: str, path: str) -> bool:
    return os.path.commonpath([folder, path]) == folder


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # Of a link that leads nowhere or in a circle, DirEntry.is_dir may raise.
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def _entries(folder: str, entered: set[tuple[int, int]]) -> Iterator[os.DirEntry[str] | Entry]:
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            yield Entry(folder, SEEN)
            return
        entered.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        yield Entry(folder, error=refusal(error))
        return
    yield from entries
