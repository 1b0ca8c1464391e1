"""Whether a file is all there, where its format tells and Pillow does not ask.

PNG has a checksum on every chunk and an end marker; Pillow reads past both. RIFF, the envelope of
WebP, states its length. TIFF may keep its directory at the very end. A JPEG without its end marker
is refused by Pillow though every pixel may be there. The rest Pillow finds out itself when the
pixels run dry.
"""

import struct
import zlib

from snn_runtime.errors import InputError

END_OF_JPEG = b"\xff\xd9"
_START_OF_SCAN = b"\xff\xda"

_ENTRY = 12
_ANCILLARY = 0x20
# Pillow takes 3 µs for each, so a file of nothing else would keep it busy for a long time.
_MOST_CHUNKS = 100_000


def check_complete(name: str, data: bytes) -> None:
    """Refuse the file of format `name` if it is cut short or a checksum is wrong.

    Raises:
        InputError: `truncated` or `corrupt`.
    """
    if name == "JPEG" and _START_OF_SCAN not in data:
        raise truncated(name, "it has no pixels")
    if name == "PNG":
        _check_png(data)
    elif name == "WebP":
        stated = 8 + int.from_bytes(data[4:8], "little")
        if stated > len(data):
            raise truncated(name, f"{len(data):,} of {stated:,} bytes")
    elif name == "TIFF":
        _check_tiff(data)


def lacks_end(name: str, data: bytes) -> bool:
    """Whether a JPEG has no end marker after its last scan."""
    # Inside a scan neither marker can occur, and a thumbnail's come before it.
    return name == "JPEG" and data.rfind(END_OF_JPEG) < data.rfind(_START_OF_SCAN)


def truncated(name: str, how: str) -> InputError:
    return InputError("truncated", f"is a {name} that ends too early: {how}")


def damaged(name: str, how: str) -> InputError:
    return InputError("corrupt", f"is a damaged {name}: {how}")


def _check_png(data: bytes) -> None:
    position, view = 8, memoryview(data)
    for _ in range(_MOST_CHUNKS):
        if position + 12 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            break
        stated = int.from_bytes(data[end : end + 4], "big")
        # Chunks a reader may ignore may also be wrong; their names begin with a small letter.
        if not kind[0] & _ANCILLARY and stated != zlib.crc32(view[position + 4 : end]):
            raise damaged("PNG", f"wrong checksum in {kind!r}")
        if kind == b"IEND":
            return
        position = end + 4
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
