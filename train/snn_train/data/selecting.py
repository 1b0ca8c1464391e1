"""Which of the training pictures select, where no folder of their own says so."""

from collections import Counter

import torch
from torch import Tensor


def drawn(
    labels: Tensor, classes: int, fraction: float, seed: int, copies: Tensor | None
) -> Tensor:
    """Return which pictures are held out, bool `(N,)`: the same share of every class, by chance.

    Args:
        labels: int64 `(N,)`, at least two of each class.
        fraction: of each class; at least one picture is held out.
        copies: int64 `(N,)`, the first picture that each is the same as; None: all differ.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(classes):
        members = (labels == label).nonzero()[:, 0]
        count = max(1, round(fraction * len(members)))
        order = members[torch.randperm(len(members), generator=generator)]
        chosen[order[:count] if copies is None else _together(order, count, copies)] = True
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
