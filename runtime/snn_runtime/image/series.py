"""JPEGs one behind the other in a stream, as `ffmpeg -f image2pipe` and MJPEG cameras write them.

Each is cut where its markers say that it ends. Segments that may hold anything are passed over:
thumbnails have markers too. In a scan `ff` is followed by `00`, by a restart marker or by the next
marker, so there a search is safe. A picture that the next one interrupts ends there, and whoever
decodes it says what it lacks. What is no picture is passed over to the next one, and told.
"""

import re
from collections.abc import Generator, Iterator
from typing import Protocol, TypeAlias

from snn_runtime.door import too_many
from snn_runtime.errors import InputError
from snn_runtime.image.behind import ANOTHER_FOLLOWS, another_follows
from snn_runtime.image.markers import END, END_OF_IMAGE, MARKER, MARKER_IN_SCAN, SCAN
from snn_runtime.image.picture import DEFAULT_LIMITS, Limits
from snn_runtime.image.siblings import lengths
from snn_runtime.image.signature import SMALLEST_PICTURE, identify

BEGIN = b"\xff\xd8\xff"
"""Behind the start of a picture the first marker follows at once."""
FILL = b"\0\r\n"
"""What some writers put between two pictures."""

_SOUGHT = re.compile(rb"\xff\xd8\xff[\xc0-\xc2\xc4\xdb\xdd\xe0-\xef\xfe]")
"""The start of a picture among bytes that are none, where three of them come by chance."""
_PIECE = 2**16
_HEAD = SMALLEST_PICTURE
_START = 0xD8
_FREE = frozenset({0xFE, *range(0xE0, 0xF0)})
"""Segments that may hold anything, pictures too. Tables and headers never hold a beginning."""
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})


class Stream(Protocol):
    """Bytes that arrive in their own time."""

    def read(self, size: int, /) -> bytes:
        """Return at least one byte, at most `size`; nothing at the end."""
        ...

    def waits(self) -> bool:
        """Whether a read would have to wait."""
        ...


Picture: TypeAlias = tuple[bytes, tuple[str, ...]]
"""The bytes of a picture, and the warnings about what came behind it."""
Pauses: TypeAlias = Generator[None, None, int]
"""None at each place where it would have to wait; in the end how many bytes belong together."""


def pictures(
    stream: Stream, limits: Limits = DEFAULT_LIMITS, *, headers: bool = False
) -> Iterator[Picture | InputError | None]:
    """Yield each picture of a stream, and None where the next has not arrived yet.

    A stream that does not begin with a JPEG is one picture. Pictures that belong to a JPEG, as
    those of telephones do, are passed over as far as it says that they reach. Anything else that is
    no picture is passed over to the next JPEG: an error in its place says so. As in a file, that
    is no error behind a picture which stays the only one.

    Args:
        headers: Text stands before each picture, as in MJPEG by HTTP. All are JPEGs then.

    Raises:
        InputError: `unreadable`, `too_many_bytes`.
    """
    window = _Window(stream, limits)
    yield from _pass_headers(window) if headers else window.hold(_HEAD)
    while window.data.startswith(BEGIN):
        picture = window.take((yield from _end(window)))
        yield picture, ()
        if headers:
            yield from _pass_headers(window)
            continue
        yield from _pass_siblings(window, picture)
        yield from _pass_fill(window)
        passed = yield from _pass_others(window)
        if passed and (window.data or window.taken > 1):
            said = f"no picture: passed over to the next JPEG, or to the end ({passed:,} bytes)"
            yield InputError("not_an_image", said)
    if not (window.taken or headers) or _is_picture(window.data):
        data = window.take((yield from window.hold()))
        yield data, (ANOTHER_FOLLOWS,) * another_follows(data)


