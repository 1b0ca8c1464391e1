"""Which pictures a command line means: files, folders (see `image.folder`), standard input."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from snn_runtime.errors import InputError
from snn_runtime.image.folder import DANGLING, OUTSIDE, SPECIAL, Tally, walk

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Source:
    """One thing that may be a picture."""

    name: str
    """As given or found, undecodable bytes as surrogates; `-` is standard input."""
    error: InputError | None = None
    """Why it is none, where that is known before reading."""
    skipped: str = ""
    """Why it is left out though nothing is wrong with it."""


def find(
    arguments: Iterable[str], *, follow: bool = False, tally: Tally | None = None
) -> Iterator[Source]:
    """Yield what the arguments mean, one by one, never holding more than one folder's names.

    Args:
        tally: counts what is passed over in folders without a line of its own.
    """
    for argument in arguments:
        if argument != STANDARD_INPUT and os.path.isdir(argument):
            yield from _in_folder(argument, follow, Tally() if tally is None else tally)
        else:
            yield Source(argument)


def _in_folder(root: str, follow: bool, tally: Tally) -> Iterator[Source]:
    found = False
    for entry in walk(root, follow=follow):
        source = Source(entry.path, entry.error)
        if entry.passed == OUTSIDE:
            reason = "is a link that leads outside the folder (--follow)"
            source = Source(entry.path, skipped=reason)
        elif entry.passed not in ("", SPECIAL, DANGLING):  # those two fail when they are read
            tally.add(entry)
            continue
        found = True
        yield source
    if not found:
        yield Source(root, InputError("no_images", "no supported images in this folder"))
