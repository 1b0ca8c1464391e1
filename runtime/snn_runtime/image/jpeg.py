"""Decoding of a JPEG that notices when its data end before its pixels do.

Where data run short, libjpeg fills the gap with grey and says nothing, but only once it sees the
marker behind them. So that marker is withheld. In its place stand one bits, which complete data
never come to: libjpeg reads 8 bytes ahead, and no code of JPEG consists of ones.

    one scan       rows come out while data go in, and all of them without an end marker
    several scans  no row comes out before the end marker. A decoder that waits for it takes every
                   pair of bytes at once; one that waits for blocks first fills its buffer of 8
                   bytes, so that some of `_PROBES` pairs are left over. (One that waits for a
                   restart marker behaves like the first: those are counted.)

What is lost is noticed from about the length of `_ONES` on. Arithmetic coding leaves out zeros at
the end and cannot be fed in pieces: nothing is noticed there.

Of Pillow only the decoder is used, and given only the segments that decide pixels: its class for
JPEG reads what is between segments byte by byte, joins the parts of EXIF data in quadratic time,
and takes as long for the header as libjpeg does for a small picture.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image

from snn_runtime.errors import InputError
from snn_runtime.image.container import damaged, truncated
from snn_runtime.image.markers import END, Layout

LACKS_DETAIL = "the JPEG lacks scans or the end of one: its detail is not all there"
NO_END = "the JPEG has no end marker, though its pixels are there"

_MODES = {1: ("L", "L"), 3: ("RGB", "RGB"), 4: ("CMYK", "CMYK;I")}
"""Pillow's names, by the number of components, for what is wanted and what comes: inverted inks."""
_PIECE = 2**16
_ONE = b"\xff\0"
_ONES = 9 * _ONE
_PROBES = 16
_OUT_OF_MEMORY = -9


def decode(
    data: bytes, layout: Layout, needed: tuple[int, int] | None
) -> tuple[Image.Image, tuple[str, ...]]:
    """Return the pixels of a JPEG, L, RGB or CMYK, and the warnings about them.

    Where `layout` allows it, it is decoded at 1/2, 1/4 or 1/8 of its size, whichever is the
    smallest that still has twice the (width, height) `needed`.

    Raises:
        InputError: `truncated`, `corrupt` or `unsupported_format`.
    """
    modes = _MODES.get(layout.components)
    if modes is None or layout.bits != 8:
        raise InputError(
            "unsupported_format",
            f"is a JPEG of {layout.components} components of {layout.bits} bits; convert it to one "
            "of 8 bits",
        )
    scale = _reduction(layout.size, needed) if needed and layout.reducible else 1
    width, height = (-(-side // scale) for side in layout.size)
    image = Image.new(modes[0], (width, height))
    with _decoder(image, modes, scale) as decoder:
        complete = _feed(decoder, data, layout)
    lacks_detail = layout.lacks_detail or not complete
    lacks_pixels = layout.lacks_pixels or (layout.brings_pixels and not complete)
    if not (complete or lacks_pixels):  # a header that claims more rows makes every scan too short
        with _decoder(image.copy(), modes, scale) as decoder:
            lacks_pixels = not _brings_all_pixels(decoder, data, layout)
    if lacks_pixels or (lacks_detail and not layout.end):
        raise truncated("JPEG", "the data of its last rows are missing")
    remarks = {LACKS_DETAIL: lacks_detail, NO_END: not layout.end}
    return image, tuple(remark for remark, applies in remarks.items() if applies)


def _reduction(size: tuple[int, int], needed: tuple[int, int]) -> int:
    ratio = min(size[0] // (2 * needed[0]), size[1] // (2 * needed[1]))
    return next((scale for scale in (8, 4, 2) if scale <= ratio), 1)


@contextmanager
def _decoder(image: Image.Image, modes: tuple[str, str], scale: int) -> Iterator["_Waiting"]:
    decoder = Image._getdecoder(modes[0], "jpeg", (modes[1], "", scale, 0))
    try:
        decoder.setimage(image.im, (0, 0, *image.size))
        yield _Waiting(decoder)
    finally:
        decoder.cleanup()


def _feed(waiting: "_Waiting", data: bytes, layout: Layout) -> bool:
    """Decode, and return whether the last scan was complete."""
    if layout.arithmetic:
        waiting.give(b"".join((layout.head, data[layout.start : layout.ends[-1]], END)))
        return waiting.done
    for piece in _pieces(data, layout, layout.ends):
        waiting.give(piece)
    if layout.one_pass or waiting.done:
        return waiting.done
    complete = waiting.takes_everything() and not layout.lacks_restarts
    waiting.give(END)
    if not waiting.done:
        raise truncated("JPEG", "its scans lead to no pixels")
    return complete


def _brings_all_pixels(waiting: "_Waiting", data: bytes, layout: Layout) -> bool:
    """Whether the last scan that brings pixels, before those of detail, was complete."""
    for piece in _pieces(data, layout, layout.ends[: layout.pixel_scans]):
        waiting.give(piece)
    return waiting.takes_everything() and not layout.pixels_lack_restarts


def _pieces(data: bytes, layout: Layout, ends: list[int]) -> Iterator[bytes]:
    """Yield what leads to pixels, in pieces so small that signals are seen in between."""
    start = layout.start
    if layout.one_pass and layout.ends[0] - start < _PIECE:
        yield b"".join((layout.head, data[start : layout.ends[0]], _ONES))
        return
    yield bytes(layout.head)
    for end in ends:
        for position in range(start, end, _PIECE):
            yield data[position : min(end, position + _PIECE)]
        start = end
    yield _ONES


class _Waiting:
    """A decoder of Pillow that takes data as they come."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._rest = b""
        self.done = False

    def give(self, data: bytes) -> int:
        """Decode as far as the data reach, and return how many bytes are left over."""
        if self.done:
            return 0
        self._rest += data
        taken, error = self._decoder.decode(self._rest)
        if taken < 0 and error == _OUT_OF_MEMORY:
            raise MemoryError
        if taken < 0 and error < 0:
            raise damaged("JPEG", "its data make no sense")
        self.done = taken < 0
        self._rest = self._rest[taken:]
        return len(self._rest)

    def takes_everything(self) -> bool:
        """Whether it waits for a marker, and for no more blocks of the scan."""
        return not any([self.give(_ONE) for _ in range(_PROBES)])
