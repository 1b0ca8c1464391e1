"""Pictures good and bad, made in code: what people and attackers feed to a program that reads."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

SHAPE = (24, 32)
"""Height and width of most of them."""


def gradient(height: int = SHAPE[0], width: int = SHAPE[1]) -> npt.NDArray[np.uint8]:
    """A smooth picture in which every flip, turn and channel swap shows."""
    rows, columns = np.mgrid[:height, :width]
    red, green = 255 * columns / width, 255 * rows / height
    return np.stack([red, green, (red + 2 * green) / 3], axis=-1).astype(np.uint8)


def picture(height: int = SHAPE[0], width: int = SHAPE[1]) -> Image.Image:
    return Image.fromarray(gradient(height, width))


def encoded(image: Image.Image, form: str, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **settings)
    return buffer.getvalue()


def frames(form: str, count: int = 3) -> bytes:
    images = [picture().rotate(40 * n) for n in range(count)]
    return encoded(images[0], form, save_all=True, append_images=images[1:], lossless=True)


def exif(orientation: int, *, order: str = "<", kind: int = 3, entries: int = 1) -> bytes:
    """An EXIF block of one tag, claiming to have `entries`."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    return (
        b"Exif\0\0"
        + head
        + struct.pack(order + "IHHHIHHI", 8, entries, 0x0112, kind, 1, orientation, 0, 0)
    )


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(
    width: int, height: int, rows: bytes, *, bits: int = 8, colour: int = 2, **extra: bytes
) -> bytes:
    """A PNG from its filtered rows; `extra` are chunks put before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *((name.encode(), body) for name, body in extra.items())]
    chunks += [(b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, body) for name, body in chunks)


def claims(width: int, height: int) -> bytes:
    """A PNG of 70 bytes that claims to be very large."""
    return png(width, height, b"\0" * 8)


def one_bit(side: int) -> bytes:
    """A small file of a large picture: one bit a pixel, all the same."""
    return png(side, side, bytes((side + 7) // 8 + 1) * side, bits=1, colour=0)


def text_bomb() -> bytes:
    """A PNG whose comments unpack to 100 MB."""
    comment = b"c\0\0" + zlib.compress(bytes(2**20), 9)
    data = png(8, 8, bytes(25 * 8))
    return data[:33] + chunk(b"zTXt", comment) * 100 + data[33:]


def adobe_ycck() -> bytes:
    """A CMYK JPEG relabelled as YCCK, which changes what its numbers mean."""
    data = encoded(picture().convert("CMYK"), "JPEG", quality=100)
    transform = data.index(b"Adobe") + 11
    return data[:transform] + b"\2" + data[transform + 1 :]


def without_adobe(data: bytes) -> bytes:
    start = data.index(b"\xff\xee")
    (length,) = struct.unpack_from(">H", data, start + 2)
    return data[:start] + data[start + 2 + length :]


NOT_PICTURES: dict[str, bytes] = {
    "html": b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>",
    "xml": b"<?xml version='1.0'?><note>no picture in here at all</note>",
    "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj",
    "zip": b"PK\3\4\x14\0\0\0\0\0" + bytes(64),
    "tar": b"cat.jpg".ljust(257, b"\0") + b"ustar\0" + bytes(512),
    "gzip": b"\x1f\x8b\x08\0" + bytes(64),
    "text": b"BMW is a brand of cars, and this is no bitmap",
    "video": b"\0\0\0\x20ftypisom" + bytes(64),
    "sound": b"RIFF\x24\0\0\0WAVEfmt " + bytes(64),
}

UNSUPPORTED: dict[str, bytes] = {
    "HEIC": b"\0\0\0\x18ftypheic" + bytes(64),
    "AVIF": b"\0\0\0\x1cftypavif" + bytes(64),
    "SVG": b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'></svg>",
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 24\nshowpage\n",
    "FITS": b"SIMPLE  =                    T".ljust(2880),
    "ICNS": b"icns\0\0\0\x10ic07\0\0\0\x08",
    "ICO": b"\0\0\1\0\1\0" + bytes(32),
    "JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(32),
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(32),
    "Photoshop": b"8BPS\0\1" + bytes(32),
    "Netpbm": b"P6\n32 24\n255\n" + bytes(3 * 32 * 24),
    "BigTIFF": b"II+\0\x08\0\0\0" + bytes(32),
}
