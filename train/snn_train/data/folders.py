"""Data sets in folders: which folders are the parts and the classes, and which files the pictures.

    DIR/train/<class>/…  DIR/test/<class>/…     val, valid or validation beside them selects
    DIR/train/<class>/…  DIR/val/<class>/…      or valid, validation: it tests
    DIR/<class>/…                               no parts: a fixed fifth of every class tests

Classes may hold folders, to any depth. Links are followed: a data set is often made of them.
"""

import logging
import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from snn_runtime.errors import InputError
from snn_runtime.image.folder import Tally, is_named_by_systems, walk

LOG = logging.getLogger(__name__)

FileProgress = Callable[[Iterable[Path], str, int], Iterable[Path]]
"""(items, what is going on, how many) ↦ the items, shown as they pass."""
Classes: TypeAlias = dict[str, Path]
"""Names, composed (NFC) and sorted as their folders are, and where their pictures lie."""

TRAIN = ("train", "training")
VALIDATION = ("val", "valid", "validation")
TEST = ("test", "testing", *VALIDATION)
"""In any case; the first that is there is taken."""
NAMED = 10
"""Bad files that a message names; of more it says how many."""


@dataclass
class Survey:
    """What is noticed while folders are read: what is passed over, and what is bad."""

    tally: Tally = field(default_factory=Tally)
    bad: list[str] = field(default_factory=list)

    def refuse_bad(self) -> None:
        """Raises: InputError: `bad_data`, naming all that is bad, up to ten."""
        if not self.bad:
            return
        more = len(self.bad) - NAMED
        listed = "; ".join(self.bad[:NAMED]) + (f"; and {more:,} more" if more > 0 else "")
        count = f"{len(self.bad):,} cannot be used: " if len(self.bad) > 1 else ""
        raise InputError("bad_data", f"{count}{listed}")

    def notes(self) -> tuple[str, ...]:
        return (f"passed over: {self.tally}",) if self.tally else ()


@dataclass(frozen=True)
class Part:
    """The pictures of one part of a data set."""

    name: str
    folder: Path
    names: tuple[str, ...]
    """Paths of the files below the folder, class by class."""
    labels: tuple[int, ...]

    @property
    def paths(self) -> list[Path]:
        return [self.folder / name for name in self.names]


@dataclass(frozen=True)
class Parts:
    """The folders of a data set."""

    train: Path
    """Of a folder of classes alone, itself."""
    test: Path | None
    notes: tuple[str, ...] = ()
    """What there is to say of the choice."""
    validation: Path | None = None
    """What selects; None: a share of what is trained on."""


def parts(root: Path, test: Sequence[str] = TEST, validation: Sequence[str] = VALIDATION) -> Parts:
    """Return the folders to train, to test and to select on.

    Args:
        test: names of the second, the first that is there is taken.
        validation: names of the third, likewise, where it is not the second.

    Raises:
        InputError: `bad_data`, saying what is expected.
    """
    if not root.is_dir():
        raise bad(root, "no such folder, expected one with train and test in it")
    found: dict[str, Path] = {}
    for name, path in sorted(_folders(root)):
        other = found.setdefault(name.lower(), path)
        if other != path and name.lower() in (*TRAIN, *TEST):
            raise bad(root, f"has {other.name} and {path.name}: join or rename them")
    first = next((found[name] for name in TRAIN if name in found), None)
    tests = [found[name] for name in test if name in found]
    second = tests[0] if tests else None
    if first and second:
        notes = [f"the test set is {second.name}"] if second.name != test[0] else []
        others = [found[name] for name in validation if name in found]
        third = next((path for path in others if path != second), None)
        unread = [path.name for path in tests[1:] if path != third]
        notes += [f"not read: {', '.join(unread)}"] if unread else []
        _warn_of_others(root, (first, second), {*found.values()} - {first, third, *tests})
        return Parts(first, second, tuple(notes), third)
    if second:
        raise bad(root / "train", f"no such folder, expected it beside {second.name}")
    if first and len(found) > 1:
        beside = ", ".join(path.name for path in found.values() if path != first)
        raise bad(root / test[0], f"no such folder, nor {', '.join(test[1:])}; there is {beside}")
    return Parts(first or root, None)


