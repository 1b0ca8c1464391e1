"""A picture in whatever form somebody has it, to the image that a network takes.

Preprocessing by hand is where users go wrong: another resampling is another input. So training,
verification and serving all prepare pictures here. A picture of the right size passes untouched.
"""

import io
import os
from typing import Any, BinaryIO, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from snn_runtime import door
from snn_runtime.errors import InputError
from snn_runtime.fit import Fit
from snn_runtime.image.picture import DEFAULT_LIMITS, Limits, check_size, decode, of_pillow

Pixels: TypeAlias = npt.NDArray[np.uint8]
"""RGB `[height, width, 3]`."""
Prepared: TypeAlias = tuple[Pixels, tuple[str, ...]]
"""An image, and the warnings about the picture that it was."""
PictureFile: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO | Image.Image
Picture: TypeAlias = PictureFile | npt.NDArray[np.uint8]
"""A path, the bytes of a file, an open binary file, a PIL image, or uint8 `[H, W, 3]`."""
Colour: TypeAlias = Literal["rgb", "bgr"]
"""Order of an array's channels."""
Region: TypeAlias = tuple[int, int, int, int]
"""Left, top, width and height, in pixels of the upright picture."""


def is_batch(picture: object) -> bool:
    """Whether it is several pictures: a list, a tuple, or an array of four dimensions."""
    return isinstance(picture, list | tuple) or getattr(picture, "ndim", 0) == 4


def prepare(
    picture: Any,
    height: int,
    width: int,
    fit: Fit = "crop",
    *,
    colour: Colour = "rgb",
    limits: Limits = DEFAULT_LIMITS,
    region: Region | None = None,
) -> Prepared:
    """Return the image of one `Picture`, `[height, width, 3]`, and the warnings about it.

    Args:
        region: what of the picture is looked at. A JPEG is then decoded at its full size.

    Raises:
        InputError: `bad_array`, `bad_picture`, `bad_region`, or one of the codes of
            `door.open_file` and `decode`; the message begins with the path, where it is one.
    """
    if colour not in ("rgb", "bgr"):
        raise InputError("bad_array", f"colour is {colour!r}, expected 'rgb' or 'bgr'")
    if isinstance(picture, np.ndarray):
        whole = _of_array(picture, (width, height), colour, limits)
        return fit_to(_cut(whole, region, limits), height, width, fit), ()
    if colour != "rgb":
        raise InputError("bad_array", f"colour is {colour!r}, which is for arrays only")
    try:
        if isinstance(picture, Image.Image):
            decoded = of_pillow(picture, limits)
        else:
            needed = None if region else (width, height)
            decoded = decode(_bytes(picture, limits), limits=limits, needed=needed)
        image = _cut(decoded.image, region, limits)
    except InputError as error:
        if isinstance(picture, str | os.PathLike):
            raise InputError(error.code, f"{os.fspath(picture)}: {error.message}") from error
        raise
    return fit_to(image, height, width, fit), decoded.warnings


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


def read_file(path: str | os.PathLike[str], limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Return the bytes of a regular file; a pipe or a device is refused, not waited for.

    Raises:
        InputError: see `door.open_file`; the message leaves the path to the caller.
    """
    return door.read(path, limits.max_bytes, limits.flag("--max-bytes"))


def read_stream(stream: door.Readable, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Return the rest of `stream`, refusing rather than reading past the limit."""
    return door.read_stream(stream, limits.max_bytes, limits.flag("--max-bytes"))


def check_batch(images: npt.NDArray[np.uint8], height: int, width: int) -> None:
    """Raises: InputError: `bad_array`: these are not uint8 `[N, height, width, 3]`."""
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        kind = getattr(images, "dtype", type(images).__name__)
        raise InputError("bad_array", f"images are {kind}, expected a numpy array of uint8")
    if images.ndim != 4 or images.shape[1:] != (height, width, 3):
        raise InputError(
            "bad_array", f"images have shape {images.shape}, expected (N, {height}, {width}, 3)"
        )


def _cut(image: Image.Image, region: Region | None, limits: Limits) -> Image.Image:
    if region is None:
        return image
    left, top, width, height = region
    if left + width > image.width or top + height > image.height or min(left, top) < 0:
        raise InputError(
            "bad_region",
            f"is {image.width} x {image.height} pixels, and the region {left},{top},{width},"
            f"{height} (left, top, width, height) reaches beyond",
        )
    check_size((width, height), limits)
    return image.crop((left, top, left + width, top + height))


def _centred(size: tuple[int, int], width: int, height: int) -> tuple[float, float, float, float]:
    across, down = size
    if across * height > down * width:
        side = (across - down * width / height) / 2
        return side, 0, across - side, down
    side = (down - across * height / width) / 2
    return 0, side, across, down - side


def _bytes(picture: Any, limits: Limits) -> bytes:
    if isinstance(picture, bytes | bytearray | memoryview):
        return bytes(picture)
    if isinstance(picture, str | os.PathLike):
        return read_file(picture, limits)
    if hasattr(picture, "read") and not isinstance(picture, io.TextIOBase):
        return read_stream(picture, limits)
    raise InputError(
        "bad_picture",
        f"the picture is {type(picture).__name__}, expected a path, bytes, a file open in binary "
        "(rb), a PIL image, a numpy array, or a list of these",
    )


def _remedy(array: npt.NDArray[Any]) -> str:
    if array.ndim == 3 and array.shape[0] == 3 != array.shape[2]:
        return "; array.transpose(1, 2, 0) puts the channels last"
    if array.dtype.kind == "f":
        return "; (255 * array).round().astype(numpy.uint8) if it is 0 to 1"
    return "; numpy.stack([grey] * 3, axis=2) where it is grey" if array.ndim == 2 else ""


def _of_array(
    array: npt.NDArray[Any], needed: tuple[int, int], colour: Colour, limits: Limits
) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise InputError(
            "bad_array",
            f"the picture is an array of {array.dtype}, {array.shape}, expected uint8, "
            f"(height, width, 3){_remedy(array)}",
        )
    size = array.shape[1], array.shape[0]
    if size != needed:
        check_size(size, limits)
    pixels = np.ascontiguousarray(array[..., ::-1] if colour == "bgr" else array)
    return Image.fromarray(pixels, "RGB")
