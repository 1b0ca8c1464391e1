"""How the values of flags are read."""

import argparse
import math

from snn_runtime.errors import UsageError
from snn_runtime.flags import number
from snn_train.choices import LEAST_SIDE, MOST_LEVELS, SMALLEST

DIGITS = 9
"""Of a number in a list, at most: Python reads no thousands of them, and torch no more than 18."""


def is_whole(text: str) -> bool:
    """Whether this is a whole number from 0."""
    return text.isdecimal() and len(text) <= DIGITS


def image_size(text: str | None) -> tuple[int, int] | None:
    """Return (height, width) of `--image-size`, None where it is not given.

    Raises:
        UsageError: `bad_flag`.
    """
    if text is None:
        return None
    height, _, width = text.partition("x")
    if not (is_whole(height) and is_whole(width) and min(int(height), int(width)) >= LEAST_SIDE):
        raise UsageError(
            "bad_flag",
            f"--image-size {text}: expected HEIGHTxWIDTH from {SMALLEST}, e.g. 32x32",
        )
    return int(height), int(width)


SHARE = number("from 0 to 1", lambda value: 0 <= value <= 1)


def limits(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = math.nan
    if not 0 <= low < high <= MOST_LEVELS:
        expected = f"LOW,HIGH, spikes a neuron from 0 to {MOST_LEVELS}"
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
    return low, high
