"""What the networks look at: pictures of a folder, or random ones as smooth as photographs."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from snn_runtime import image as pictures
from snn_runtime.errors import InputError
from snn_runtime.graph import Image
from snn_runtime.infer.sources import find

MEAN, CONTRAST = 118.0, 55.0
"""Of a photograph's pixels, of 255."""
FALL = 1.6
"""Amplitudes fall as 1/f to this power: neighbours are then as alike as in small photographs."""
GREY = 0.9
"""Share of the three colours' amplitude that they have in common."""


def random_scenes(image: Image, count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Return uint8 `[count, height, width, 3]` whose detail is as faint as in photographs.

    Noise would average out in the first layer and leave nothing for the others to tell apart.
    """
    rng = np.random.default_rng(seed)
    rows = np.fft.fftfreq(image.height)[:, None]
    columns = np.fft.rfftfreq(image.width)[None, :]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf  # no constant part: the mean is set below
    shape = (count, image.height, image.width)
    planes = []
    for _ in range(4):
        spectrum = np.fft.rfft2(rng.standard_normal(shape)) / frequency**FALL
        plane = np.fft.irfft2(spectrum, shape[1:])
        planes.append(plane / plane.std(axis=(1, 2), keepdims=True))
    common, *colours = planes
    mixed = [GREY * common + np.sqrt(1 - GREY**2) * colour for colour in colours]
    pixels = MEAN + CONTRAST * np.stack(mixed, axis=-1)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def folder_scenes(image: Image, folder: Path, count: int) -> npt.NDArray[np.uint8]:
    """Return the first `count` pictures of a folder as the network takes them.

    Raises:
        InputError: `no_images`, or what is wrong with the first that cannot be used.
    """
    batch = []
    for source in find([str(folder)]):
        if source.error is not None:
            raise InputError(source.error.code, f"{folder}: {source.error.message}")
        if source.skipped:
            continue
        batch.append(pictures.load(source.name, image.height, image.width, image.fit)[0])
        if len(batch) == count:
            break
    if not batch:
        raise InputError("no_images", f"{folder}: no supported images in this folder")
    return np.stack(batch)
