"""JPEGs one behind the other: each is cut where it ends, whatever it holds and however it comes."""

import struct
import tracemalloc
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from bad_inputs.pictures import encoded, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from snn_runtime.errors import InputError
from snn_runtime.image import DEFAULT_LIMITS, Limits, decode
from snn_runtime.image.behind import ANOTHER_FOLLOWS
from snn_runtime.image.series import BEGIN, pictures
from snn_runtime.image.siblings import lengths


class Pieces:
    """A stream that hands out what it is given piece by piece, and waits between two."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = [piece for piece in pieces if piece]
        self.waiting = True

    def waits(self) -> bool:
        self.waiting = not self.waiting
        return not self.waiting

    def read(self, size: int) -> bytes:
        if not self.pieces:
            return b""
        piece = self.pieces.pop(0)
        if len(piece) > size:
            self.pieces.insert(0, piece[size:])
        return piece[:size]


def cut(pieces: Sequence[bytes], limits: Limits = DEFAULT_LIMITS) -> list[bytes]:
    return [each[0] for each in pictures(Pieces(pieces), limits) if isinstance(each, tuple)]


def told(data: bytes) -> list[bytes | str]:
    """What comes of a stream, also where it does not come at once: pictures, and what is said."""
    found = [
        [str(each) if isinstance(each, InputError) else each[0] for each in pictures(s) if each]
        for s in (
            Pieces([data]),
            io_stream(data),
            Pieces([data[i : i + 1] for i in range(len(data))]),
        )
    ]
    assert found[0] == found[1] == found[2]
    return found[0]


def jpegs() -> Iterator[bytes]:
    """JPEGs of every build, one with another in its EXIF data, one of nothing but markers."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (40, 56, 3), np.uint8))
    yield encoded(picture(), "JPEG")
    yield encoded(noise, "JPEG", quality=98)
    yield encoded(noise, "JPEG", progressive=True)
    yield encoded(noise, "JPEG", restart_marker_blocks=1)
    yield encoded(noise.convert("L"), "JPEG", comment=b"\xff\xd9\xff\xd8\xff\xe0")
    thumbnail = Image.Exif()
    thumbnail[0x010E] = "a thumbnail"
    data = encoded(picture(), "JPEG", exif=thumbnail)
    inside = b"\xff\xe5" + (2 + len(data)).to_bytes(2, "big") + data
    yield data[:2] + inside + data[2:]


JPEGS = list(jpegs())


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000, 10**6])
def test_they_come_back_byte_for_byte(size: int) -> None:
    whole = b"".join(JPEGS)
    assert cut([whole[i : i + size] for i in range(0, len(whole), size)]) == JPEGS
    for data in JPEGS:
        decode(data)


@settings(max_examples=25)
@given(
    st.lists(st.sampled_from(JPEGS), min_size=1, max_size=4),
    st.lists(st.integers(0, 10**6), max_size=5),
    st.sampled_from([b"", b"\0", b"\r\n"]),
)
def test_however_they_are_cut_into_pieces(
    series: list[bytes], cuts: list[int], fill: bytes
) -> None:
    whole = fill.join(series)
    places = sorted(place % len(whole) for place in cuts)
    pieces = [whole[i:j] for i, j in zip([0, *places], [*places, len(whole)], strict=True)]
    assert cut(pieces) == series


def test_one_that_is_cut_short_ends_where_the_next_begins() -> None:
    first, second = encoded(picture(), "JPEG"), encoded(Image.new("RGB", (30, 20), "red"), "JPEG")
    short = first[: len(first) - 40]
    assert cut([short + second + short]) == [short, second, short]
    with pytest.raises(InputError, match="truncated"):
        decode(short)


def test_wherever_one_is_cut_short_the_others_are_whole() -> None:
    """Behind the application's segments, which may hold anything."""
    first, last = encoded(picture(), "JPEG"), encoded(Image.new("RGB", (30, 20), "red"), "JPEG")
    for length in range(20, len(first), 7):
        found = cut([first, first[:length], last])
        assert (found[0], found[-1]) == (first, last) and len(found) <= 3


def test_a_picture_is_there_before_the_next_arrives() -> None:
    data = JPEGS[0]
    stream = Pieces([data, data])
    found = pictures(stream)
    while next(found) is None:
        pass
    assert stream.pieces == [data]


def test_what_stands_behind() -> None:
    jpeg, png = encoded(picture(), "JPEG"), encoded(picture(), "PNG")
    assert cut([jpeg + b"\0\0\0\x18ftypmp42 a film" * 9]) == [jpeg]
    assert cut([jpeg, png]) == [jpeg, png]
    assert cut([b""]) == [b""]
    (single,) = (each for each in pictures(io_stream(png + jpeg)) if each)
    assert single == (png + jpeg, (ANOTHER_FOLLOWS,))


