"""What happens to a training picture, and the numbers that decide it for each picture of a batch.

flip        mirrored left and right with probability ½
alternate   in place of `flip`: mirrored by a coin in the first epoch, and then in every other one,
            so that two epochs in a row never show the same picture twice (Jordan 2024, airbench)
shift=N     shifted by up to N pixels either way; the border is reflected
cutout=N    a square of N pixels set to the mean (DeVries and Taylor 2017)
resample    half of the pictures as if shrunk from larger ones by another filter, see `resampling`
colour=N    brightness, contrast and saturation changed by up to N percent
mixup=N     N percent of the pictures blended with another one, see `mixing`
cutmix=N    N percent of the pictures with a square of another one in them, see `mixing`
resized     a random window of each picture in place of all of it, see `window`
"""

from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from snn_train.data.resampling import WAYS
from snn_train.data.window import TRIES
from snn_train.flag_values import is_whole

EXAMPLE = "alternate,shift=2,cutout=8,resample,colour=20"


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
    """A random window of each picture in place of all of it; only where pictures are decoded while
    training, whose whole is larger than what the network sees."""
    alternate: bool = False
    """Mirror each picture in every other epoch."""
    resample: bool = False
    """Resample half of the pictures by one of the ways that pictures are shrunk in."""
    colour: int = 0
    """Largest change of brightness, contrast and saturation in percent."""
    mixup: int = 0
    """Percent of the pictures that are blended with another one."""
    cutmix: int = 0
    """Percent of the pictures that have a square of another one in them."""

    @property
    def mirrors(self) -> bool:
        """Whether pictures are mirrored at all."""
        return self.flip or self.alternate

    @property
    def mixes(self) -> bool:
        """Whether there are two pictures in some."""
        return self.mixup + self.cutmix > 0

    def __str__(self) -> str:
        """As `augmentation` reads it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        said = [n if v is True else f"{n}={v}" for n, v in values.items() if v]
        return ",".join(said) or "none"


def augmentation(text: str) -> Augmentation:
    """Return what `--augment` says.

    Raises:
        ValueError: it says what no augmentation is.
    """
    kinds = {field.name: field.type for field in fields(Augmentation)}
    values: dict[str, Any] = {}
    for part in text.split(",") if text != "none" else []:
        name, _, number = part.partition("=")
        if name in values:
            raise ValueError(f"--augment {text}: {name} is there twice")
        if kinds.get(name) is bool and not number:
            values[name] = True
        elif kinds.get(name) is int and is_whole(number):
            values[name] = int(number)
        else:
            raise ValueError(f"--augment {text}: expected e.g. {EXAMPLE} or none")
    return Augmentation(**values)


def check_augmentation(chosen: Augmentation, size: tuple[int, int], on_disk: bool) -> None:
    """Raises: ValueError: it cannot be done to images of (height, width), or to those on a disk."""
    height, width = size
    if chosen.shift >= min(height, width):
        raise ValueError(f"--augment shift={chosen.shift}: images are {height}x{width}")
    if chosen.cutout > max(height, width):  # or nothing might be left to see
        raise ValueError(f"--augment cutout={chosen.cutout}: images are {height}x{width}")
    if chosen.resized and not on_disk:
        raise ValueError(f"--augment {chosen}: resized is for imagenet:DIR")
    if chosen.flip and chosen.alternate:
        raise ValueError(f"--augment {chosen}: flip and alternate exclude each other, choose one")
    if chosen.colour > 100:
        raise ValueError(f"--augment colour={chosen.colour}: expected at most 100 percent")
    if chosen.mixup + chosen.cutmix > 100:
        raise ValueError(
            f"--augment mixup={chosen.mixup},cutmix={chosen.cutmix}: expected at most 100 percent "
            "together"
        )


Mine = TypeVar("Mine", bound="Drawn")


@dataclass(frozen=True)
class Drawn:
    """Random numbers of the pictures of a batch, in tensors whose last axis are the pictures."""

    def part(self: Mine, chosen: slice) -> Mine:
        """Those of some of the pictures."""
        values = {field.name: getattr(self, field.name)[..., chosen] for field in fields(self)}
        return replace(self, **values)


@dataclass(frozen=True)
class Draws(Drawn):
    """The random numbers of a batch. All of it are drawn at once and on the CPU, so that a batch
    looks the same on every device, in however many parts it is computed, by however many
    processes. What an augmentation does without is not drawn, and has no pictures or no tries."""

    shift: Tensor
    """int64 `(2, B)`: rows and columns, 0 to twice the largest shift."""
    mirrored: Tensor
    """bool `(B,)`"""
    corner: Tensor
    """`(2, B)`: the middle of the square that is cut out, in shares of height and width."""
    windows: Tensor
    """float64 `(tries, 4, B)`, from 0 to 1, for `window`; no tries without `resized`."""
    way: Tensor
    """int64 `(1, B)`: the way it is resampled, of `WAYS`; −1 for not at all. Or `(0, B)`."""
    colour: Tensor
    """`(3, B)`: brightness, contrast, saturation, from −1 to 1. Or `(0, B)`."""

    @classmethod
    def of(
        cls,
        augmentation: Augmentation,
        batch: int,
        generator: torch.Generator,
        mirrored: Tensor | None = None,
    ) -> "Draws":
        """Draw for `batch` pictures.

        Args:
            mirrored: bool `(B,)`, which of them are mirrored, where no chance decides it.
        """
        shift = torch.randint(0, 2 * augmentation.shift + 1, (2, batch), generator=generator)
        by_chance = torch.rand(batch, generator=generator) < 0.5
        corner = torch.rand(2, batch, generator=generator)
        tries = TRIES if augmentation.resized else 0
        windows = torch.rand(tries, 4, batch, dtype=torch.float64, generator=generator)
        rows = int(augmentation.resample)
        way = torch.randint(-len(WAYS), len(WAYS), (rows, batch), generator=generator)
        colour = torch.rand(3 if augmentation.colour else 0, batch, generator=generator)
        return cls(
            shift,
            by_chance if mirrored is None else mirrored,
            corner,
            windows,
            way.clamp_(min=-1),
            2 * colour - 1,
        )
