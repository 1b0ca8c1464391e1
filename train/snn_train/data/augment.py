"""Batches from a data set that lies whole on the training device, as airbench's CIFAR loader does.

No worker processes: flips and shifted crops of uint8 pixels are one gather, on whatever device the
pixels are. Only random windows are cut elsewhere, by `on_disk`, where pictures are decoded while
training goes on. Normalisation is (x − m)/σ with an integer m per colour, so that the exported
graph can subtract exactly what training subtracted, and zero padding means the same in both.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

TRIES = 10
"""To find a random window that lies in the picture, before its middle is taken."""
SMALLEST_AREA = 0.08
LARGEST_ASPECT = 4 / 3


@dataclass(frozen=True)
class Augmentation:
    """What happens to a training image; nothing happens to the others."""

    flip: bool = False
    """Mirror left and right with probability ½."""
    shift: int = 0
    """Largest shift in pixels either way; the border is reflected."""
    cutout: int = 0
    """Side in pixels of a square set to the mean."""
    resized: bool = False
    """A random window of each picture in place of all of it, see `window`; only where pictures are
    decoded while training, whose whole is larger than what the network sees."""

    def __str__(self) -> str:
        """As `augmentation` reads it."""
        flags = [name for name in ("flip", "resized") if getattr(self, name)]
        sizes = [f"{n}={getattr(self, n)}" for n in ("shift", "cutout") if getattr(self, n)]
        return ",".join([*flags, *sizes]) or "none"


def augmentation(text: str) -> Augmentation:
    """Return what `--augment` says.

    Raises:
        ValueError: it says what no augmentation is.
    """
    values: dict[str, Any] = {}
    for part in text.split(",") if text != "none" else []:
        name, _, number = part.partition("=")
        if name in ("flip", "resized") and not number:
            values[name] = True
        elif name in ("shift", "cutout") and number.isdecimal():
            values[name] = int(number)
        else:
            raise ValueError(f"--augment {text}: expected e.g. flip,shift=4,cutout=8 or none")
    return Augmentation(**values)


def check_augmentation(chosen: Augmentation, size: tuple[int, int], on_disk: bool) -> None:
    """Raises: ValueError: it is for larger images than (height, width), or for those on a disk."""
    height, width = size
    if chosen.shift >= min(height, width):
        raise ValueError(f"--augment shift={chosen.shift}: images are {height}x{width}")
    if chosen.resized and not on_disk:
        raise ValueError(f"--augment {chosen}: resized is for imagenet:DIR")


@dataclass(frozen=True)
class Normalisation:
    """x ↦ (x − offset)/deviation, per colour, in units of uint8 pixels."""

    offset: tuple[int, int, int]
    deviation: tuple[float, float, float]

    @classmethod
    def of(cls, images: Tensor) -> "Normalisation":
        """Measure uint8 images `(N, H, W, 3)`; a colour that never varies gets deviation 1."""
        pixels = images.reshape(-1, 3)
        # float64 over chunks: the sums of a large data set exceed what float32 can count.
        total = torch.zeros(2, 3, dtype=torch.float64, device=images.device)
        for chunk in torch.split(pixels, 2**22):
            values = chunk.double()
            total += torch.stack([values.sum(0), values.square().sum(0)])
        mean, square = (total / len(pixels)).tolist()
        offset = [round(m) for m in mean]
        deviation = [max(s - m * m, 0.0) ** 0.5 or 1.0 for m, s in zip(mean, square, strict=True)]
        return cls((offset[0], offset[1], offset[2]), (deviation[0], deviation[1], deviation[2]))

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 `(B, 3, H, W)`, channels last in memory, for uint8 `(B, H, W, 3)`."""
        offset = torch.tensor(self.offset, dtype=torch.float32, device=images.device)
        deviation = torch.tensor(self.deviation, dtype=torch.float32, device=images.device)
        return ((images - offset) / deviation).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Draws:
    """The random numbers of a batch. All of it are drawn at once and on the CPU, so that a batch
    looks the same on every device, in however many parts it is computed, by however many
    processes."""

    shift: Tensor
    """int64 `(2, B)`: rows and columns, 0 to twice the largest shift."""
    mirrored: Tensor
    """bool `(B,)`"""
    corner: Tensor
    """`(2, B)`: the middle of the square that is cut out, in shares of height and width."""
    windows: Tensor
    """float64 `(tries, 4, B)`, from 0 to 1, for `window`; no tries without `resized`."""

    @classmethod
    def of(cls, augmentation: Augmentation, batch: int, generator: torch.Generator) -> "Draws":
        """Draw for `batch` pictures."""
        return cls(
            torch.randint(0, 2 * augmentation.shift + 1, (2, batch), generator=generator),
            torch.rand(batch, generator=generator) < 0.5,
            torch.rand(2, batch, generator=generator),
            torch.rand(
                TRIES if augmentation.resized else 0,
                4,
                batch,
                dtype=torch.float64,
                generator=generator,
            ),
        )

    def part(self, chosen: slice) -> "Draws":
        """Those of some of the pictures."""
        return Draws(
            self.shift[:, chosen],
            self.mirrored[chosen],
            self.corner[:, chosen],
            self.windows[:, :, chosen],
        )


