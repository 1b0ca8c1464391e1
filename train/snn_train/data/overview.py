"""What is said of a folder of pictures before the first step: how large, how many, how balanced.

And what the numbers that come of it are worth. Of n pictures with a share p right, p is known to

    ± 1.96 √(p (1 − p) / n)        (19 times in 20; normal approximation)
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

UNBALANCED = 1.5
"""Ratio of the largest class to the smallest from which it is spoken of."""
NAMED = 10
"""Classes that are counted by name; of more the least and the most."""
FEW = 1000
"""Pictures below which an accuracy is known so badly that it is said."""
TELLING = 38
"""Pictures that select from which `export-snn` can tell what is unlike anything in training. One
half says what is usual; the largest distance of the other half, 19, is the limit."""
LIKELY = 0.9
"""The accuracy at which that is worked out."""

Size = tuple[int, int]
"""Height and width in pixels."""


def sizes(files: Sequence[Size], wanted: Size) -> str:
    """Say which sizes the files' pictures have, and what becomes of them."""
    ordered = sorted(files, key=math.prod)
    least, median, most = (_size(ordered[i]) for i in (0, len(ordered) // 2, -1))
    if least == most:
        return f"files hold {least} pixels, the network sees {_size(wanted)}"
    return (
        f"files hold {least} to {most} pixels (median {median}), the network sees {_size(wanted)}"
    )


def balance(labels: Sequence[str], numbers: Tensor) -> str:
    """Say how many pictures a class has; `numbers`, int64 `(N,)`, are the classes of all."""
    counts = torch.bincount(numbers, minlength=len(labels)).tolist()
    if len(labels) > NAMED:
        least, most = min(counts), max(counts)
        few = "" if least == most else f"{least:,} to "
        return f"to train on: {few}{most:,} pictures a class"
    held = ", ".join(f"{name} {n:,}" for name, n in zip(labels, counts, strict=True))
    return f"to train on: {held}"


def weighting(labels: Sequence[str], numbers: Tensor, balanced: bool) -> str:
    """Say of classes that are far from balanced how much they count; else an empty string."""
    counts = torch.bincount(numbers, minlength=len(labels)).tolist()
    least, most = min(counts), max(counts)
    if most <= UNBALANCED * least:
        return ""
    few, many = labels[counts.index(least)], labels[counts.index(most)]
    how = (
        "in the loss they count alike (--class-weights none: each picture does)"
        if balanced
        else "rare classes count little; --class-weights balanced lets all count alike"
    )
    return f"unbalanced: {many} has {most / least:.1f} times the pictures of {few}; {how}"


def selection(count: int, drawn: str, testing: int) -> str:
    """Say what selects the best epoch, and what its accuracy and the test's are worth; empty of a
    large set. `drawn`: how it is taken from what is trained on; empty where it is another folder.
    """
    if count >= FEW:
        return ""
    few, test = (f"±{100 * uncertainty(LIKELY, n):.0f} points" for n in (count, testing))
    more = "add pictures, or begin with a larger --validation" if drawn else "add pictures there"
    untold = f"; export-snn needs {TELLING} to tell what is unlike anything in training: {more}"
    which = f"{count:,} of those to train on, {drawn}," if drawn else f"{count:,} pictures"
    return (
        f"{which} select the best epoch; on so few {LIKELY:.0%} right is known to {few}, and on "
        f"{testing:,} that test to {test}: smaller differences say nothing"
        f"{untold if count < TELLING else ''}"
    )


def uncertainty(share: float, count: int) -> float:
    """How far the true share may be from one that was measured on so many pictures."""
    return 1.96 * standard_error(share, count)


def standard_error(share: float, count: int) -> float:
    """Of a share of so many pictures, each right or wrong by itself."""
    return math.sqrt(share * (1 - share) / count)


def _size(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
