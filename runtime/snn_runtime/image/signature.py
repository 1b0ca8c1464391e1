"""What a file is by its first bytes; its name proves nothing."""

import struct
from dataclasses import dataclass

SMALLEST_PICTURE = 26
"""Bytes: no file of a supported format is shorter."""


@dataclass(frozen=True)
class Kind:
    """A format by its name, and how much use it is here."""

    name: str
    supported: bool = False
    picture: bool = True
    """Whether it is a picture at all: HEIC is one we cannot read, HTML is none."""


# Two-letter magic is weak, so a BMP also has to show a known length of its second header.
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)

_SUPPORTED = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
)

_PICTURES = (
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"II+\0", "BigTIFF"),
    (b"MM\0+", "BigTIFF"),
    (b"%!PS", "EPS"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"8BPS", "Photoshop"),
    (b"icns", "ICNS"),
    (b"\0\0\1\0", "ICO"),
    (b"SIMPLE  =", "FITS"),
    (b"v/1\1", "OpenEXR"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    *((b"P%d%c" % (n, c), "Netpbm") for n in range(1, 8) for c in b" \n\r\t"),
)

_OTHERS = (
    (b"%PDF", "PDF"),
    (b"PK\3\4", "zip archive"),
    (b"PK\5\6", "zip archive"),
    (b"\x1f\x8b", "gzip archive"),
    (b"BZh", "bzip2 archive"),
    (b"7z\xbc\xaf\x27\x1c", "7z archive"),
    (b"\xfd7zXZ\0", "xz archive"),
    (b"Rar!", "rar archive"),
    (b"\x7fELF", "program"),
    (b"\x1aE\xdf\xa3", "Matroska video"),
    (b"RIFF", "sound or video"),
)

_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys(
    (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), "HEIC"
)


def identify(data: bytes) -> Kind | None:
    """Return what `data` is, or None if nothing known begins like that."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Kind("WebP", supported=True)
    if data[:2] == b"BM" and _word(data, 14) in _BMP_HEADERS:
        return Kind("BMP", supported=True)
    for magic, name in _SUPPORTED:
        if data.startswith(magic):
            return Kind(name, supported=True)
    for magic, name in _PICTURES:
        if data.startswith(magic):
            return Kind(name)
    if data[4:8] == b"ftyp":
        name = _BRANDS.get(data[8:12], "")
        return Kind(name or "MP4 video", picture=bool(name))
    for magic, name in _OTHERS:
        if data.startswith(magic):
            return Kind(name, picture=False)
    if data[257:262] == b"ustar":
        return Kind("tar archive", picture=False)
    return _markup(data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower())


def claimed_size(data: bytes) -> tuple[int, int] | None:
    """Return the (width, height) that the header of a PNG or a WebP claims.

    libwebp allocates the canvas when the file is opened, so Pillow's answer would come too late.
    """
    if data[12:16] == b"IHDR" and len(data) >= 24:
        return struct.unpack_from(">II", data, 16)
    chunk = data[12:16]
    if chunk == b"VP8X" and len(data) >= 30:
        return 1 + _word(data[24:27] + b"\0"), 1 + _word(data[27:30] + b"\0")
    if chunk == b"VP8L" and len(data) >= 25:
        bits = _word(data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 " and len(data) >= 30:
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _markup(text: bytes) -> Kind | None:
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return Kind("HTML page", picture=False)
    if text.startswith((b"<svg", b"<?xml", b"<!doctype svg", b"<!--")):
        return Kind("SVG") if b"<svg" in text else Kind("XML or HTML", picture=False)
    return None


def _word(data: bytes, offset: int = 0) -> int:
    return int.from_bytes(data[offset : offset + 4], "little")
