"""Any image file, decoded: upright, RGB, of its own size.

Training, verification and serving all decode here: other pixels are another input, and another
input flips spikes. They are defined by the modules `colour` and `orientation`, and by one rule for
JPEG: a picture more than twice as large as needed is decoded at 1/2, 1/4 or 1/8 of its size,
whichever is the smallest that still has twice the pixels needed each way.

Safe in threads: no setting of Pillow and no filter of warnings is touched. Formats are chosen by
content and opened by their own class, never by `Image.open`, which warns about large pictures
before their size can be refused, and tries formats that run other programs. Pillow still emits
Python warnings for odd TIFF tags; where they are made errors the file is refused as `corrupt`. Of a
damaged compressed TIFF libtiff writes a line on standard error that cannot be kept from it.

One kind of damage goes unnoticed: in the middle of a JPEG, while its data last to the end.
"""

import io
import struct
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from snn_runtime.errors import InputError
from snn_runtime.image import jpeg
from snn_runtime.image.colour import DEEP, is_dim, to_rgb
from snn_runtime.image.container import check_complete, damaged, png_lacks_rows, truncated
from snn_runtime.image.markers import survey
from snn_runtime.image.orientation import BAD_ORIENTATION, find_orientation, swaps_sides, upright
from snn_runtime.image.signature import SMALLEST_PICTURE, Kind, claimed_size, identify

_ENDED = (EOFError, IndexError, struct.error)

MIN_SIDE = 8
MAX_ASPECT = 200

SEVERAL_FRAMES = "only the first of its frames is used"
DIM = (
    "all its 16-bit values are below a quarter of white; if its white is less than 65535, scale it"
)

_BITS_PER_SAMPLE = 258


@dataclass(frozen=True)
class Limits:
    """What a picture may cost before it is refused."""

    max_bytes: int = 64 * 2**20
    """Size of the file."""
    max_pixels: int = 50_000_000
    """Width × height, checked before anything is decoded."""
    flags: bool = False
    """Whether the command has flags of these names, for messages to say so."""

    def flag(self, name: str) -> str:
        """Return the flag that a message names: none where there is none."""
        return name if self.flags else ""


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Decoded:
    """The pixels of a picture, upright, RGB, and the warnings about it."""

    image: Image.Image
    warnings: tuple[str, ...] = ()
    size: tuple[int, int] = (0, 0)
    """Width and height in the file, upright; the image's own are smaller where `decode` was told
    what is needed."""


_OPENERS: dict[str, type[ImageFile.ImageFile]] = {
    "PNG": PngImageFile,
    "WebP": WebPImageFile,
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
    "TIFF": TiffImageFile,
}


def decode(
    data: bytes, *, limits: Limits = DEFAULT_LIMITS, needed: tuple[int, int] | None = None
) -> Decoded:
    """Decode an image file's bytes, a large JPEG only as finely as (width, height) `needed` asks.

    Raises:
        InputError: `empty_file`, `not_an_image`, `unsupported_format`, `too_many_pixels`,
            `bad_dimensions`, `truncated`, `unsupported_mode` or `corrupt`, and nothing else.
    """
    kind = _supported(data)
    try:
        return _decode(kind, data, limits, needed)
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise InputError(
            "too_many_pixels", f"has more pixels than there is memory for{_advice(limits)}"
        ) from error
    except Exception as error:  # Pillow raises SyntaxError, ValueError, struct.error and more
        raise _undecodable(kind, error) from error


def _supported(data: bytes) -> Kind:
    if not data:
        raise InputError("empty_file", "is empty, 0 bytes")
    kind = identify(data)
    if kind is not None and kind.supported and len(data) >= SMALLEST_PICTURE:
        return kind
    start = f"begins with {data[:16]!r}"
    if kind is None or kind.supported:
        raise InputError("not_an_image", f"is no image: {len(data):,} bytes, {start}")
    if not kind.picture:
        raise InputError("not_an_image", f"is no image but looks like {kind.name}: {start}")
    raise InputError("unsupported_format", f"is {kind.name}; convert it to JPEG or PNG")


