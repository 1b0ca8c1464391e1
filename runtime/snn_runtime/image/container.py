"""Whether a file is all there and in its right mind, where its format tells and Pillow asks not.

PNG has a checksum on every chunk and an end marker; Pillow reads past both. RIFF, the envelope of
WebP, states its length. TIFF may keep its directory at the very end. JPEG has modules of its own,
`markers` and `jpeg`. The rest Pillow finds out itself when the pixels run dry.

What Pillow reads part by part in Python is bounded in parts: a file of 64 MiB could keep it busy
for a minute.
"""

import struct
import zlib

from snn_runtime.errors import InputError

_ENTRY = 12
_PIECE = 2**20
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PLAIN = ((0, 0, 1, 1),)
_ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
"""Passes of an interlaced picture: the first pixel's column and row, and the steps to the next."""
_ANCILLARY = 0x20
# Pillow takes 3 µs for a chunk of PNG, 0.3 µs for a block of GIF, 8 µs for a strip of TIFF and
# 0.3 µs for a byte of run-length BMP. A row a strip, or tiles of 16 x 16, stay below.
_MOST_CHUNKS = 100_000
_MOST_STRIPS = 200_000
_MOST_RUN_LENGTH_BYTES = 8 * 2**20
_STRIP_TAGS = frozenset({273, 279, 324, 325})


def check_complete(name: str, data: bytes) -> None:
    """Refuse the file of format `name` if it is cut short, has a wrong checksum or endless parts.

    Raises:
        InputError: `truncated`, `corrupt` or, for run-length BMP, `too_many_bytes`.
    """
    if name == "PNG":
        end_of_png(data)
    elif name == "WebP":
        stated = end_of_webp(data)
        if stated > len(data):
            raise truncated(name, f"{len(data):,} of {stated:,} bytes")
    elif name == "TIFF":
        _check_tiff(data)
    elif name == "GIF":
        _check_gif(data)
    elif name == "BMP":
        _check_bmp(data)


def png_lacks_rows(data: bytes) -> bool:
    """Whether a PNG, checked and decoded, unpacks to less than its header claims.

    It costs as much as decoding. Pillow leaves black what is missing.
    """
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    depth, missing = bits * _CHANNELS[colour], 0
    for left, top, across, down in _ADAM7 if data[28] else _PLAIN:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        missing += rows * (1 + (columns * depth + 7) // 8) if columns else 0
    unpacker, position = zlib.decompressobj(), 8
    while missing > 0 and data[position + 4 : position + 8] != b"IEND":
        behind = position + 8 + int.from_bytes(data[position : position + 4], "big")
        part = data[position + 8 : behind] if data[position + 4 : position + 8] == b"IDAT" else b""
        while part and missing > 0:
            missing -= len(unpacker.decompress(part, _PIECE))
            part = unpacker.unconsumed_tail
        position = behind + 4
    return missing > len(unpacker.flush())


def end_of_webp(data: bytes) -> int:
    """Return where a WebP says that it ends."""
    return 8 + int.from_bytes(data[4:8], "little")


def truncated(name: str, how: str) -> InputError:
    return InputError("truncated", f"is a {name} that ends too early: {how}")


def damaged(name: str, how: str) -> InputError:
    return InputError("corrupt", f"is a damaged {name}: {how}")


def end_of_png(data: bytes) -> int:
    """Return where a PNG ends, having checked all its chunks.

    Raises:
        InputError: `truncated` or `corrupt`.
    """
    position, view = 8, memoryview(data)
    for _ in range(_MOST_CHUNKS):
        if position + 12 > len(data):
            break
        length = int.from_bytes(data[position : position + 4], "big")
        kind, end = data[position + 4 : position + 8], position + 8 + length
        if end + 4 > len(data):
            break
        stated = int.from_bytes(data[end : end + 4], "big")
        # Chunks a reader may ignore may also be wrong; their names begin with a small letter.
        if not kind[0] & _ANCILLARY and stated != zlib.crc32(view[position + 4 : end]):
            raise damaged("PNG", f"wrong checksum in {kind!r}")
        position = end + 4
        if kind == b"IEND":
            return position
    else:
        raise damaged("PNG", f"more than {_MOST_CHUNKS:,} chunks")
    raise truncated("PNG", "its end marker is missing")


def _check_tiff(data: bytes) -> None:
    order = "<" if data.startswith(b"II") else ">"
    try:
        (start,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, start)
        entries = data[start + 2 : start + 2 + count * _ENTRY]
        struct.unpack_from("4x", data, start + 2 + count * _ENTRY)
    except struct.error as error:
        raise truncated("TIFF", "its directory is missing") from error
    for tag, _, values, _ in struct.iter_unpack(order + "HHII", entries):
        if tag in _STRIP_TAGS and values > _MOST_STRIPS:
            raise damaged("TIFF", f"{values:,} strips or tiles, the limit is {_MOST_STRIPS:,}")


def _check_gif(data: bytes) -> None:
    """Walk to the second picture, which is as far as Pillow goes."""
    most = _MOST_CHUNKS + len(data) // 128  # pixels come in blocks of 255
    position, images, blocks = 13 + _colours(data[10]), 0, 0
    try:
        while data[position] != 0x3B and images < 2:
            if data[position] == 0x2C:
                images += 1
                position += 11 + _colours(data[position + 9])
            elif data[position] == 0x21:
                position += 2
            while True:
                size, blocks = data[position], blocks + 1
                position += 1 + size
                if blocks > most:
                    raise damaged("GIF", f"more than {most:,} blocks")
                if not size:
                    break
    except IndexError:
        return  # Pillow says whether pixels are missing


def _colours(flags: int) -> int:
    """Return the bytes of a GIF's table of colours."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _check_bmp(data: bytes) -> None:
    if data[14] >= 40 and data[30] in (1, 2) and len(data) > _MOST_RUN_LENGTH_BYTES:
        raise InputError(
            "too_many_bytes",
            f"is a run-length BMP of {len(data):,} bytes, the limit for these is "
            f"{_MOST_RUN_LENGTH_BYTES:,}; save it as PNG",
        )
