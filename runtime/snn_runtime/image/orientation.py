"""Which way up a picture is: one number, 1 … 8, that stands in one of several places.

    EXIF     in its first directory; in PNG also as hexadecimal text, "Raw profile type exif"
    XMP      the attribute or element tiff:Orientation; asked where EXIF says nothing

This is Pillow's order. Zero is written by software that does not know, and means upright as the
absence of the tag does; any other number, and a tag that holds none, is damage. Directories behind
the first belong to thumbnails. Turning TIFF is left to Pillow, which keeps the same order.

Read here and not by Pillow, whose EXIF reader parses every tag and answers damage with Python
warnings, which cannot be caught per thread.
"""

import re
import struct
from collections.abc import Mapping
from typing import Any

from PIL import Image
from PIL.Image import Transpose

BAD_ORIENTATION = "the EXIF or XMP data is damaged, its orientation is ignored"

_TAG = 0x0112
_ENTRY = 12
_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
"""Sizes of EXIF's integer types."""

_RAW_PROFILE = "Raw profile type exif"
_IN_XMP = re.compile(rb"""tiff:Orientation(?:\s*=\s*["']|>)\s*([0-9])(?![0-9])""")

_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


def find_orientation(info: Mapping[Any, object]) -> tuple[int, bool]:
    """Return what Pillow's `info` says of the orientation, 1 … 8, and whether it is damaged."""
    exif, profile = info.get("exif"), info.get(_RAW_PROFILE)
    if not isinstance(exif, bytes) and isinstance(profile, str):
        exif = _unpacked(profile)
    value = _in_exif(exif) if isinstance(exif, bytes) else None
    damaged = value is not None and not 0 <= value <= 8
    if value is None or damaged:
        value = _in_xmp(info.get("XML:com.adobe.xmp") or info.get("xmp"))
    return (value if 1 <= value <= 8 else 1), damaged or value > 8


def swaps_sides(orientation: int) -> bool:
    """Whether the stored width is the height of the upright picture."""
    return orientation >= 5


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return `image` as it is meant to be seen; the same object where nothing is to be done."""
    method = _UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)


def _in_exif(exif: bytes) -> int | None:
    """Return the tag's value, None where it is absent, or -1 if it or `exif` is damaged."""
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    try:
        if order is None:
            return -1
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for position in range(start + 2, start + 2 + count * _ENTRY, _ENTRY):
            tag, kind, values = struct.unpack_from(order + "HHI", exif, position)
            if tag == _TAG and (kind not in _TYPES or values != 1):
                return -1
            if tag == _TAG:
                return int(struct.unpack_from(order + _TYPES[kind], exif, position + 8)[0])
    except struct.error:
        return -1
    return None


def _in_xmp(xmp: object) -> int:
    text = xmp.encode(errors="replace") if isinstance(xmp, str) else xmp
    found = _IN_XMP.search(text) if isinstance(text, bytes) else None
    return int(found[1]) if found else 1


def _unpacked(profile: str) -> bytes:
    """Return the bytes of a profile as ImageMagick writes it: a name, a length, hexadecimal."""
    try:
        return bytes.fromhex("".join(profile.split("\n")[3:]))
    except ValueError:
        return b""
