"""A random part of a picture in place of all of it, for pictures that are decoded from a disk."""

import math

import numpy as np
import numpy.typing as npt

TRIES = 10
"""To find a random window that lies in the picture, before its middle is taken."""
SMALLEST_AREA = 0.08
LARGEST_ASPECT = 4 / 3


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
