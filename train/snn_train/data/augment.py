"""Augmentation of a batch that lies whole on the training device, as airbench's CIFAR loader does.

No worker processes: flips and shifted crops of uint8 pixels are one gather, on whatever device the
pixels are. Only random windows are cut elsewhere, by `on_disk`, where pictures are decoded while
training goes on.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from snn_train.data.augmentation import Augmentation, Draws
from snn_train.data.resampling import resample


def augment(
    images: Tensor, augmentation: Augmentation, mean: tuple[int, int, int], draws: Draws
) -> Tensor:
    """Return augmented uint8 images `(B, H, W, 3)`; what is cut out becomes `mean`."""
    shift = augmentation.shift
    if shift or augmentation.mirrors:
        images = _shifted(_reflect(images, shift), draws, shift, augmentation.mirrors)
    if augmentation.resample:
        images = resample(images, draws.way[0])
    if augmentation.colour:
        images = recolour(images, augmentation.colour / 100 * draws.colour)
    if augmentation.cutout:
        images = _cut(images, draws.corner, augmentation.cutout, mean)
    return images


def _reflect(images: Tensor, shift: int) -> Tensor:
    if not shift:
        return images
    planes = images.permute(0, 3, 1, 2).float()  # reflection is not implemented for bytes
    return F.pad(planes, (shift,) * 4, mode="reflect").to(torch.uint8).permute(0, 2, 3, 1)


def _shifted(images: Tensor, draws: Draws, shift: int, mirrors: bool) -> Tensor:
    """Take from images with `shift` pixels around them what each is shifted to, and mirror it."""
    device = images.device
    height, width = (side - 2 * shift for side in images.shape[1:3])
    # Only the draws travel: what is computed of them is large enough for a GPU to be waited for.
    down, right = draws.shift.to(device)[:, :, None]
    rows = down + torch.arange(height, device=device)
    columns = right + torch.arange(width, device=device)
    if mirrors:
        columns = torch.where(draws.mirrored.to(device)[:, None], columns.flip(1), columns)
    index = torch.arange(len(images), device=device)[:, None, None]
    return images[index, rows[:, :, None], columns[:, None, :]]


LUMA = (0.299, 0.587, 0.114)
"""Share of red, green and blue in how bright a pixel looks (ITU-R BT.601)."""


def recolour(images: Tensor, change: Tensor) -> Tensor:
    """Return uint8 images `(B, H, W, 3)` with other brightness, contrast and saturation.

        y = (1 + c)(x − μ) + μ + 255 b      y' = (1 + s)(y − grey) + grey

    for the mean μ of a picture and the grey value of a pixel, as torchvision's ColorJitter does it,
    but that brightness is added.

    Args:
        change: `(3, B)`, b, c and s.
    """
    brightness, contrast, saturation = change.to(images.device)[:, :, None, None, None]
    pixels: Tensor = images.float()
    mean = pixels.mean((1, 2, 3), keepdim=True)
    pixels = (pixels - mean) * (1 + contrast) + (mean + 255 * brightness)
    grey = (pixels * pixels.new_tensor(LUMA)).sum(-1, keepdim=True)
    pixels = (pixels - grey) * (1 + saturation) + grey
    return pixels.round_().clamp_(0, 255).to(torch.uint8)


def _cut(images: Tensor, corner: Tensor, side: int, mean: tuple[int, int, int]) -> Tensor:
    _, height, width, _ = images.shape
    device = images.device
    sides = torch.tensor([[height], [width]], device=device)
    top, left = (corner.to(device) * sides - side / 2).floor()[:, :, None]
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    inside_rows = (rows >= top) & (rows < top + side)
    inside_columns = (columns >= left) & (columns < left + side)
    hole = (inside_rows[:, :, None] & inside_columns[:, None, :])[..., None]
    return torch.where(hole, torch.tensor(mean, dtype=torch.uint8, device=device), images)