@pytest.mark.parametrize("junk", [b"X", b" ", b"\xff\xd8\xff\x00", b"an error message\n" * 90])
def test_what_is_no_picture_is_told_and_the_next_one_is_found(junk: bytes) -> None:
    first, second = encoded(picture(), "JPEG"), encoded(Image.new("RGB", (30, 20), "red"), "JPEG")
    said = "no picture: passed over to the next JPEG, or to the end"
    said += f" ({len(junk):,} bytes) [not_an_image]"
    if junk.startswith(BEGIN):  # that is a picture, of which there is no more
        assert told(first + junk + second) == [first, junk, second]
        return
    assert told(first + junk + second + first) == [first, said, second, first]
    assert told(first + junk) == [first]  # as in a file
    assert told(first + first + junk) == [first, first, said]


def with_segment(marker: bytes, body: bytes) -> bytes:
    """A JPEG that begins with this segment."""
    jpeg = encoded(picture(), "JPEG")
    return jpeg[:2] + marker + (2 + len(body)).to_bytes(2, "big") + body + jpeg[2:]


def photograph(*siblings: bytes, gap: bytes = b"", form: str = "<") -> bytes:
    """A JPEG with an index of the pictures behind it, without them."""
    jpeg = encoded(picture(), "JPEG")
    count = 1 + len(siblings)
    head = struct.pack(
        form + "2sHIHHHIII", b"II" if form == "<" else b"MM", 42, 8, 1, 0xB002, 7, 16 * count, 26, 0
    )
    place = 2 + 4 + 4  # of the index in the file
    whole = len(jpeg) + 4 + 4 + len(head) + 16 * count
    entries, begin = struct.pack(form + "IIIHH", 0x30000, whole, 0, 0, 0), whole + len(gap) - place
    for sibling in siblings:
        entries += struct.pack(form + "IIIHH", 0, len(sibling), begin, 0, 0)
        begin += len(sibling)
    return with_segment(b"\xff\xe2", b"MPF\0" + head + entries)


def listed(*parts: bytes) -> bytes:
    """A JPEG with a list of the parts behind it in XMP, without them."""
    items = "".join(
        f'<Container:Item Item:Semantic="MotionPhoto" Item:Length="{len(part)}" Item:Padding="0"/>'
        for part in parts
    )
    xmp = '<Container:Item Item:Semantic="Primary" Item:Length="99" Item:Padding="0"/>' + items
    body = b"http://ns.adobe.com/xap/1.0/\0<Container:Directory>" + xmp.encode()
    return with_segment(b"\xff\xe1", body)


SMALL = encoded(Image.new("RGB", (30, 20), "red"), "JPEG")
FILM = b"\0\0\0\x18ftypmp42 a film" * 9


@pytest.mark.parametrize(
    ("photo", "behind"),
    [
        (photograph(SMALL), SMALL),
        (photograph(SMALL, SMALL, form=">"), SMALL + SMALL),
        (photograph(SMALL, gap=b"\0" * 9), b"\0" * 9 + SMALL),
        (listed(SMALL, FILM), SMALL + FILM),
    ],
)
def test_what_belongs_to_a_photograph_is_no_other_one(photo: bytes, behind: bytes) -> None:
    other = JPEGS[1]
    assert told(photo + behind) == [photo]
    assert told(photo + behind + other + photo + behind + b"\n" + other) == [photo, other] * 2
    # A program that wrote it anew kept what it says, and nothing else: no picture is lost.
    assert told(photo + other + other) == [photo, other, other]
    assert told(photo) == [photo]


def test_a_photograph_that_says_nothing_of_use_hides_no_other_one() -> None:
    for index in (b"", b"II*\0\x08\0\0\0\0\0", b"II*\0\xff\xff\xff\xff"):
        photo = with_segment(b"\xff\xe2", b"MPF\0" + index)
        assert told(photo + SMALL) == [photo, SMALL]


def test_an_index_that_names_one_list_often_costs_no_more() -> None:
    entries, most = 5_000, 2**16 - 100
    head = struct.pack("<2sHIH", b"II", 42, 8, entries)
    index = (head + struct.pack("<HHII", 0xB002, 7, most, 0) * entries).ljust(most, b"\1")
    tracemalloc.start()
    try:
        lengths(with_segment(b"\xff\xe2", b"MPF\0" + index))
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_damaged_picture_is_not_the_last_one() -> None:
    """A frame whose factors are 0, where they divide: with restart markers, in several scans."""
    grey = picture().convert("L")
    damaged = bytearray(encoded(grey, "JPEG", progressive=True, restart_marker_rows=1))
    damaged[damaged.index(b"\xff\xc2") + 11] = 0
    assert cut([bytes(damaged) + SMALL]) == [bytes(damaged), SMALL]


def test_a_limit_is_that_of_each_picture() -> None:
    data = JPEGS[0]
    assert cut([data] * 50, Limits(max_bytes=len(data))) == [data] * 50
    with pytest.raises(InputError, match="has more than 99 bytes, the limit is 99 "):
        cut([data], Limits(max_bytes=99))
    endless = Pieces([data[:600]] + [b"\x55" * 2**16] * 40)
    with pytest.raises(InputError, match="too_many_bytes"):
        list(pictures(endless, Limits(max_bytes=2**18)))
    assert len(endless.pieces) > 30


def io_stream(data: bytes) -> Pieces:
    return Pieces([data[i : i + 100] for i in range(0, len(data), 100)])
