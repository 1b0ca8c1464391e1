"""Pictures that stand twice: what is tested on and trained on too measures memory, not sight."""

import hashlib
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def digests(images: npt.NDArray[np.uint8]) -> list[bytes]:
    """A digest for each of the decoded pictures `(N, H, W, 3)`: copies in other files count."""
    whole = np.ascontiguousarray(images)
    return [hashlib.blake2b(image.data, digest_size=16).digest() for image in whole]


def first_of_each(keys: Sequence[Hashable]) -> Tensor | None:
    """The number of the first picture that each is the same as, int64 `(N,)`; None where all
    differ."""
    first: dict[Hashable, int] = {}
    numbers = [first.setdefault(key, number) for number, key in enumerate(keys)]
    return torch.tensor(numbers) if len(first) < len(numbers) else None


def doubles(
    train: Sequence[Hashable],
    train_labels: npt.NDArray[np.int64],
    test: Sequence[Hashable],
    names: Sequence[str] = (),
    selecting: Sequence[Hashable] = (),
) -> tuple[str, ...]:
    """Return messages about pictures that are the same.

    Args:
        train, test, selecting: what tells pictures apart, one each: digests, or files. The last are
            those that a folder of their own holds.
        names: of the test pictures, where they have any.
    """
    notes = []
    first: dict[Hashable, int] = {}
    odd = {
        key
        for key, label in zip(train, train_labels.tolist(), strict=True)
        if first.setdefault(key, label) != label
    }
    if odd:
        count = sum(key in odd for key in train)
        notes.append(f"warning: {count:,} pictures to train on stand in two classes or more")
    if count := sum(key in first for key in selecting):
        notes.append(
            f"warning: {count:,} of {len(selecting):,} pictures to select with also stand among "
            "those to train on: accuracy in validation is too high by them"
        )
    for use, others in (("train on", {*first}), ("select with", {*selecting} - {*first})):
        common = [index for index, key in enumerate(test) if key in others]
        if common:
            example = f" ({names[common[0]]}{', …' if len(common) > 1 else ''})" if names else ""
            notes.append(
                f"warning: {len(common):,} of {len(test):,} test pictures also stand among those "
                f"to {use}{example}: accuracy on the test set is too high by them"
            )
    return tuple(notes)