def augment(
    images: Tensor, augmentation: Augmentation, mean: tuple[int, int, int], draws: Draws
) -> Tensor:
    """Return augmented uint8 images `(B, H, W, 3)`; what is cut out becomes `mean`."""
    _, height, width, _ = images.shape
    shift = augmentation.shift
    rows = draws.shift[0][:, None] + torch.arange(height)
    columns = draws.shift[1][:, None] + torch.arange(width)
    if augmentation.flip:
        columns = torch.where(draws.mirrored[:, None], columns.flip(1), columns)
    if shift or augmentation.flip:
        images = _gather(_reflect(images, shift), rows, columns)
    if augmentation.cutout:
        images = _cut(images, draws.corner, augmentation.cutout, mean)
    return images


def _reflect(images: Tensor, shift: int) -> Tensor:
    if not shift:
        return images
    planes = images.permute(0, 3, 1, 2).float()  # reflection is not implemented for bytes
    return F.pad(planes, (shift,) * 4, mode="reflect").to(torch.uint8).permute(0, 2, 3, 1)


def _gather(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    device = images.device
    index = torch.arange(len(images), device=device)[:, None, None]
    return images[index, rows.to(device)[:, :, None], columns.to(device)[:, None, :]]


def _cut(images: Tensor, corner: Tensor, side: int, mean: tuple[int, int, int]) -> Tensor:
    _, height, width, _ = images.shape
    top, left = (corner * torch.tensor([[height], [width]]) - side / 2).floor()
    rows, columns = torch.arange(height), torch.arange(width)
    inside_rows = (rows >= top[:, None]) & (rows < top[:, None] + side)
    inside_columns = (columns >= left[:, None]) & (columns < left[:, None] + side)
    hole = (inside_rows[:, :, None] & inside_columns[:, None, :])[..., None].to(images.device)
    return torch.where(hole, torch.tensor(mean, dtype=torch.uint8, device=images.device), images)


def window(
    size: tuple[int, int], shape: tuple[int, int], tries: npt.NDArray[np.float64]
) -> tuple[int, int, int, int]:
    """Return the part of a picture that is resized to `shape`: Inception's random crop
    (Szegedy et al. 2015), with the numbers that He et al. and torchvision use.

        area = (0.08 + 0.92 u₁) · that of the picture      aspect = (4/3)^(2 u₂ − 1) · W/H
        width = √(area · aspect)      height = √(area / aspect)      its corner uniform, by u₃, u₄

    The first try that lies in the picture counts; after the last, the largest part in the middle
    whose aspect is allowed.

    Args:
        size: width and height of the picture.
        shape: height H and width W of what is wanted.
        tries: `(tries, 4)`: u₁ to u₄, from 0, below 1.

    Returns:
        left, top, right, bottom.
    """
    width, height = size
    natural = shape[1] / shape[0]
    for share, bend, down, across in tries.tolist():
        area = (SMALLEST_AREA + (1 - SMALLEST_AREA) * share) * width * height
        aspect = natural * LARGEST_ASPECT ** (2 * bend - 1)
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(across * (width - w + 1)), int(down * (height - h + 1))
            return left, top, left + w, top + h
    w = min(width, round(height * natural * LARGEST_ASPECT))
    h = min(height, round(width / natural * LARGEST_ASPECT))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h