def _warn_of_others(root: Path, read: tuple[Path, Path], others: Iterable[Path]) -> None:
    """Name folders of pictures beside those that are read: perhaps classes in the wrong place."""
    counts = {path.name: _count(path) for path in sorted(others)}
    held = [f"{name} ({n:,} picture{'s' * (n != 1)})" for name, n in counts.items() if n]
    if not held:
        return
    more = f" and {len(held) - NAMED:,} more" if len(held) > NAMED else ""
    train, test = (path.name for path in read)
    LOG.warning(
        "%s: not read, since they stand beside %s and %s: %s%s; a class needs a folder in both, "
        "other pictures are best moved elsewhere",
        root, train, test, ", ".join(held[:NAMED]), more,
    )  # fmt: skip


def _count(folder: Path) -> int:
    return sum(not entry.passed and entry.error is None for entry in walk(str(folder), follow=True))


def classes(folder: Path) -> Classes:
    """Return the classes that have a folder in `folder`.

    Raises:
        InputError: `bad_data`: fewer than two, or two of the same name.
    """
    found: Classes = {}
    folders = [(unicodedata.normalize("NFC", name), path) for name, path in _folders(folder)]
    for composed, path in sorted(folders):
        if composed in found:
            raise bad(folder, f"has two class folders that read {composed}; join or rename them")
        found[composed] = path
    if len(found) < 2:
        there = f" ({next(iter(found))})" if found else ""
        raise bad(
            folder,
            f"has {len(found)} class folders{there}, expected at least 2, each with its pictures, "
            "in DIR/train and DIR/test or in DIR itself",
        )
    return found


def same_classes(root: Path, first: Path, second: Path) -> tuple[Classes, Classes]:
    """Return the classes of both folders in `root`, which must be the same.

    Raises:
        InputError: `bad_data`.
    """
    here, there = classes(first), classes(second)
    if here.keys() != there.keys():
        odd = ", ".join(sorted(here.keys() ^ there.keys()))
        raise bad(root, f"{first.name} and {second.name} have different classes: {odd}")
    return here, there


def pictures(folder: Path, places: Classes, progress: FileProgress, survey: Survey) -> Part:
    """Return the pictures of the classes in `folder`; no file is opened."""
    names: list[str] = []
    labels: list[int] = []
    shown = progress(list(places.values()), f"listing {folder.name}", len(places))
    for label, place in enumerate(shown):
        found = _pictures(place, survey)
        names += [place.name + path[len(str(place)) :] for path in found]
        labels += [label] * len(found)
    return Part(folder.name, folder, tuple(names), tuple(labels))


def _pictures(place: Path, survey: Survey) -> list[str]:
    before, mine = len(survey.bad), Tally()
    found = []
    for entry in walk(str(place), follow=True):
        if entry.error is not None:
            survey.bad.append(f"{entry.path}: {entry.error.message}")
        elif entry.passed:
            survey.tally.add(entry)
            mine.add(entry)
        else:
            found.append(entry.path)
    if not found and len(survey.bad) == before:
        problem = f"has no picture, passed over: {mine}" if mine else "is empty"
        survey.bad.append(f"{place}: {problem}, expected pictures of this class")
    return found


def _folders(folder: Path) -> list[tuple[str, Path]]:
    try:
        with os.scandir(folder) as entries:
            return [
                (entry.name, folder / entry.name)
                for entry in entries
                if not is_named_by_systems(entry.name) and os.path.isdir(entry.path)
            ]
    except OSError as error:
        raise bad(folder, f"cannot be read: {error.strerror}") from error


def bad(path: Path, problem: str) -> InputError:
    """The refusal of a data set for what is wrong at `path`."""
    return InputError("bad_data", f"{path}: {problem}")
