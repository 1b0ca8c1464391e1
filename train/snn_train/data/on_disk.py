"""Pictures that are decoded while training goes on, for sets that no memory holds.

`OnDisk` stands where the uint8 tensor of another data set stands. Threads decode (Pillow lets the
interpreter go while it does), one batch ahead of the network; which thread decodes what decides
nothing, so the pixels are the same for any number of them.

A picture is decoded as `snn-infer` decodes it: a JPEG more than twice as large as needed at 1/2,
1/4 or 1/8 of its size. Random windows are cut from that, so that the smallest part of a large
photograph is as fine as that of one of twice the size needed, and large photographs cost no more.
"""

import math
import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snn_runtime import image as picture
from snn_runtime.errors import InputError
from snn_train.data.augmentation import Draws
from snn_train.data.folders import Part, Survey
from snn_train.data.window import window

Pixels: TypeAlias = npt.NDArray[np.uint8]
Decoding: TypeAlias = "list[Future[Pixels]]"
EVALUATED_PIXELS = 500 * 32 * 32
"""In a batch where nothing is learnt: 500 pictures of CIFAR's size."""
Inode: TypeAlias = tuple[int, int]
"""A file's device and number: links to one file have the same."""


@dataclass(frozen=True, eq=False)
class OnDisk:
    """Pictures in files, to be had by index like those of a uint8 tensor `(N, H, W, 3)`.

    A file that cannot be decoded is noticed when it is indexed: `InputError`, `bad_data`, with its
    name.
    """

    folder: Path
    names: tuple[str, ...]
    """All files below the folder, `class/file`; subsets have the same."""
    size: tuple[int, int]
    """Height and width of what is decoded, in pixels."""
    fit: picture.Fit
    """How pictures of another shape are made to fit where no random window is drawn."""
    chosen: Tensor
    """int64 `(N,)`: which of the names these pictures are."""
    device: torch.device = torch.device("cpu")
    """Where decoded pictures go."""

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self), *self.size, 3))

    def to(self, device: torch.device) -> "OnDisk":
        """The same pictures, to be sent to `device` once they are decoded."""
        return replace(self, device=device)

    def subset(self, index: Tensor) -> "OnDisk":
        """Those of `index`, int64 `(B,)`, not decoded yet."""
        return replace(self, chosen=self.chosen[index.cpu()])

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """Decode some, uint8 `(B, H, W, 3)`: the very pixels that `snn-infer` will see."""
        chosen = index if isinstance(index, slice) else index.cpu()
        return self.finish(self._submit(self.chosen[chosen], None))

    def begin(self, index: Tensor, draws: Draws) -> Decoding:
        """Let threads decode those of `index`, each in the window drawn for it, if one was."""
        tries = draws.windows.permute(2, 0, 1).numpy() if len(draws.windows) else None
        return self._submit(self.chosen[index.cpu()], tries)

    def finish(self, decoding: Decoding) -> Tensor:
        """Wait for what was begun: uint8 `(B, H, W, 3)` on the device."""
        pixels = np.empty((len(decoding), *self.size, 3), np.uint8)
        for row, each in enumerate(decoding):
            pixels[row] = each.result()
        return torch.from_numpy(pixels).to(self.device)

    def _submit(self, numbers: Tensor, tries: npt.NDArray[np.float64] | None) -> Decoding:
        threads = _threads(torch.get_num_threads())
        return [
            threads.submit(self._decode, number, None if tries is None else tries[row])
            for row, number in enumerate(numbers.tolist())
        ]

    def _decode(self, number: int, tries: npt.NDArray[np.float64] | None) -> Pixels:
        path = self.folder / self.names[number]
        height, width = self.size
        try:
            whole = picture.decode(picture.read_file(path), needed=(width, height)).image
        except InputError as error:
            advice = "put a good copy in its place, under the same name"
            raise InputError("bad_data", f"{path}: {error.message}; {advice}") from error
        if tries is None:
            return picture.fit_to(whole, height, width, self.fit)
        part = whole.crop(window(whole.size, self.size, tries))
        return picture.fit_to(part, height, width, "stretch")


Images: TypeAlias = Tensor | OnDisk
"""uint8 pictures `(N, H, W, 3)`: all in memory, or decoded when they are indexed."""


def on_disk(
    part: Part, size: tuple[int, int], fit: picture.Fit, survey: Survey
) -> tuple[OnDisk, Tensor, list[Inode]]:
    """Return the pictures of a part, their labels, int64 `(N,)`, and the files that they are in.

    No file is opened; one whose size no picture has is bad.
    """
    most = picture.DEFAULT_LIMITS.max_bytes
    inodes = []
    for path in part.paths:
        status = os.stat(path)
        inodes.append((status.st_dev, status.st_ino))
        if not 0 < status.st_size <= most:
            survey.bad.append(f"{path}: has {status.st_size:,} bytes, expected 1 to {most:,}")
    images = OnDisk(part.folder, part.names, size, fit, torch.arange(len(part.names)))
    return images, torch.tensor(part.labels, dtype=torch.int64), inodes


def subset(images: Images, index: Tensor) -> Images:
    """Those of `index`, int64 `(B,)`, without decoding any."""
    return images.subset(index) if isinstance(images, OnDisk) else images[index]


def evaluation_batch(images: Images) -> int:
    """How many of the pictures are computed at once where nothing is learnt, whatever their size:
    at 224×224 the spikes of 500 would fill the memory."""
    return max(16, min(500, EVALUATED_PIXELS // math.prod(images.shape[1:3])))


def fingerprint(images: Images) -> bytes | memoryview:
    """What a digest of the pictures is taken of: their pixels, or the names of their files.

    Sizes and contents of files are left out, so that a run that met a damaged picture can go on
    once it has been repaired: the run stopped before anything was computed from it.
    """
    if isinstance(images, OnDisk):
        chosen = (images.names[number] for number in images.chosen.tolist())
        return b"\0".join(os.fsencode(name) for name in chosen)
    return images.contiguous().numpy().data


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, "decode")
