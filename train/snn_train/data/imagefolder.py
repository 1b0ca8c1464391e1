"""`imagefolder:DIR`: pictures in folders, read whole, by the reader that `snn-infer` uses."""

from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from snn_runtime import image as picture
from snn_runtime.errors import InputError
from snn_runtime.image import Fit
from snn_train.data.doubles import digests
from snn_train.data.folders import (
    Classes,
    FileProgress,
    Part,
    Survey,
    bad,
    classes,
    parts,
    pictures,
    same_classes,
)
from snn_train.data.overview import Size, balance, sizes

Pixels: TypeAlias = npt.NDArray[np.uint8]
Labels: TypeAlias = npt.NDArray[np.int64]

LARGE = 64
"""Pixels a side beyond which photographs are made smaller unless asked: at 256 a side, training on
a processor takes hours an epoch."""
TEST_SHARE = 0.2
LEAST = 3
"""Pictures of a class that is divided so."""


@dataclass(frozen=True)
class Pictures:
    """Decoded pictures of one part."""

    images: Pixels
    """`(N, H, W, 3)`"""
    labels: Labels
    """`(N,)`"""
    names: tuple[str, ...]
    """Names of their files, beginning with the part's own."""
    sizes: tuple[Size, ...]
    """What the files hold."""

    def those(self, chosen: npt.NDArray[np.bool_]) -> "Pictures":
        names, sizes = tuple(compress(self.names, chosen)), tuple(compress(self.sizes, chosen))
        return Pictures(self.images[chosen], self.labels[chosen], names, sizes)

    def and_those(self, more: "Pictures") -> "Pictures":
        return Pictures(
            np.concatenate([self.images, more.images]),
            np.concatenate([self.labels, more.labels]),
            self.names + more.names,
            self.sizes + more.sizes,
        )


@dataclass(frozen=True)
class ImageFolder:
    """All that `DIR` holds."""

    labels: tuple[str, ...]
    train: Pictures
    """With those that select, where a folder of their own holds them."""
    test: Pictures
    notes: tuple[str, ...]
    held_out: Labels | None = None
    """int64: which of the first select."""


def read(root: Path, progress: FileProgress, size: tuple[int, int] | None, fit: Fit) -> ImageFolder:
    """Return the pictures in `root`, `size` (height, width) pixels large; None: as the first is.

    Raises:
        InputError: `bad_data`, naming folders that do not fit, or all files that are bad.
    """
    found = parts(root)
    notes, survey = found.notes, Survey()
    here = classes(found.train)
    listed = [pictures(found.train, here, progress, survey)]
    for folder in (found.test, found.validation):
        if folder is not None:
            there = same_classes(root, found.train, folder)[1]
            listed.append(pictures(folder, there, progress, survey))
    if size is None:
        size, note = _usual_size(listed[0], survey)
        notes = (*notes, note)
    decoded = [_decoded(part, progress, size, fit, survey) for part in listed]
    survey.refuse_bad()
    if found.test is None:
        decoded = _split(decoded[0], here)
        notes = (*notes, _SPLIT.format(folder=found.train))
    train, test, *selecting = decoded
    notes = (
        sizes(train.sizes, size),
        balance(tuple(here), torch.from_numpy(train.labels)),
        *notes,
        *survey.notes(),
    )
    if not selecting:
        return ImageFolder(tuple(here), train, test, notes)
    whole = train.and_those(selecting[0])
    held_out = np.arange(len(train.labels), len(whole.labels))
    return ImageFolder(tuple(here), whole, test, notes, held_out)


_SPLIT = (
    "there is no test folder beside train: a fifth of every class in {folder} is the test set, "
    "the same whatever --seed is, but not with another --image-size or with more pictures"
)
_USES = "one tests, one selects the best epoch, the others are trained on"


def _split(whole: Pictures, places: Classes) -> list[Pictures]:
    """Return a part to train on and one to test on. Of each class the fifth with the lowest digests
    tests: a seed of its own that most pictures keep when others come, and copies stay on one side.

    Raises:
        InputError: `bad_data`: a class has too few pictures that are no copies.
    """
    keys = digests(whole.images)
    testing = np.zeros(len(keys), bool)
    for label, place in enumerate(places.values()):
        mine = np.flatnonzero(whole.labels == label).tolist()
        ordered = sorted(keys[index] for index in mine)
        apart = sorted(set(ordered))
        if (count := len(apart)) < LEAST:
            copied = " besides copies" if count < len(ordered) else ""
            problem = f"has {count} picture{'s' * (count > 1)}{copied}, expected {LEAST} or more"
            raise bad(place, f"{problem}: {_USES}")
        last = min(ordered[max(1, round(TEST_SHARE * len(ordered))) - 1], apart[-2])
        # Compared by Python, since numpy's bytes end where zeros begin.
        testing[mine] = [keys[index] <= last for index in mine]
    return [whole.those(~testing), whole.those(testing)]


def _usual_size(part: Part, survey: Survey) -> tuple[Size, str]:
    """Return (height, width) of the first picture that can be read, or of one much smaller where
    that is a photograph's, and what to say of it.

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
        if height * width > LARGE**2:
            size = f"{LARGE}x{LARGE}"
            return (LARGE, LARGE), f"photographs are made {size} pixels; --image-size is another"
        note = f"pictures are {height}x{width} pixels, the size of {path}; --image-size is another"
        return (height, width), note
    survey.bad += refused
    survey.refuse_bad()
    raise InputError("bad_data", f"{part.folder}: has no picture")


def _decoded(part: Part, progress: FileProgress, size: Size, fit: Fit, survey: Survey) -> Pictures:
    images, held = np.empty((len(part.names), *size, 3), np.uint8), []
    for index, path in enumerate(progress(part.paths, f"reading {part.name}", len(part.names))):
        try:
            # The very pixels that `snn-infer` will see.
            whole = picture.decode(picture.read_file(path), needed=(size[1], size[0]))
            images[index] = picture.fit_to(whole.image, *size, fit)
            held.append((whole.size[1], whole.size[0]))
        except InputError as error:
            survey.bad.append(f"{path}: {error.message}")
    names = tuple(f"{part.name}/{name}" for name in part.names)
    return Pictures(images, np.array(part.labels, np.int64), names, tuple(held))
