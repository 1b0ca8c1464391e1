"""Pictures in folders, one a class: read whole, by the reader that `snn-infer` uses."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from snn_runtime import image as picture
from snn_runtime.errors import InputError

Fit = Literal["crop", "stretch"]
Pixels: TypeAlias = npt.NDArray[np.uint8]
Labels: TypeAlias = npt.NDArray[np.int64]
Progress = Callable[[Iterable[Path], str, int], Iterable[Path]]
"""(items, what is going on, how many) ↦ the items, shown as they pass."""


def read(
    folder: Path, classes: list[str], progress: Progress, size: tuple[int, int], fit: Fit
) -> tuple[Pixels, Labels]:
    """Return the pictures of `classes` in `folder`, uint8 `(N, H, W, 3)`, and their labels, `(N,)`.

    Raises:
        InputError: `bad_data`, naming a folder without pictures or a picture that is none.
    """
    files = [path for name in classes for path in _pictures(folder / name)]
    images = np.empty((len(files), *size, 3), np.uint8)
    for index, path in enumerate(progress(files, f"reading {folder.name}", len(files))):
        images[index] = _decode(path, size, fit)
    labels = [classes.index(path.parent.name) for path in files]
    return images, np.array(labels, np.int64)


def same_classes(root: Path, *parts: str) -> list[str]:
    """Return the classes, in order, that both of `parts` of `root` must have.

    Raises:
        InputError: `bad_data`: no such folder, fewer than two classes, or not the same.
    """
    first, second = (_classes(root / part) for part in parts)
    if first != second:
        odd = ", ".join(sorted(set(first) ^ set(second)))
        raise _bad(root, f"{' and '.join(parts)} have different classes: {odd}")
    return first


def _classes(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise _bad(folder, "no such folder, expected one folder a class in it")
    folders = (entry.name for entry in folder.iterdir() if entry.is_dir())
    classes = sorted(name for name in folders if not name.startswith("."))
    if len(classes) < 2:
        raise _bad(folder, f"has {len(classes)} class folders, expected at least 2")
    return classes


def _pictures(folder: Path) -> list[Path]:
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    if not files:
        raise _bad(folder, "is empty, expected pictures of this class")
    return files


def first_size(folder: Path) -> tuple[int, int]:
    """Return (height, width) of the first picture in `folder`.

    Raises:
        InputError: `bad_data`: there is none, or it cannot be read.
    """
    path = _pictures(folder)[0]
    try:
        width, height = picture.decode(picture.read_file(path)).image.size
    except InputError as error:
        raise _bad(path, error.message) from error
    return height, width


def _decode(path: Path, size: tuple[int, int], fit: Fit) -> Pixels:
    """The very pixels that `snn-infer` will see: training and serving share the reader."""
    try:
        return picture.load(path, *size, fit)[0]
    except InputError as error:
        raise InputError("bad_data", error.message) from error


def _bad(path: Path, problem: str) -> InputError:
    return InputError("bad_data", f"{path}: {problem}")
