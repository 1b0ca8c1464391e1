"""Which of the training pictures select, where no folder of their own says so."""

from collections import Counter

import torch
from torch import Tensor

MOST = 5000
"""Pictures held out, of however many."""


def held_out_of(count: int, fraction: float) -> float:
    """Return that fraction of `count` pictures, or the one that is `MOST` of them."""
    return min(fraction, MOST / count)


def drawn(
    labels: Tensor, classes: int, fraction: float, seed: int, copies: Tensor | None, share: float
) -> Tensor:
    """Return which pictures are held out, bool `(N,)`: the same share of every class, by chance.

    Args:
        labels: int64 `(N,)`, at least two of each class.
        fraction: of each class, at least one picture, all if it is 1, and of all classes `MOST`.
        copies: int64 `(N,)`, the first picture that each is the same as; None: all differ.
        share: of them, at least one picture of each class; a smaller one is a part of a larger.
    """
    fraction = held_out_of(len(labels), fraction)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(classes):
        members = (labels == label).nonzero()[:, 0]
        most = len(members) - (fraction < 1)  # or nothing is left to be learnt
        count = min(max(1, round(fraction * len(members))), most)
        order = members[torch.randperm(len(members), generator=generator)]
        held = order[:count] if copies is None else _together(order, count, copies)
        chosen[_first(held, share, copies)] = True
    return chosen


def _together(order: Tensor, count: int, copies: Tensor) -> Tensor:
    """Return about the first `count` pictures of a class in this order, and of none of them a copy
    that is not among them, or what selects would have been learnt. A class of one picture alone is
    divided all the same."""
    firsts = copies[order].tolist()
    sizes, held, left = Counter(firsts), set[int](), count
    for first in sizes:  # in the order
        if sizes[first] <= left:
            held.add(first)
            left -= sizes[first]
    if len(sizes) == 1:
        return order[:count]
    held = held or {firsts[0]}
    return order[torch.tensor([first in held for first in firsts])]


def _first(held: Tensor, share: float, copies: Tensor | None) -> Tensor:
    """Return a share of a class's pictures that are held out: the first, copies with them."""
    count = max(1, round(share * len(held)))
    if copies is None:
        return held[:count]
    firsts = copies[held].tolist()
    kept, total = set[int](), 0
    for first, size in Counter(firsts).items():  # in the order
        if kept and total + size > count:
            break
        kept.add(first)
        total += size
    return held[torch.tensor([first in kept for first in firsts])]
