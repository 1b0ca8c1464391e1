"""A picture of any shape to the height and width that a network takes."""

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels: TypeAlias = npt.NDArray[np.uint8]
Fit: TypeAlias = Literal["crop", "stretch"]


def fit_to(image: Image.Image, height: int, width: int, fit: Fit = "crop") -> Pixels:
    """Return an RGB picture as `[height, width, 3]`.

    `stretch` resamples all of it, `crop` the largest centred rectangle of the shape wanted (as if
    all were resampled and cut afterwards: at its border the filter looks beyond it). The filter is
    Pillow's antialiased bilinear: it does not overshoot, so it invents no extremes. A picture of
    the right size is handed through untouched.
    """
    if image.size != (width, height):
        box = _centred(image.size, width, height) if fit == "crop" else None
        image = image.resize((width, height), Image.Resampling.BILINEAR, box=box)
    return np.array(image, dtype=np.uint8)


def _centred(size: tuple[int, int], width: int, height: int) -> tuple[float, float, float, float]:
    across, down = size
    if across * height > down * width:
        side = (across - down * width / height) / 2
        return side, 0, across - side, down
    side = (down - across * height / width) / 2
    return 0, side, across, down - side
