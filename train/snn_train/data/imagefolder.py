"""`imagefolder:DIR`: pictures in folders, read whole, by the reader that `snn-infer` uses."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from snn_runtime import image as picture
from snn_runtime.errors import InputError
from snn_runtime.image import Fit
from snn_train.data.doubles import digests
from snn_train.data.folders import (
    FileProgress,
    Part,
    Survey,
    classes,
    parts,
    pictures,
    same_classes,
)

Pixels: TypeAlias = npt.NDArray[np.uint8]
Labels: TypeAlias = npt.NDArray[np.int64]

LARGE = 256 * 256
"""Pixels of a picture from which training on a processor takes hours an epoch."""
TEST_SHARE = 0.2


@dataclass(frozen=True)
class Pictures:
    """Decoded pictures of one part."""

    images: Pixels
    """`(N, H, W, 3)`"""
    labels: Labels
    """`(N,)`"""
    names: tuple[str, ...]
    """Names of their files, beginning with the part's own."""

    def those(self, chosen: npt.NDArray[np.bool_]) -> "Pictures":
        names = tuple(name for name, mine in zip(self.names, chosen, strict=True) if mine)
        return Pictures(self.images[chosen], self.labels[chosen], names)


@dataclass(frozen=True)
class ImageFolder:
    """All that `DIR` holds."""

    labels: tuple[str, ...]
    train: Pictures
    test: Pictures
    notes: tuple[str, ...]


def read(root: Path, progress: FileProgress, size: tuple[int, int] | None, fit: Fit) -> ImageFolder:
    """Return the pictures in `root`, `size` (height, width) pixels large; None: as the first is.

    Raises:
        InputError: `bad_data`, naming folders that do not fit, or all files that are bad.
    """
    first, second, notes = parts(root)
    survey = Survey()
    if second is not None:
        here, there = same_classes(root, first, second)
        listed = [
            pictures(first, here, progress, survey),
            pictures(second, there, progress, survey),
        ]
    else:
        here = classes(first)
        listed = [pictures(first, here, progress, survey)]
    if size is None:
        size, note = _first_size(listed[0], survey)
        notes = (note, *notes)
    decoded = [_decoded(part, progress, size, fit, survey) for part in listed]
    survey.refuse_bad()
    if second is None:
        decoded = _split(decoded[0])
        notes = (*notes, _SPLIT.format(folder=first))
    return ImageFolder(tuple(here), decoded[0], decoded[1], (*notes, *survey.notes()))


_SPLIT = (
    "there is no test folder beside train: a fifth of every class in {folder} is the test set, "
    "chosen by what the pictures hold, always the same whatever --seed is"
)


def _split(whole: Pictures) -> list[Pictures]:
    """Return a part to train on and one to test on. Of each class the fifth with the lowest digests
    tests: a seed of its own that pictures keep when others come, and copies stay on one side."""
    keys = np.array(digests(whole.images), dtype=object)
    testing = np.zeros(len(keys), bool)
    for label in np.unique(whole.labels):
        mine = whole.labels == label
        ordered = sorted(keys[mine])
        last = ordered[max(1, round(TEST_SHARE * len(ordered))) - 1]
        testing |= mine & (keys <= last)
    return [whole.those(~testing), whole.those(testing)]


def _first_size(part: Part, survey: Survey) -> tuple[tuple[int, int], str]:
    """Return (height, width) of the first picture that can be read, and what to say of it.

    Raises:
        InputError: `bad_data`: there is none.
    """
    refused = []
    for path in part.paths:
        try:
            width, height = picture.decode(picture.read_file(path)).image.size
        except InputError as error:
            refused.append(f"{path}: {error.message}")
            continue
        note = f"pictures are {height}x{width} pixels, the size of {path}; --image-size is another"
        if height * width > LARGE:
            note = f"warning: {note}, and more than 256x256 takes very long"
        return (height, width), note
    survey.bad += refused
    survey.refuse_bad()
    raise InputError("bad_data", f"{part.folder}: has no picture")


def _decoded(
    part: Part, progress: FileProgress, size: tuple[int, int], fit: Fit, survey: Survey
) -> Pictures:
    images = np.empty((len(part.names), *size, 3), np.uint8)
    for index, path in enumerate(progress(part.paths, f"reading {part.name}", len(part.names))):
        try:
            # The very pixels that `snn-infer` will see.
            images[index] = picture.prepare(path, *size, fit)[0]
        except InputError as error:
            survey.bad.append(error.message)
    names = tuple(f"{part.name}/{name}" for name in part.names)
    return Pictures(images, np.array(part.labels, np.int64), names)
