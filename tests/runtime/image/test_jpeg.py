"""JPEG: data that end before the pixels do, bytes behind the end, and scans without number."""

import io
import itertools
import struct
import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from bad_inputs.pictures import encoded, gradient, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from snn_runtime.errors import InputError
from snn_runtime.image import Limits, decode
from snn_runtime.image.behind import another_follows
from snn_runtime.image.jpeg import LACKS_DETAIL, NO_END
from snn_runtime.image.markers import MOST_SCANS, survey

END = b"\xff\xd9"
FORMS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "optimised": {"optimize": True},
    "restarts": {"restart_marker_blocks": 2},
    "progressive": {"progressive": True},
    "progressive restarts": {"progressive": True, "restart_marker_rows": 1},
}
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8))


def pixels(data: bytes) -> npt.NDArray[np.uint8]:
    return np.array(decode(data).image)


def pillows(data: bytes) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGB"))


def verdict(data: bytes) -> str | tuple[str, ...]:
    try:
        return decode(data).warnings
    except InputError as error:
        return error.code


def scans(data: bytes) -> list[int]:
    """Where the scans begin; of pictures without other data behind them."""
    return [i for i in range(len(data) - 1) if data[i : i + 2] == b"\xff\xda"]


@pytest.mark.parametrize("form", FORMS)
@given(
    size=st.tuples(st.integers(8, 70), st.integers(8, 70)),
    kind=st.sampled_from(["flat", "noise", "gradient", "half"]),
    mode=st.sampled_from(["RGB", "L"]),
    quality=st.sampled_from([5, 40, 75, 95]),
    subsampling=st.sampled_from([0, 1, 2]),
    tail=st.binary(max_size=60),
)
@settings(max_examples=25, deadline=None)
def test_sound_pictures_are_as_pillow_reads_them_and_get_no_warning(
    form: str,
    size: tuple[int, int],
    kind: str,
    mode: str,
    quality: int,
    subsampling: int,
    tail: bytes,
) -> None:
    values = gradient(*size)
    if kind == "flat":
        values[:] = values[-1, -1]
    if kind in ("noise", "half"):
        rows = size[0] // (1 + (kind == "half"))
        values[:rows] = np.random.default_rng(1).integers(0, 256, (rows, size[1], 3))
    settings_ = {"quality": quality, "subsampling": subsampling} | FORMS[form]
    data = encoded(Image.fromarray(values).convert(mode), "JPEG", **settings_)
    for whole in (data, data + tail, data + b"\xff\xd8\xff\xda" + tail + END):
        assert decode(whole).warnings == ()
        np.testing.assert_array_equal(pixels(whole), pillows(data))
    assert decode(data[:-2]).warnings == (NO_END,)
    np.testing.assert_array_equal(pixels(data[:-2]), pillows(data))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("form", ["baseline", "progressive"])
def test_what_phones_append_is_not_looked_at(form: str, seed: int) -> None:
    film = np.random.default_rng(seed).integers(0, 256, 300_000, np.uint8).tobytes()
    data = encoded(picture(), "JPEG", **FORMS[form])
    assert decode(data + film).warnings == ()
    np.testing.assert_array_equal(pixels(data + film), pixels(data))


@pytest.mark.parametrize("form", ["baseline", "optimised", "restarts"])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_an_end_marker_put_back_hides_no_missing_rows(form: str, part: float) -> None:
    data = encoded(NOISE, "JPEG", **FORMS[form])
    cut = int(part * len(data))
    for end in (END, END + data, data, b"", b"\xff\xe0\0\2" + END, b"\xff\xc4" + data[cut:]):
        assert verdict(data[:cut] + end) in ("truncated", "corrupt")
    assert verdict(data[:cut] + END) == "truncated"


