"""The one tag of EXIF that concerns a network: which way up the picture is.

Read here and not by Pillow, whose EXIF reader parses every tag and answers damage with Python
warnings, which cannot be caught per thread.
"""

import struct

from PIL import Image
from PIL.Image import Transpose

BAD_EXIF = "the EXIF data is damaged, its orientation is ignored"

_TAG = 0x0112
_SHORT = 3
_ENTRY = 12

_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


def read_orientation(exif: bytes) -> int | None:
    """Return 1 … 8, 1 where the tag is absent, or None if `exif` is damaged."""
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    try:
        if order is None:
            return None
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for position in range(start + 2, start + 2 + count * _ENTRY, _ENTRY):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, position)
            if tag == _TAG:
                return value if kind == _SHORT and 1 <= value <= 8 else None
    except struct.error:
        return None
    return 1


def swaps_sides(orientation: int | None) -> bool:
    """Whether the stored width is the height of the upright picture."""
    return orientation in (5, 6, 7, 8)


def upright(image: Image.Image, orientation: int | None) -> Image.Image:
    """Return `image` as it is meant to be seen; the same object where nothing is to be done."""
    method = _UPRIGHT.get(orientation or 1)
    return image if method is None else image.transpose(method)
