"""Two pictures in one, which the labels of both belong to.

    mixup    x ← (1 − s) x + s x′                  (Zhang et al., ICLR 2018)
    cutmix   a square of x′ in the place of x's, s its share of the pixels   (Yun et al., ICCV 2019)
    loss     (1 − s) L(y) + s L(y′)

s is drawn from 0 to ½: with the more of x′ in it, it would be x′ mixed with x. A teacher sees the
mixed picture, as the student does (Beyer et al., CVPR 2022).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from snn_train.data.augmentation import Augmentation, Drawn

LARGEST_SHARE = 0.5
"""Of the second picture."""


@dataclass(frozen=True)
class Mixing(Drawn):
    """The random numbers that decide it for the pictures of a batch."""

    blended: Tensor
    """float32 `(B,)`: s of those that are blended; 0 of the others."""
    cut: Tensor
    """float32 `(B,)`: s that those should have that get a square; 0 of the others."""
    corner: Tensor
    """float32 `(2, B)`: where the square begins, from 0 to 1 of the room for it."""

    @classmethod
    def of(cls, augmentation: Augmentation, batch: int, generator: torch.Generator) -> "Mixing":
        """Draw for `batch` pictures."""
        which = 100 * torch.rand(batch, generator=generator)
        share = LARGEST_SHARE * torch.rand(batch, generator=generator)
        corner = torch.rand(2, batch, generator=generator)
        blended = which < augmentation.mixup
        cut = ~blended & (which < augmentation.mixup + augmentation.cutmix)
        return cls(share * blended, share * cut, corner)


def mixed(images: Tensor, others: Tensor, mixing: Mixing) -> tuple[Tensor, Tensor]:
    """Return what becomes of images `(B, 3, H, W)`, and the share of the others in each, `(B,)`."""
    device = images.device
    height, width = images.shape[2:]
    blended, cut = mixing.blended.to(device), mixing.cut.to(device)
    images = images.lerp(others, blended[:, None, None, None].to(images.dtype))
    rows = _inside(cut, mixing.corner[0].to(device), height)
    columns = _inside(cut, mixing.corner[1].to(device), width)
    square = rows[:, :, None] & columns[:, None, :]
    share = blended + square.float().mean((1, 2))
    return torch.where(square[:, None], others, images), share


def _inside(cut: Tensor, corner: Tensor, side: int) -> Tensor:
    """Which of `side` rows or columns the square covers, bool `(B, side)`."""
    length = (cut.sqrt() * side).round()
    first = (corner * (side + 1 - length)).floor()[:, None]
    place = torch.arange(side, device=cut.device)
    return (place >= first) & (place < first + length[:, None])
