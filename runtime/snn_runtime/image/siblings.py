"""Pictures and films that belong to a JPEG and stand behind it, as in photographs of telephones.

An index in a segment (Multi-Picture Format, CIPA DC-007) tells where each picture begins and how
long it is, a list in XMP (`Container:Directory`) how long each part is. Programs that write a
photograph anew often keep what it says and leave out what stood behind it, so none is believed.
"""

import re
import struct

from snn_runtime.errors import InputError
from snn_runtime.image.markers import survey

_ENTRIES = 0xB002
_ITEM = re.compile(rb"<Container:Item\b[^>]*>")
_PRIMARY = re.compile(rb"Item:Semantic\s*=\s*[\"']Primary[\"']")
_LENGTH = re.compile(rb"Item:(Length|Padding)\s*=\s*[\"'](\d{1,12})[\"']")


def lengths(picture: bytes) -> list[int]:
    """Return how many bytes behind a JPEG may be its own, by its index and by its list, the most
    first; nothing, where it says nothing."""
    try:
        layout = survey(picture)
    except InputError:
        return []
    if not layout.has_siblings:
        return []
    place, index = layout.index
    found = {place + _by_index(index) - len(picture), _by_list(layout.info.get("xmp", b""))}
    return sorted((each for each in found if each > 0), reverse=True)


def _by_index(index: bytes) -> int:
    """Return where the last picture of an index ends, counted from the index; 0, of none."""
    order = "<" if index.startswith(b"II") else ">"
    try:
        (start,) = struct.unpack_from(order + "I", index, 4)
        (count,) = struct.unpack_from(order + "H", index, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            tag, _, length, at = struct.unpack_from(order + "HHII", index, place)
            if tag == _ENTRIES:
                entries = index[at : at + length // 16 * 16]
                found = struct.iter_unpack(order + "IIII", entries)
                # Where it begins at 0 it is the picture itself.
                return max((begin + size for _, size, begin, _ in found if begin), default=0)
    except struct.error:
        return 0
    return 0


def _by_list(xmp: bytes) -> int:
    """Return how many bytes the parts of a list have beside the picture itself."""
    total = 0
    for item in _ITEM.findall(xmp):
        for kind, number in _LENGTH.findall(item):
            total += int(number) if kind == b"Padding" or not _PRIMARY.search(item) else 0
    return total