def _decode(kind: Kind, data: bytes, limits: Limits, needed: tuple[int, int] | None) -> Decoded:
    if kind.name == "JPEG":
        return _decode_jpeg(data, limits, needed)
    if claimed := claimed_size(data):
        check_size(claimed, limits)
    check_complete(kind.name, data)
    image = _OPENERS[kind.name](io.BytesIO(data))
    check_size(image.size, limits)
    image.load()
    if isinstance(image, PngImageFile) and _ends_black(image) and png_lacks_rows(data):
        raise truncated(kind.name, "its last rows are missing")
    return _upright(image, _bits(image, data))


def of_pillow(image: Image.Image, limits: Limits = DEFAULT_LIMITS) -> Decoded:
    """Return a picture that Pillow has opened or somebody has made, as if it had been a file.

    Raises:
        InputError: `too_many_pixels`, `bad_dimensions`, `unsupported_mode` or `corrupt`.
    """
    check_size(image.size, limits)
    try:
        image.load()
        return _upright(image, 16 if image.mode in DEEP else 8)
    except InputError:
        raise
    except Exception as error:  # as of a file
        raise damaged("Pillow's image", _said(error)) from error


def _upright(image: Image.Image, bits: int) -> Decoded:
    # TIFF is turned by Pillow itself.
    is_tiff = isinstance(image, TiffImageFile)
    orientation, bad = (1, False) if is_tiff else find_orientation(image.info)
    remarks = {
        BAD_ORIENTATION: bad,
        SEVERAL_FRAMES: _has_more_frames(image),
        DIM: is_dim(image, bits),
    }
    rgb = upright(to_rgb(image), orientation)
    return Decoded(rgb, tuple(remark for remark, applies in remarks.items() if applies), rgb.size)


def _decode_jpeg(data: bytes, limits: Limits, needed: tuple[int, int] | None) -> Decoded:
    layout = survey(data)
    check_size(layout.size, limits)
    orientation, bad = find_orientation(layout.info)
    turned = swaps_sides(orientation)
    if needed and turned:
        needed = needed[::-1]
    image, remarks = jpeg.decode(data, layout, needed)
    rgb, size = upright(to_rgb(image), orientation), layout.size[::-1] if turned else layout.size
    return Decoded(rgb, (BAD_ORIENTATION,) * bad + remarks, size)


def _advice(limits: Limits) -> str:
    flag = limits.flag("--max-pixels")
    return f" ({flag})" if flag else "; make it smaller"


def check_size(size: tuple[int, int], limits: Limits) -> None:
    """Raises: InputError: `too_many_pixels` or `bad_dimensions`, for (width, height)."""
    width, height = size
    if width * height > limits.max_pixels:
        raise InputError(
            "too_many_pixels",
            f"has {width} x {height} = {width * height:,} pixels, the limit is "
            f"{limits.max_pixels:,}{_advice(limits)}",
        )
    if min(size) < MIN_SIDE or max(size) > MAX_ASPECT * min(size):
        raise InputError(
            "bad_dimensions",
            f"is {width} x {height} pixels; each side must have {MIN_SIDE} or more, and the long "
            f"one at most {MAX_ASPECT} times the short one",
        )


def _ends_black(image: Image.Image) -> bool:
    # Two rows: of an interlaced picture the last may be there and the one before it not.
    rows = np.asarray(image.crop((0, image.height - 2, *image.size)))
    return not all(row.any() for row in rows)


def _bits(image: ImageFile.ImageFile, data: bytes) -> int:
    """Return how many bits a sample of a PNG or a TIFF has."""
    if isinstance(image, PngImageFile):
        return data[24]
    if isinstance(image, TiffImageFile):
        return int(max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))))
    return 8


def _has_more_frames(image: Image.Image) -> bool:
    # Not `n_frames`: it walks through all of them, and a hostile file can hold millions.
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:
        return True  # something follows that is no frame


def _undecodable(kind: Kind, error: Exception) -> InputError:
    said = _said(error)
    # Pillow wraps what reading past the end raised in a SyntaxError.
    ended = isinstance(error, _ENDED) or isinstance(error.__cause__, _ENDED)
    return (truncated if ended or "runcated" in said else damaged)(kind.name, said)


def _said(error: Exception) -> str:
    # What Pillow says may quote the file: make it one short printable line.
    return ascii(" ".join(str(error).split())[:120])[1:-1] or type(error).__name__
