"""A picture in whatever form somebody has it, to the image that a network takes.

Preprocessing by hand is where users go wrong: another resampling is another input. So every form
ends in the functions that files go through, and a picture of the right size passes untouched.
"""

import io
import os
from collections.abc import Sequence
from typing import Any, BinaryIO, Literal, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt
from PIL import Image

from snn_runtime.errors import InputError
from snn_runtime.image.fit import Fit, Pixels, fit_to
from snn_runtime.image.intake import DEFAULT_LIMITS, Limits, read_stream
from snn_runtime.image.picture import check_size, load, of_pillow, to_array

PictureFile: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO | Image.Image
Picture: TypeAlias = PictureFile | npt.NDArray[np.uint8]
"""A path, the bytes of a file, an open binary file, a PIL image, or uint8 `[H, W, 3]`."""
Colour: TypeAlias = Literal["rgb", "bgr"]
"""Order of an array's channels."""


def is_batch(picture: Picture | Sequence[Picture]) -> TypeGuard[Sequence[Picture]]:
    """Whether it is several pictures: a list, a tuple, or an array of four dimensions."""
    return isinstance(picture, list | tuple) or getattr(picture, "ndim", 0) == 4


def read(
    picture: Any,
    height: int,
    width: int,
    fit: Fit = "crop",
    *,
    colour: Colour = "rgb",
    limits: Limits = DEFAULT_LIMITS,
) -> tuple[Pixels, tuple[str, ...]]:
    """Return the pixels of one `Picture`, `[height, width, 3]`, and the warnings about it.

    Raises:
        InputError: `bad_array`, `bad_picture`, or one of `load`.
    """
    if colour not in ("rgb", "bgr"):
        raise InputError("bad_array", f"colour is {colour!r}, expected 'rgb' or 'bgr'")
    if isinstance(picture, np.ndarray):
        return _of_array(picture, height, width, fit, colour, limits), ()
    if colour != "rgb":
        raise InputError("bad_array", f"colour is {colour!r}, which is for arrays only")
    if isinstance(picture, str | os.PathLike):
        return load(picture, height, width, fit, limits=limits)
    if isinstance(picture, bytes | bytearray | memoryview):
        return to_array(bytes(picture), height, width, fit, limits=limits)
    if isinstance(picture, Image.Image):
        found = of_pillow(picture, limits)
        return fit_to(found.image, height, width, fit), found.warnings
    if hasattr(picture, "read") and not isinstance(picture, io.TextIOBase):
        return to_array(read_stream(picture, limits), height, width, fit, limits=limits)
    raise InputError(
        "bad_picture",
        f"is {type(picture).__name__}, expected a path, bytes, a file open in binary, a PIL image "
        "or a numpy array",
    )


def _of_array(
    array: npt.NDArray[Any], height: int, width: int, fit: Fit, colour: Colour, limits: Limits
) -> Pixels:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise InputError(
            "bad_array",
            f"is an array of {array.dtype}, {array.shape}, expected uint8, (height, width, 3)",
        )
    if array.shape[:2] != (height, width):
        check_size((array.shape[1], array.shape[0]), limits)
    pixels = np.ascontiguousarray(array[..., ::-1] if colour == "bgr" else array)
    return fit_to(Image.fromarray(pixels, "RGB"), height, width, fit)
