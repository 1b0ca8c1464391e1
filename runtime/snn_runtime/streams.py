"""The three standard streams, made whole before anything else opens a file.

A closed stream leaves its number free, and the next file that is opened gets it: an answer would be
written into a model. As gnulib's `stdopen` does, each missing number is given to /dev/null, opened
the wrong way round, so that whoever uses it is refused and nobody else gets it.
"""

import os
import sys
from contextlib import suppress

from snn_runtime.errors import ResourceError

_WRONG_WAY = ((0, os.O_WRONLY), (1, os.O_RDONLY))


def complete() -> None:
    """Give every closed standard stream a place to fail at; a closed stderr swallows what it gets.

    Raises:
        ResourceError: `unwritable`: standard output is closed, and answers belong there.
    """
    for descriptor, flags in (*_WRONG_WAY, (2, os.O_RDWR)):
        with suppress(OSError):  # a root without /dev/null: nothing to be done
            _fill(descriptor, flags)
    if sys.stderr is None:  # libraries write to it without looking
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    if sys.stdout is None:
        raise ResourceError(
            "unwritable",
            "standard output is closed, so an answer would be lost; send it to /dev/null if that "
            "is meant",
        )


def _fill(descriptor: int, flags: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        opened = os.open(os.devnull, flags)  # the lowest free number, which is this one
        os.set_inheritable(opened, True)