class _Window:
    """The part of a stream that is looked at."""

    def __init__(self, stream: Stream, limits: Limits) -> None:
        self.stream = stream
        self.limits = limits
        self.data = bytearray()
        self.ended = False
        self.taken = 0
        """How many pictures have been taken."""

    def hold(self, count: int | None = None) -> Pauses:
        """Read until there are `count` bytes, or to the end, and return how many there are.

        Raises:
            InputError: `too_many_bytes`: no end within the limit.
        """
        while not self.ended and (count is None or len(self.data) < count):
            if self.stream.waits():
                yield
            piece = self.stream.read(_PIECE)
            self.data += piece
            self.ended = not piece
            if len(self.data) > self.limits.max_bytes + _PIECE:
                raise self._too_many()
        return len(self.data)

    def take(self, count: int) -> bytes:
        """Return the first `count` bytes, a picture; they are then no longer looked at.

        Raises:
            InputError: `too_many_bytes`.
        """
        if count > self.limits.max_bytes:
            raise self._too_many()
        taken = bytes(self.data[:count])
        del self.data[:count]
        self.taken += 1
        return taken

    def _too_many(self) -> InputError:
        most = self.limits.max_bytes
        return too_many(f"more than {most:,}", most, self.limits.flag("--max-bytes"))


def _end(window: _Window) -> Pauses:
    """Find where the JPEG at the start of the window ends; one cut short ends where the next
    begins, or the stream."""
    data, position, pattern = window.data, 2, MARKER
    while True:
        found = pattern.search(data, position)
        if found is None:
            if window.ended:
                return len(data)
            position = max(position, len(data) - 1)  # the last byte may be half a marker
            yield from window.hold(len(data) + 1)
            continue
        marker, position = data[found.end() - 1], found.end()
        if marker == END_OF_IMAGE:
            return position
        if marker == _START:
            return found.start()
        if marker not in _STANDALONE:
            yield from window.hold(position + 2)
            behind = position + int.from_bytes(data[position : position + 2], "big")
            yield from window.hold(behind + 2)
            another = -1 if marker in _FREE else data.find(BEGIN, position, behind + 2)
            if another >= 0:
                return another
            position = behind
            pattern = MARKER_IN_SCAN if marker == SCAN else MARKER


def _pass_fill(window: _Window) -> Pauses:
    """Pass over what stands between two pictures."""
    while True:
        kept = window.data.lstrip(FILL)
        if kept or window.ended:
            window.data[:] = kept
            return (yield from window.hold(_HEAD))
        yield from window.hold(len(window.data) + 1)


def _pass_siblings(window: _Window, picture: bytes) -> Pauses:
    """Pass over what belongs to a JPEG, where it stands there: it ends as a picture does, or ends
    where another picture begins or the stream ends."""
    for count in lengths(picture):
        if count > window.limits.max_bytes:
            continue
        there = yield from window.hold(count + len(BEGIN))
        behind = window.data[count : count + len(BEGIN)].lstrip(FILL)
        ends = window.data[:count].rstrip(b"\0").endswith(END)
        if there >= count and (ends or BEGIN.startswith(behind)):
            del window.data[:count]
            break
    return len(window.data)


def _pass_others(window: _Window) -> Pauses:
    """Pass over what is no picture, to the start of a JPEG or to the end, and return how many
    bytes that were."""
    passed = 0
    if window.data.startswith(BEGIN) or _is_picture(window.data):
        return passed
    while not (found := _SOUGHT.search(window.data)) and not window.ended:
        kept = min(len(window.data), len(BEGIN))  # which may be the start of one
        passed += len(window.data) - kept
        del window.data[: len(window.data) - kept]
        yield from window.hold(kept + 1)
    end = found.start() if found else len(window.data)
    del window.data[:end]
    yield from window.hold(_HEAD)
    return passed + end


def _pass_headers(window: _Window) -> Pauses:
    """Pass over text to the start of a JPEG, or to the end."""
    while (start := window.data.find(BEGIN)) < 0 and not window.ended:
        del window.data[: 1 - len(BEGIN)]
        yield from window.hold(len(window.data) + 1)
    del window.data[: start if start >= 0 else len(window.data)]
    return (yield from window.hold(_HEAD))


def _is_picture(data: bytearray) -> bool:
    kind = identify(bytes(data[:1024]))
    return kind is not None and kind.supported
