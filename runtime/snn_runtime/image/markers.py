"""What a JPEG's markers say: where its picture ends, and what each of its scans brings.

They are walked and not searched for: thumbnails, films and depth maps hold markers too, and what
follows the end marker is none of our business.
"""

import re
import struct
from dataclasses import dataclass, field

from snn_runtime.errors import InputError
from snn_runtime.image.container import damaged, truncated

MOST_SCANS = 100
"""Encoders write up to 20. Each is a pass over all pixels, however few bytes it has."""

END = b"\xff\xd9"

MARKER = re.compile(rb"\xff[^\x00\xff]")
MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_RESTARTS = tuple(bytes((0xFF, each)) for each in range(0xD0, 0xD8))
END_OF_IMAGE, SCAN = 0xD9, 0xDA
_RESTART_INTERVAL, _APP1, _APP2 = 0xDD, 0xE1, 0xE2
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BY_COSINES = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_ARITHMETIC = frozenset(range(0xC9, 0xD0))
# Comments and the data of applications, but for those of JFIF and Adobe, which tell colours.
_IDLE = frozenset({0xFE, *range(0xE1, 0xEE), 0xEF})
_EXIF, _XMP, _MPF = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"MPF\0"
_DIRECTORY = b"Container:Directory"

# The length counts its own two bytes. With less, libjpeg would see other segments than we do.
_SHORTEST = 2
_COEFFICIENTS = 64
_ABSENT = 99
_MOST_SEGMENTS = 20_000
_LARGEST_FACTOR = 4


