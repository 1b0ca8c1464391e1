"""The ways in which photographs are shrunk, as matrices.

A network learns the look of the filter that shrank its training pictures. Users shrink with other
ones before they ask it. Shrinking from m pixels to n is linear along each axis,

    x' = R x Rᵀ      R = S U      U: n → m enlarges (bicubic)      S: m → n shrinks by the filter

so a picture looks as if it had been shrunk by another filter after one product from each side. S
and U are what Pillow does to the columns of the identity. OpenCV's default takes no mean over the
pixels it passes over: it interpolates between the two nearest ones.
"""

from functools import cache
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos", "opencv")
SCALES = (1.5, 2.3, 4.0)
"""How many times as large the pictures were."""
WAYS = tuple(product(FILTERS, SCALES))
"""(filter, scale)"""

Matrix = npt.NDArray[np.float64]


def shrunk(identity: Matrix, size: int, name: str) -> Matrix:
    """Return S `(size, m)`: what a filter of `FILTERS` makes of m pixels."""
    if name != "opencv":
        return _resized(identity, size, Image.Resampling[name.upper()])
    scale = len(identity) / size
    place = ((np.arange(size) + 0.5) * scale - 0.5).clip(0, len(identity) - 1)
    below = np.floor(place).astype(int)
    above = np.minimum(below + 1, len(identity) - 1)
    share = (place - below)[:, None]
    interpolated: Matrix = identity[below] * (1 - share) + identity[above] * share
    return interpolated


def matrix(size: int, name: str, scale: float) -> Matrix:
    """Return R `(size, size)` for a filter and how many times as large the picture was."""
    enlarged = _resized(np.eye(size), round(size * scale), Image.Resampling.BICUBIC)
    return shrunk(np.eye(len(enlarged)), size, name) @ enlarged


@cache
def matrices(size: int, device: torch.device) -> Tensor:
    """Return R for each of `WAYS`, float32 `(ways, size, size)`."""
    ways = np.stack([matrix(size, name, scale) for name, scale in WAYS])
    return torch.tensor(ways, dtype=torch.float32, device=device)


def _resized(identity: Matrix, size: int, method: Image.Resampling) -> Matrix:
    plane = Image.fromarray(identity.astype(np.float32))
    return np.asarray(plane.resize((identity.shape[1], size), method), np.float64)


def resample(images: Tensor, way: Tensor) -> Tensor:
    """Return uint8 images `(B, H, W, 3)`, each resampled in its way; −1 leaves it as it is."""
    chosen = (way >= 0).nonzero()[:, 0]
    if not len(chosen):
        return images
    device = images.device
    ways, chosen = way[chosen].to(device), chosen.to(device)
    down, across = (matrices(side, device)[ways] for side in images.shape[1:3])
    return images.index_copy(0, chosen, applied(down, images[chosen], across))


def applied(down: Tensor, images: Tensor, across: Tensor) -> Tensor:
    """Return R x Rᵀ for uint8 images `(B, H, W, 3)`.

    Args:
        down: R along a column, float32 `(B, H, H)`, or `(1, H, H)` for all images.
        across: R along a row, `(B, W, W)` or `(1, W, W)`.
    """
    pixels = torch.einsum("bij,bjkc->bikc", down, images.float())
    pixels = torch.einsum("blk,bikc->bilc", across, pixels)
    return pixels.round_().clamp_(0, 255).to(torch.uint8)
