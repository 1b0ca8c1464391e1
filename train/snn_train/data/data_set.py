"""Data sets, each as two uint8 tensors, all of it looked at before training starts; but for one.

digits              scikit-learn's 1,797 scans of 8×8; always there
imagefolder:DIR     DIR/{train,test}/<class>/… or DIR/<class>/…, in any format that snn-infer reads
cifar10, cifar100   the official python archives, downloaded once, or `cifar10:FILE`
mnist, fashion-mnist  the four IDX files, downloaded once, or `mnist:DIR`
imagenet:DIR        DIR/{train,val}/<class>/…, 224×224; decoded while training goes on: of its files
                    only names and sizes are looked at before
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snn_runtime.errors import InputError, ModelError, UsageError
from snn_runtime.image import Fit
from snn_runtime.labels import check_labels
from snn_train.choices import DATA, LEAST_SIDE, OF_ANY_SIZE, SMALLEST
from snn_train.data import archives, imagefolder
from snn_train.data.doubles import digests, doubles, first_of_each
from snn_train.data.folders import TEST, FileProgress, Survey, bad, parts, pictures, same_classes
from snn_train.data.imagefolder import Labels, Pixels
from snn_train.data.normalisation import Normalisation
from snn_train.data.on_disk import Images, OnDisk, on_disk
from snn_train.data.overview import selection, weighting
from snn_train.data.selecting import drawn

IMAGENET_SIZE = (224, 224)
IMAGENET_COLOURS = Normalisation((124, 116, 104), (58.395, 57.12, 57.375))
"""The mean, rounded, and deviation that the field uses, 255 times those of torchvision."""


@dataclass(frozen=True)
class DataSet:
    """Photographs and labels, whole and decoded, or decoded when they are indexed."""

    name: str
    """As `--data` names it."""
    labels: tuple[str, ...]
    train_images: Images
    """uint8 `(N, H, W, 3)`"""
    train_labels: Tensor
    """int64 `(N,)`"""
    test_images: Images
    test_labels: Tensor
    fit: Fit = "crop"
    """How pictures of another shape were made to fit; part of the exported model."""
    colours: Normalisation | None = None
    """Where the field has agreed on one; else it is measured."""
    notes: tuple[str, ...] = ()
    """Messages for the user: what was skipped, what is in it twice."""
    test_names: tuple[str, ...] = ()
    """Of the test pictures' files, where they come from a folder."""
    held_out: Tensor | None = None
    """int64 `(M,)`: the training pictures that select, where a folder of their own says so."""
    copies: Tensor | None = None
    """int64 `(N,)`: the first training picture that each is the same as; None: all differ."""

    @property
    def on_disk(self) -> bool:
        """Whether pictures are decoded while training goes on."""
        return isinstance(self.train_images, OnDisk)

    def normalisation(self) -> Normalisation:
        """The colours' means and deviations of the training pictures."""
        if self.colours is not None:
            return self.colours
        assert isinstance(self.train_images, Tensor)  # nobody decodes a million files for this
        return Normalisation.of(self.train_images)

    def split(self, fraction: float, seed: int, share: float = 1.0) -> tuple[Tensor, Tensor]:
        """Return indices (to train on, to validate on) of the training set.

        The latter are those of a folder of their own, or else `share` of `fraction` of all, which
        is at most 5,000, the same of every class.
        """
        count = len(self.train_labels)
        if self.held_out is not None:
            chosen = torch.zeros(count, dtype=torch.bool)
            chosen[self.held_out] = True
            return (~chosen).nonzero()[:, 0], self.held_out
        chosen = drawn(self.train_labels, len(self.labels), fraction, seed, self.copies, share)
        return (~chosen).nonzero()[:, 0], chosen.nonzero()[:, 0]

    def cautions(
        self, split: tuple[float, int, float], balanced: bool, kept: bool = False
    ) -> list[str]:
        """What to bear in mind of pictures from folders: few that select, classes that are rare.
        `balanced`: they count alike in the loss; `kept`: another run chose what selects."""
        if not self.test_names:
            return []
        trained, held_out = self.split(*split)
        how = "as in the run before" if kept else f"by --seed {split[1]}"
        how = f"the same share of each class {how}" if self.held_out is None else ""
        counted = selection(len(held_out), how, len(self.test_labels))
        lines = (weighting(self.labels, self.train_labels[trained], balanced), counted)
        return [line for line in lines if line]


def load(
    spec: str, progress: FileProgress, size: tuple[int, int] | None = None, fit: Fit = "crop"
) -> DataSet:
    """Return the data set that `spec` names, its pictures `size` (height, width) pixels large.

    Args:
        size: only for `imagefolder`, where None takes the size of the first picture, and for
            `imagenet`, where it is 224×224.

    Raises:
        UsageError: unknown name, or a size for a data set that has its own.
        InputError: `bad_data`, naming the file that is missing, empty or corrupt.
    """
    name, _, where = spec.partition(":")
    if name in OF_ANY_SIZE:
        if not where:
            raise UsageError("bad_flag", f"--data {name} needs a folder: {name}:DIR")
        if name == "imagenet":
            return _imagenet(Path(where), progress, size or IMAGENET_SIZE, fit)
        return _image_folder(Path(where), progress, size, fit)
    if size is not None:
        raise UsageError(
            "bad_flag", f"--image-size is for {' and '.join(OF_ANY_SIZE)}, {name} has its own size"
        )
    if name == "digits" and not where:
        return _digits()
    readers = {
        "cifar10": archives.cifar10,
        "cifar100": archives.cifar100,
        "mnist": archives.mnist,
        "fashion-mnist": archives.fashion_mnist,
    }
    if name not in readers:
        raise UsageError("bad_flag", f"--data {spec}: expected one of {', '.join(DATA)}")
    archive = readers[name](Path(where) if where else None)
    parts = (
        archive.train_images, archive.train_labels, archive.test_images, archive.test_labels
    )  # fmt: skip
    return _data_set(spec, archive.labels, parts)