@dataclass
class Layout:
    """Where the parts of a JPEG are, and what they bring."""

    head: bytearray
    """What stands before the first scan, less what does not bear on pixels."""
    start: int = 0
    """Where the first scan begins, with its header."""
    ends: list[int] = field(default_factory=list)
    """Where the data of each scan end; only of the first if `one_pass`."""
    end: int = 0
    """Behind the end marker; 0 where there is none."""
    frame: int = 0
    """The second byte of the frame's marker: the kind of coding."""
    bits: int = 8
    """Bits of a sample."""
    sampling: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Sampling factors of each component, across and down."""
    components: int = 0
    size: tuple[int, int] = (0, 0)
    """Width and height."""
    missing: dict[int, list[int]] = field(default_factory=dict)
    """For each component, how many low bits each of its 64 coefficients lacks, or `_ABSENT`."""
    interval: int = 0
    """Units between restart markers; 0 where there are none."""
    lacks_restarts: bool = False
    """Whether the last of several scans has fewer restart markers than it must have."""
    one_pass: bool = False
    """Whether the first scan brings everything, so that rows leave while data enter."""
    brings_pixels: bool = False
    """Whether the last scan brings pixels, and not only detail."""
    pixel_scans: int = 0
    """How many scans there are up to the last one that brings pixels."""
    pixels_lack_restarts: bool = False
    """`lacks_restarts` of that scan."""
    info: dict[str, bytes] = field(default_factory=dict)
    """EXIF and XMP data by the names that Pillow gives them."""
    has_siblings: bool = False
    """Whether it says that pictures behind it belong to it."""
    index: tuple[int, bytes] = (0, b"")
    """Where in the file an index of these pictures stands, and what it says."""

    @property
    def arithmetic(self) -> bool:
        return self.frame in _ARITHMETIC

    @property
    def reducible(self) -> bool:
        """Whether it can be decoded at a part of its size."""
        return self.frame in _BY_COSINES

    @property
    def lacks_pixels(self) -> bool:
        """Whether a component has no scan that brings its mean values."""
        return any(bits[0] == _ABSENT for bits in self.missing.values())

    @property
    def lacks_detail(self) -> bool:
        """Whether there are bits of coefficients that no scan brings."""
        return any(map(any, self.missing.values()))


def survey(data: bytes) -> Layout:
    """Walk the markers of a JPEG to the end of its picture.

    Raises:
        InputError: `truncated`, if there is no scan; `too_many_scans`; `corrupt`.
    """
    layout = Layout(bytearray(data[:2]))
    position = 2
    for _ in range(_MOST_SEGMENTS):
        found = MARKER.search(data, position)
        if found is None:
            break
        try:
            position = _pass(layout, data, found.end())
        except (IndexError, struct.error) as error:
            raise damaged("JPEG", "a segment is too short") from error
        if layout.end or layout.one_pass:
            break
    else:
        raise damaged("JPEG", f"more than {_MOST_SEGMENTS:,} segments")
    if not layout.ends:
        raise truncated("JPEG", "it has no pixels")
    return layout


def _pass(layout: Layout, data: bytes, position: int) -> int:
    """Note what the marker before `position` brings, and return where to look for the next."""
    marker = data[position - 1]
    if marker in _STANDALONE or marker == END_OF_IMAGE:
        layout.end = position if marker == END_OF_IMAGE else 0
        return position
    length = data[position] << 8 | data[position + 1]
    if length < _SHORTEST:
        raise damaged("JPEG", f"a segment of {length} bytes")
    behind = position + length
    if marker == SCAN:
        layout.start = layout.start or position - 2
        return _pass_scan(layout, data, data[position + 2 : behind], behind)
    if marker == _RESTART_INTERVAL:
        layout.interval = data[position + 2] << 8 | data[position + 3]
    if layout.ends:
        return behind
    if marker in _FRAMES:
        _note_frame(layout, marker, data[position + 2 : behind])
    if marker in _IDLE:
        _note_remark(layout, marker, position + 2, data[position + 2 : behind])
    else:
        layout.head += data[position - 2 : behind]
    return behind


def _pass_scan(layout: Layout, data: bytes, header: bytes, start: int) -> int:
    """Note what a scan brings, and return where its data end."""
    if len(layout.ends) == MOST_SCANS:
        raise InputError(
            "too_many_scans",
            f"is a JPEG of more than {MOST_SCANS} scans, which is as many times the work; "
            "save it again",
        )
    first, last, bits = header[-3], header[-2], header[-1]
    if layout.frame not in _PROGRESSIVE:
        first, last, bits = 0, _COEFFICIENTS - 1, 0
    layout.brings_pixels = first == 0 and bits >> 4 == 0
    components = set(header[1:-3:2]) & layout.missing.keys()
    for component in components:
        layout.missing[component][first : last + 1] = [bits & 15] * (last + 1 - first)
    found = MARKER_IN_SCAN.search(data, start)
    end = found.start() if found else len(data)
    if not layout.ends and layout.frame not in _PROGRESSIVE and not layout.lacks_detail:
        layout.one_pass = True
        behind = data.find(END, end)
        layout.end = 0 if behind < 0 else behind + len(END)
    elif layout.interval:
        expected = (_units(layout, components) - 1) // layout.interval
        layout.lacks_restarts = sum(data.count(each, start, end) for each in _RESTARTS) < expected
    layout.ends.append(end)
    if layout.brings_pixels:
        layout.pixel_scans, layout.pixels_lack_restarts = len(layout.ends), layout.lacks_restarts
    return end


def _units(layout: Layout, components: set[int]) -> int:
    """Return how many units a scan of `components` has: blocks, of several of them groups."""
    largest: list[int] = [max(factors) for factors in zip(*layout.sampling.values(), strict=True)]
    own = layout.sampling[min(components)] if len(components) == 1 else (1, 1)
    # A group holds `largest` blocks of the component that has the most, so spans that many.
    units = [-(-side * n // (8 * m)) for side, n, m in zip(layout.size, own, largest, strict=True)]
    return units[0] * units[1]


def _note_frame(layout: Layout, marker: int, body: bytes) -> None:
    layout.frame = marker
    layout.bits, height, width, layout.components = struct.unpack_from(">BHHB", body)
    layout.size = width, height
    if not layout.components:
        raise damaged("JPEG", "it has 0 components")
    for i in range(layout.components):
        identifier, factors = body[6 + 3 * i], body[7 + 3 * i]
        layout.missing[identifier] = [_ABSENT] * _COEFFICIENTS
        layout.sampling[identifier] = across, down = factors >> 4, factors & 15
        if not (0 < across <= _LARGEST_FACTOR and 0 < down <= _LARGEST_FACTOR):
            expected = f"expected 1 to {_LARGEST_FACTOR}"
            raise damaged("JPEG", f"a component has sampling factors {across} x {down}, {expected}")


def _note_remark(layout: Layout, marker: int, place: int, body: bytes) -> None:
    if marker == _APP1 and body.startswith(_EXIF):
        # Parts that follow hold long descriptions; the first directory is in the first.
        layout.info.setdefault("exif", body)
    elif marker == _APP1 and body.startswith(_XMP):
        layout.info["xmp"] = body[len(_XMP) :]
        layout.has_siblings |= _DIRECTORY in body
    elif marker == _APP2 and body.startswith(_MPF):
        layout.has_siblings = True
        layout.index = place + len(_MPF), body[len(_MPF) :]
