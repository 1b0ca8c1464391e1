"""Random images as smooth as photographs: what engines are timed with, given no pictures."""

import numpy as np
import numpy.typing as npt

MEAN, CONTRAST = 118.0, 55.0
"""Standard deviation of a photograph's pixels, which go to 255."""
FALL = 1.6
"""Amplitudes fall as 1/f to this power: neighbours are then as alike as in small photographs."""
GREY = 0.9
"""Fraction of the three colours' amplitude that they have in common."""


def random_scenes(height: int, width: int, count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Return uint8 `[count, height, width, 3]` whose detail is as faint as in photographs.

    Noise would average out in the first layer and leave nothing for the others to tell apart.
    """
    rng = np.random.default_rng(seed)
    rows = np.fft.fftfreq(height)[:, None]
    columns = np.fft.rfftfreq(width)[None, :]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf  # no constant part: the mean is set below
    shape = (count, height, width)
    planes = []
    for _ in range(4):
        spectrum = np.fft.rfft2(rng.standard_normal(shape)) / frequency**FALL
        plane = np.fft.irfft2(spectrum, shape[1:])
        planes.append(plane / plane.std(axis=(1, 2), keepdims=True))
    common, *colours = planes
    mixed = [GREY * common + np.sqrt(1 - GREY**2) * colour for colour in colours]
    pixels = MEAN + CONTRAST * np.stack(mixed, axis=-1)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