def _data_set(
    name: str,
    labels: tuple[str, ...],
    parts: tuple[Pixels, Labels, Pixels, Labels],
    fit: Fit = "crop",
    *,
    names: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
    held_out: Labels | None = None,
) -> DataSet:
    """Args: names: of the test pictures' files; held_out: which of the first select."""
    keys, last = digests(parts[0]), len(parts[0]) - (0 if held_out is None else len(held_out))
    twice = doubles(keys[:last], parts[1][:last], digests(parts[2]), names, keys[last:])
    images, marks, test_images, test_marks = (torch.from_numpy(part) for part in parts)
    return _checked(
        DataSet(
            name, labels, images, marks, test_images, test_marks, fit,
            notes=(*notes, *twice), test_names=names,
            held_out=None if held_out is None else torch.from_numpy(held_out),
            copies=first_of_each(keys),
        )
    )  # fmt: skip


def _digits() -> DataSet:
    """Every fifth scan of each digit is held out for testing."""
    from sklearn.datasets import load_digits  # slow to import, and only needed here

    scans = load_digits()
    grey = np.rint(scans.images * (255 / 16)).astype(np.uint8)  # they come as 0 … 16
    images, labels = np.repeat(grey[..., None], 3, axis=3), scans.target.astype(np.int64)
    held_out = np.zeros(len(labels), bool)
    for digit in range(10):
        held_out[np.flatnonzero(labels == digit)[::5]] = True
    parts = (images[~held_out], labels[~held_out], images[held_out], labels[held_out])
    return _data_set("digits", tuple(map(str, range(10))), parts)


def _image_folder(
    root: Path, progress: FileProgress, size: tuple[int, int] | None, fit: Fit
) -> DataSet:
    folder = imagefolder.read(root, progress, size, fit)
    train, test = folder.train, folder.test
    arrays = (train.images, train.labels, test.images, test.labels)
    return _data_set(
        f"imagefolder:{root}", folder.labels, arrays, fit,
        names=test.names, notes=folder.notes, held_out=folder.held_out,
    )  # fmt: skip


def _imagenet(root: Path, progress: FileProgress, size: tuple[int, int], fit: Fit) -> DataSet:
    found = parts(root, ("val", *(name for name in TEST if name != "val")), ())
    if found.test is None:
        raise bad(root / "val", "no such folder, expected it beside train")
    here, there = same_classes(root, found.train, found.test)
    survey = Survey()
    train, train_labels, trained = on_disk(
        pictures(found.train, here, progress, survey), size, fit, survey
    )
    test, test_labels, tested = on_disk(
        pictures(found.test, there, progress, survey), size, fit, survey
    )
    survey.refuse_bad()
    names = tuple(f"{found.test.name}/{name}" for name in test.names)
    notes = (*found.notes, *survey.notes(), *doubles(trained, train_labels.numpy(), tested, names))
    return _checked(
        DataSet(
            f"imagenet:{root}", tuple(here), train, train_labels, test, test_labels,
            fit, IMAGENET_COLOURS, notes, names, copies=first_of_each(trained),
        )
    )  # fmt: skip


def _checked(data: DataSet) -> DataSet:
    """Refuse what would only show after an hour of training."""
    classes = len(data.labels)
    try:
        check_labels(data.labels)  # or the trained network could not be exported
    except ModelError as error:
        raise InputError("bad_data", f"{data.name}: {error.message}; rename the class") from error
    if (count := len(data.train_labels)) < 10 * classes:
        raise InputError(
            "bad_data",
            f"{data.name}: {count} training images for {classes} classes, expected {10 * classes} "
            "or more: add pictures",
        )
    for part, labels in (("train", data.train_labels), ("test", data.test_labels)):
        if bool(((labels < 0) | (labels >= classes)).any()):
            raise InputError("bad_data", f"{data.name}: a {part} label is not 0 to {classes - 1}")
        counts = torch.bincount(labels, minlength=classes)
        few, name = int(counts.min()), data.labels[int(counts.argmin())]
        if few <= (part == "train" and data.held_out is None):
            has = "1 train image, and none to select with" if few else f"no {part} image"
            raise InputError("bad_data", f"{data.name}: class {name!r} has {has}")
    height, width = data.train_images.shape[1:3]
    if data.test_images.shape[1:3] != (height, width):
        raise InputError("bad_data", f"{data.name}: train and test images differ in size")
    size = f"{height}x{width}"
    if min(height, width) < LEAST_SIDE:
        raise InputError("bad_data", f"{data.name}: images are {size}, at least {SMALLEST}")
    selecting = 0 if data.held_out is None else len(data.held_out)
    select = f"{selecting:,} to select with, " if selecting else ""
    read = (
        f"{len(data.train_labels) - selecting:,} pictures to train on, {select}"
        f"{len(data.test_labels):,} to test on, of {size}, in {classes} classes"
    )
    return replace(data, notes=(read, *data.notes))
