"""Lengths of time, as people write them: 45s, 30m, 1h30m."""

import argparse
import math
import re

UNITS = {"h": 3600, "m": 60, "s": 1}
FORM = re.compile("".join(rf"(?:(\d+){unit})?" for unit in UNITS), re.ASCII)


def read(text: str) -> int:
    """Return seconds.

    Raises:
        ValueError: it is written otherwise, or is nothing.
    """
    found = FORM.fullmatch(text)
    numbers = [int(number or 0) for number in found.groups()] if found else [0]
    seconds = sum(n * unit for n, unit in zip(numbers, UNITS.values(), strict=False))
    if not seconds:
        raise ValueError(f"{text!r} is not a length of time such as 45s, 30m or 1h30m")
    return seconds


def of_flag(text: str) -> int:
    """The same for the value of a flag."""
    try:
        return read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def show(seconds: float) -> str:
    """Two units at most, rounded up: `read` understands it, but for 0s."""
    whole = math.ceil(seconds)
    if whole < 120:
        return f"{whole}s"
    if whole < 3600:
        return f"{math.ceil(whole / 60)}m"
    hours, minutes = divmod(math.ceil(whole / 60), 60)
    return f"{hours}h{minutes:02}m" if minutes else f"{hours}h"