def test_a_small_picture_that_claims_to_be_large() -> None:
    data = bytearray(encoded(picture(16, 16), "JPEG"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", 7000, 7000)
    assert verdict(bytes(data)) == "truncated"


@pytest.mark.parametrize("form", ["progressive", "progressive restarts"])
@pytest.mark.parametrize("rows", [105, 112, 200, 7000])
def test_a_progressive_picture_that_claims_more_rows(form: str, rows: int) -> None:
    """Its scans of detail end early too, and to lack detail would be all that is said of it."""
    data = bytearray(encoded(NOISE, "JPEG", **FORMS[form]))
    place = data.index(b"\xff\xc2") + 5
    data[place : place + 2] = struct.pack(">H", rows)
    assert verdict(bytes(data)) == "truncated"


@pytest.mark.parametrize("form", ["progressive", "progressive restarts"])
def test_a_progressive_picture_without_its_last_scans_is_said_to_lack_detail(form: str) -> None:
    data = encoded(NOISE, "JPEG", **FORMS[form])
    starts = scans(data)
    for first, start in enumerate(starts):
        assert verdict(data[:start]) == "truncated"
        expected = LACKS_DETAIL if first else None
        assert verdict(data[:start] + END) == ((expected,) if expected else "truncated")
    middle = (starts[-1] + len(data)) // 2
    assert verdict(data[:middle] + END) == (LACKS_DETAIL,)
    assert verdict(data[:middle]) == "truncated"
    middle_of_first = (starts[0] + starts[1]) // 2
    assert verdict(data[:middle_of_first] + END) == "truncated"


def one_scan_a_component(image: Image.Image) -> bytes:
    """A baseline JPEG of three scans, which libjpeg writes only to those who ask in C."""
    parts = [encoded(band, "JPEG", quality=90) for band in image.convert("YCbCr").split()]
    heads = [part[: scans(part)[0]] for part in parts]
    frame = heads[0].index(b"\xff\xc0")
    height, width = struct.unpack_from(">HH", heads[0], frame + 5)
    whole = bytearray(heads[0][:frame])
    whole += b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, height, width, 3)
    whole += b"".join(bytes((n, 0x11, 0)) for n in (1, 2, 3))
    whole += heads[0][frame + 13 :]
    for number, part in enumerate(parts, 1):
        start = scans(part)[0]
        whole += part[start : start + 5] + bytes((number,)) + part[start + 6 : -2]
    return bytes(whole) + END


def test_a_baseline_picture_of_a_scan_a_component() -> None:
    data = one_scan_a_component(picture(40, 56))
    assert len(survey(data).ends) == 3
    assert decode(data).warnings == ()
    np.testing.assert_array_equal(pixels(data), pillows(data))
    assert np.abs(pixels(data).astype(int) - gradient(40, 56)).mean() < 4
    data = one_scan_a_component(NOISE)
    starts = scans(data)
    for cut in (starts[1], starts[2], (starts[1] + starts[2]) // 2, len(data) - 400):
        assert verdict(data[:cut] + END) == "truncated"


def test_damage_in_the_middle_that_uses_up_the_data() -> None:
    data = encoded(NOISE, "JPEG")
    middle = len(data) // 2
    assert verdict(data[:middle] + data[middle + 900 :]) == "truncated"


ARITHMETIC = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb00430006040506050406060506070706080a100a0a09090a14"
    "0e0f0c1017141818171416161a1d251f1a1b231c1616202c20232627292a29191f2d302d283025282928ffc9000b08"
    "0010001001011100ffcc000600101005ffda0008010100003f00ff00ceeb79e21a207abc739b6039499a29c57da583"
    "ebe7397a21f0ffd9"
)
"""16 x 16, grey."""


def test_arithmetic_coding_is_read_with_any_tail() -> None:
    for tail in (b"", b"\0" * 70_000, ARITHMETIC):
        assert decode(ARITHMETIC + tail).warnings == ()
        np.testing.assert_array_equal(pixels(ARITHMETIC + tail), pillows(ARITHMETIC))
    assert decode(ARITHMETIC[:-2]).warnings == (NO_END,)


# Scans without number


def of_scans(count: int) -> bytes:
    data = encoded(picture(), "JPEG", progressive=True)
    starts = scans(data)
    # Of the mean values' last bit, which may be sent again: the others would lack bits then.
    repeated = data[starts[6] : starts[7]]
    return data[:-2] + repeated * (count - len(starts)) + END


def test_the_number_of_scans_is_bounded() -> None:
    assert decode(of_scans(MOST_SCANS)).warnings == ()
    with pytest.raises(InputError, match=f"more than {MOST_SCANS} scans") as caught:
        decode(of_scans(MOST_SCANS + 1))
    assert caught.value.code == "too_many_scans"


def test_segments_without_number() -> None:
    data = encoded(picture(), "JPEG")
    few, many = (data[:2] + b"\xff\xfe\0\2" * count + data[2:] for count in (9_000, 30_000))
    np.testing.assert_array_equal(pixels(few), pixels(data))
    assert verdict(many) == "corrupt"


@pytest.mark.parametrize("junk", [b"\0", b"\xff", b"\xff\0"])
def test_junk_between_segments_costs_nothing(junk: bytes) -> None:
    data = encoded(picture(), "JPEG")
    whole = data[:20] + junk * 20_000_000 + data[20:]
    np.testing.assert_array_equal(pixels(whole), pixels(data))


def test_a_segment_shorter_than_its_length() -> None:
    data = encoded(picture(), "JPEG")
    for length in (0, 1):
        assert verdict(data[:20] + b"\xff\xdb" + struct.pack(">H", length) + data[20:]) == "corrupt"


def test_a_second_frame_is_no_way_to_more_pixels() -> None:
    data = encoded(picture(), "JPEG")
    frame = data.index(b"\xff\xc0")
    larger = bytearray(data[frame : frame + 19])
    larger[5:9] = struct.pack(">HH", 500, 500)
    for whole in (data[:frame] + bytes(larger) + data[frame:], data[: frame + 19] + larger):
        assert verdict(whole + data[frame + 19 :]) in ("corrupt", "truncated")


@pytest.mark.parametrize("bits", [12, 16])
def test_more_than_8_bits(bits: int) -> None:
    data = bytearray(encoded(picture(), "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = bits
    assert verdict(bytes(data)) == "unsupported_format"


def of_a_frame(place: int, value: int) -> bytes:
    """A grey picture of several scans with restart markers, one byte of its frame changed."""
    data = bytearray(encoded(picture().convert("L"), "JPEG", **FORMS["progressive restarts"]))
    data[data.index(b"\xff\xc2") + place] = value
    return bytes(data)


@pytest.mark.parametrize("factors", [0x00, 0x01, 0x10, 0x15, 0x51, 0xFF])
def test_sampling_factors_that_no_jpeg_has(factors: int) -> None:
    said = f"sampling factors {factors >> 4} x {factors & 15}, expected 1 to 4"
    with pytest.raises(InputError, match=said) as caught:
        survey(of_a_frame(11, factors))
    assert caught.value.code == "corrupt"
    np.testing.assert_array_equal(pixels(of_a_frame(11, 0x44)), pixels(of_a_frame(11, 0x11)))


def test_a_frame_without_components() -> None:
    with pytest.raises(InputError, match="it has 0 components") as caught:
        survey(of_a_frame(9, 0))
    assert caught.value.code == "corrupt"


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("form", FORMS)
def test_whatever_the_bytes_of_its_heads_are_walking_ends_well(form: str, mode: str) -> None:
    """Streams are walked before anything is decoded, and one bad picture is no other's fault."""
    data = encoded(picture(24, 24).convert(mode), "JPEG", **FORMS[form])
    places = {*range(2, scans(data)[0]), *(at + n for at in scans(data) for n in range(14))}
    for place, value in itertools.product(sorted(places), (0, 1, 0x7F, 0xFF)):
        try:
            survey(data[:place] + bytes((value,)) + data[place + 1 :])
        except InputError:
            pass


def test_restart_markers_without_number_take_no_memory() -> None:
    data = of_a_frame(9, 1)
    many = data[:-2] + b"\xff\xd0" * 500_000 + END
    tracemalloc.start()
    try:
        survey(many)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_whatever_is_done_to_its_markers(data: st.DataObject) -> None:
    whole = bytearray(encoded(picture(), "JPEG", **FORMS[data.draw(st.sampled_from([*FORMS]))]))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(2, len(whole) - 1))
        whole[place:place] = data.draw(
            st.sampled_from([b"\xff\xda", b"\xff\xc0", b"\xff\xc2", b"\xff\xc4\0\2", END, b"\xff"])
        )
    try:
        decode(bytes(whole), limits=Limits(max_pixels=100_000))
    except InputError:
        pass


# One behind the other


def test_another_picture_behind_the_first() -> None:
    several = {form: encoded(picture(), form) for form in ("JPEG", "PNG", "WEBP", "BMP")}
    for first, second in itertools.product(several.values(), repeat=2):
        assert another_follows(first + second)
        assert not another_follows(first + b"\0\0\0\x20ftypisom" + second)
    assert not any(another_follows(data) for data in several.values())
    jpeg = several["JPEG"]
    for kind, body in ((b"\xff\xe2", b"MPF\0" + bytes(40)),):
        parts = jpeg[:2] + kind + struct.pack(">H", 2 + len(body)) + body + jpeg[2:]
        assert not another_follows(parts + jpeg)
