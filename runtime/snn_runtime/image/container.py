"""Whether a file is all there, where its format tells and Pillow does not ask.

PNG has a checksum on every chunk and an end marker; Pillow reads past both. RIFF, the envelope of
WebP, states its length. TIFF may keep its directory at the very end. JPEG has modules of its own,
`markers` and `jpeg`. The rest Pillow finds out itself when the pixels run dry.
"""

import struct
import zlib

from snn_runtime.errors import InputError

_ENTRY = 12
_ANCILLARY = 0x20
# Pillow takes 3 µs for each, so a file of nothing else would keep it busy for a long time.
_MOST_CHUNKS = 100_000


def check_complete(name: str, data: bytes) -> None:
    """Refuse the file of format `name` if it is cut short or a checksum is wrong.

    Raises:
        InputError: `truncated` or `corrupt`.
    """
    if name == "PNG":
        end_of_png(data)
    elif name == "WebP":
        stated = end_of_webp(data)
        if stated > len(data):
            raise truncated(name, f"{len(data):,} of {stated:,} bytes")
    elif name == "TIFF":
        _check_tiff(data)


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
        struct.unpack_from("4x", data, start + 2 + count * _ENTRY)
    except struct.error as error:
        raise truncated("TIFF", "its directory is missing") from error
