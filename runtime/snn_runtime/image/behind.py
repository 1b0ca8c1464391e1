"""Whether another picture stands behind one, as in a pipe into which several were written.

Formats that do not say where they end, TIFF and, without reading all of it, GIF, are left out.
"""

from collections.abc import Callable

from snn_runtime.image.container import end_of_png, end_of_webp
from snn_runtime.image.markers import survey
from snn_runtime.image.signature import identify

ANOTHER_FOLLOWS = "another picture follows on standard input and is not used: give one at a time"


def another_follows(data: bytes) -> bool:
    """Whether `data`, which can be decoded, goes on with a picture that is none of its parts."""
    kind = identify(data)
    end = _ENDS[kind.name](data) if kind and kind.name in _ENDS else len(data)
    behind = identify(data[end : end + 1024])
    return behind is not None and behind.supported


def _end_of_jpeg(data: bytes) -> int:
    layout = survey(data)
    # Cameras append previews, depth maps and films, and say so.
    return len(data) if layout.has_siblings or not layout.end else layout.end


def _end_of_bmp(data: bytes) -> int:
    return int.from_bytes(data[2:6], "little") or len(data)


_ENDS: dict[str, Callable[[bytes], int]] = {
    "JPEG": _end_of_jpeg,
    "PNG": end_of_png,
    "WebP": end_of_webp,
    "BMP": _end_of_bmp,
}
