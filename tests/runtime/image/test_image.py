"""Decoding: rows A1 to A28 of the table of bad inputs, as far as they concern single pictures."""

import builtins
import io
import os
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
import pytest
from bad_inputs import pictures
from bad_inputs.pictures import SHAPE, encoded, exif, gradient, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from snn_runtime.errors import InputError
from snn_runtime.image import Fit, Limits, decode, fit_to, prepare, read_file, read_stream
from snn_runtime.image.jpeg import NO_END
from snn_runtime.image.orientation import BAD_ORIENTATION, upright
from snn_runtime.image.picture import DIM, SEVERAL_FRAMES

LOSSLESS: dict[str, bytes] = {
    "PNG": encoded(picture(), "PNG"),
    "interlaced PNG": encoded(picture(), "PNG", interlace=1),
    "WebP": encoded(picture(), "WEBP", lossless=True),
    "BMP": encoded(picture(), "BMP"),
    "TIFF": encoded(picture(), "TIFF"),
    "LZW TIFF": encoded(picture(), "TIFF", compression="tiff_lzw"),
}
JPEG = encoded(picture(), "JPEG")
REAL = [*LOSSLESS.values(), JPEG, encoded(picture(), "GIF"), encoded(picture(), "WEBP")]
REAL += [encoded(picture(), "JPEG", progressive=True, exif=exif(6))]
ANIMATED = [pictures.frames("GIF"), pictures.frames("PNG"), pictures.frames("TIFF")]


PILLOW = int(PIL.__version__.partition(".")[0])
"""Before 13, the last for Python 3.10, two rare kinds of TIFF are not read: SECURITY.md says so."""


def pixels(data: bytes) -> npt.NDArray[np.uint8]:
    return np.array(decode(data).image)


def refusal(data: bytes, limits: Limits | None = None) -> InputError:
    with pytest.raises(InputError) as caught:
        decode(data, limits=limits or Limits())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    return caught.value


@pytest.fixture
def no_hanging() -> Iterator[None]:
    """Fail instead of waiting for a pipe or a device for ever."""
    signal.alarm(2)
    yield
    signal.alarm(0)


@pytest.mark.parametrize("form", LOSSLESS)
def test_lossless_formats_give_the_same_array(form: str) -> None:
    np.testing.assert_array_equal(pixels(LOSSLESS[form]), gradient())
    assert decode(LOSSLESS[form]).warnings == ()


@given(shape=st.tuples(st.integers(8, 40), st.integers(8, 40)), seed=st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_lossless_formats_keep_any_pixels(shape: tuple[int, int], seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)
    image = Image.fromarray(values)
    options: dict[str, dict[str, Any]] = {
        "PNG": {},
        "BMP": {},
        "TIFF": {},
        "WEBP": {"lossless": True},
    }
    for form, settings_ in options.items():
        np.testing.assert_array_equal(pixels(encoded(image, form, **settings_)), values)


# A1, A3 to A5, A24, A25: what is no picture, or none of ours


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "empty_file"), (b"\xff", "not_an_image"), (b"\xff\xd8\xff", "not_an_image")],
)
def test_next_to_nothing(data: bytes, code: str) -> None:
    assert refusal(data).code == code


@pytest.mark.parametrize("name", pictures.NOT_PICTURES)
def test_what_is_no_picture_is_refused_with_its_first_bytes(name: str) -> None:
    error = refusal(pictures.NOT_PICTURES[name])
    assert error.code == "not_an_image"
    assert ascii(pictures.NOT_PICTURES[name][:16])[2:-1] in error.message


@pytest.mark.parametrize("name", pictures.UNSUPPORTED)
def test_other_formats_are_named_and_start_no_program(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        pytest.fail("a program was started")

    for place, call in [(subprocess, "Popen"), (os, "system"), (os, "posix_spawn")]:
        monkeypatch.setattr(place, call, forbidden)
    error = refusal(pictures.UNSUPPORTED[name])
    assert error.code == "unsupported_format"
    assert name in error.message


# A7 to A10, A14, A16: damage


@pytest.mark.parametrize("data", REAL)
@pytest.mark.parametrize("part", [0.3, 0.5, 0.9])
def test_cut_short(data: bytes, part: float) -> None:
    assert refusal(data[: int(part * len(data))]).code in {"truncated", "corrupt"}


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "WebP", "TIFF"])
def test_half_a_file_is_called_truncated(form: str) -> None:
    data = (LOSSLESS | {"JPEG": JPEG})[form]
    assert refusal(data[: len(data) // 2]).code == "truncated"


def test_jpeg_without_its_end_is_accepted_with_a_warning() -> None:
    for side in (24, 200):
        data = encoded(picture(side, side), "JPEG")
        whole, endless = decode(data), decode(data[:-2])
        assert endless.warnings == (NO_END,)
        np.testing.assert_array_equal(np.array(endless.image), np.array(whole.image))


@pytest.mark.parametrize("missing", [400, 900])
def test_jpeg_without_its_last_rows_is_not(missing: int) -> None:
    data = encoded(Image.effect_noise((64, 64), 90), "JPEG")
    assert refusal(data[:-missing]).code == "truncated"


def test_thumbnails_and_rubbish_behind_the_end_do_not_count() -> None:
    assert decode(JPEG + b"\0" * 100).warnings == ()
    assert decode(JPEG + JPEG).warnings == ()
    thumbnail = JPEG[:2] + b"\xff\xe2" + struct.pack(">H", 2 + len(JPEG)) + JPEG + JPEG[2:]
    assert decode(thumbnail[:-2]).warnings == (NO_END,)


@pytest.mark.parametrize("place", [20, 45, 60, -20, -6])
def test_png_with_a_flipped_bit(place: int) -> None:
    data = bytearray(LOSSLESS["PNG"])
    data[place] ^= 4
    assert refusal(bytes(data)).code in {"corrupt", "truncated", "too_many_pixels"}


def smaller(data: bytes, by: int) -> bytes:
    """A PNG whose header claims more rows than there are, all checksums being right."""
    (height,) = struct.unpack_from(">I", data, 20)
    header = data[16:20] + struct.pack(">I", height + by) + data[24:29]
    return data[:8] + pictures.chunk(b"IHDR", header) + data[33:]


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA"])
def test_png_that_claims_more_rows_than_it_has(mode: str, interlace: int) -> None:
    for size in ((24, 32), (25, 31), (8, 9)):
        data = encoded(picture(*size).convert(mode), "PNG", interlace=interlace)
        assert decode(data).warnings == ()
        for by in (1, 2, 100, 7000):
            assert refusal(smaller(data, by)).code in ("truncated", "corrupt", "bad_dimensions")


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "I;16", "RGBA"])
def test_black_png_that_is_all_there(mode: str, interlace: int) -> None:
    for size in ((8, 8), (9, 15), (33, 20), (300, 400)):
        image = Image.new(mode, size)
        assert decode(encoded(image, "PNG", interlace=interlace)).image.size == size


def test_picture_of_no_size() -> None:
    assert refusal(pictures.png(0, 0, b"")).code == "bad_dimensions"


def test_text_bomb() -> None:
    assert refusal(pictures.text_bomb()).code == "corrupt"


def test_png_of_nothing_but_chunks() -> None:
    data = LOSSLESS["PNG"]
    error = refusal(data[:33] + pictures.chunk(b"prVt", b"") * 100_000 + data[33:])
    assert error.code == "corrupt"


def many_strips(count: int) -> bytes:
    at = 8 + 2 + 12 * 9 + 4
    tags = [(256, 1, 64), (257, 1, 64), (258, 1, 8), (259, 1, 1), (262, 1, 1), (273, count, at)]
    tags += [(277, 1, 1), (278, 1, 1), (279, count, at + 4 * count)]
    entries = b"".join(struct.pack("<HHII", tag, 4, n, value) for tag, n, value in tags)
    body = struct.pack("<I", at) * count + struct.pack("<I", 64) * count
    return b"II*\0" + struct.pack("<IH", 8, 9) + entries + bytes(4) + body


def many_blocks(kind: str) -> bytes:
    data = encoded(picture().quantize(4), "GIF")
    at = data.index(b",")
    between = {"comment": b"!\xfe" + b"\1a" * 200_000 + b"\0", "comments": b"!\xfe\0" * 200_000}
    return data[:at] + between[kind] + data[at:]


@pytest.mark.parametrize(
    "data",
    [many_strips(200_001), many_blocks("comment"), many_blocks("comments")],
    ids=["strips", "blocks of a comment", "comments"],
)
def test_parts_without_number(data: bytes) -> None:
    assert refusal(data).code == "corrupt"


def test_many_strips_and_blocks_that_pass() -> None:
    assert decode(many_strips(64)).image.size == (64, 64)
    noise = np.random.default_rng(0).integers(0, 256, (400, 400), np.uint8)
    data = encoded(Image.fromarray(noise), "GIF")
    np.testing.assert_array_equal(pixels(data), np.repeat(noise[..., None], 3, axis=2))


def run_length_bitmap(length: int) -> bytes:
    """A run-length BMP of the least pixels, and after its end of zeros."""
    body = (b"\10\1\0\0" * 8 + b"\0\1").ljust(length, b"\0")
    palette = b"\0\0\0\0\1\2\3\0".ljust(1024, b"\0")
    head = struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1078 + length, 0, 0, 1078) + head + palette + body


def test_run_length_bmp_is_bounded() -> None:
    np.testing.assert_array_equal(pixels(run_length_bitmap(40)), np.full((8, 8, 3), (3, 2, 1)))
    assert refusal(run_length_bitmap(8 * 2**20)).code == "too_many_bytes"


# A11 to A15: too large, too long, too small


@pytest.mark.parametrize(
    "data",
    [
        pictures.claims(100_000, 100_000),
        pictures.claims(2**31 - 1, 2**31 - 1),
        pictures.one_bit(13_000),
        pictures.one_bit(9_300),
        b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\x3f\0\xff\x3f\0" + bytes(8),
    ],
)
def test_too_many_pixels_are_refused_before_they_are_decoded(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    error = refusal(data)
    assert error.code == "too_many_pixels"
    assert "50,000,000" in error.message
    assert error.message.endswith("; make it smaller")  # whoever asks may have no flag for it


def test_the_pixel_limit_is_a_limit() -> None:
    data = encoded(Image.new("RGB", (100, 80)), "PNG")
    assert decode(data, limits=Limits(max_pixels=8000)).image.size == (100, 80)
    assert refusal(data, Limits(max_pixels=7999)).code == "too_many_pixels"


@pytest.mark.parametrize("size", [(1, 1), (7, 8), (1, 65_000), (65_000, 1), (8, 1601)])
def test_bad_dimensions(size: tuple[int, int]) -> None:
    error = refusal(encoded(Image.new("RGB", size), "PNG"))
    assert error.code == "bad_dimensions"
    assert f"{size[0]} x {size[1]}" in error.message


@pytest.mark.parametrize("size", [(8, 8), (8, 1600)])
def test_small_and_long_pictures_that_just_pass(size: tuple[int, int]) -> None:
    assert decode(encoded(Image.new("RGB", size), "PNG")).image.size == size


# A17 to A20: colours


def cmyk_to_rgb(inks: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    left = 255.0 - inks
    return left[..., :3] * left[..., 3:] / 255


def assert_near(actual: npt.NDArray[np.uint8], expected: npt.NDArray[Any]) -> None:
    assert np.abs(actual.astype(np.float64) - expected).max() <= 2


def cmyk() -> tuple[Image.Image, npt.NDArray[np.uint8]]:
    inks = np.array(picture().convert("CMYK"))
    inks[..., 3] = np.linspace(0, 200, inks[..., 3].size).reshape(inks.shape[:2])
    return Image.frombytes("CMYK", picture().size, inks.tobytes()), inks


def test_cmyk_tiff() -> None:
    image, inks = cmyk()
    assert_near(pixels(encoded(image, "TIFF")), cmyk_to_rgb(inks))


def test_cmyk_jpeg_is_inverted_with_and_without_adobes_marker_and_a_broken_profile() -> None:
    image, inks = cmyk()
    data = encoded(image, "JPEG", quality=100, icc_profile=b"no profile at all")
    assert np.abs(pixels(data) - cmyk_to_rgb(inks)).mean() < 2
    np.testing.assert_array_equal(pixels(pictures.without_adobe(data)), pixels(data))


def test_ycck_jpeg() -> None:
    data = pictures.adobe_ycck()
    with Image.open(io.BytesIO(encoded(picture().convert("CMYK"), "JPEG", quality=100))) as plain:
        stored = 255.0 - np.array(plain)  # the numbers in the file, here to be read as Y, Cb, Cr, K
    y, cb, cr = stored[..., 0], stored[..., 1] - 128, stored[..., 2] - 128
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=-1)
    black = stored[..., 3:]  # inverted like all inks in JPEG: 255 is none
    assert_near(pixels(data), (255 - rgb.clip(0, 255)) * black / 255)


def on_white(colour: npt.NDArray[Any], alpha: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    part = alpha[..., None] / 255.0
    return colour * part + 255 * (1 - part)


ALPHA = np.linspace(0, 255, SHAPE[0] * SHAPE[1]).reshape(SHAPE).astype(np.uint8)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_transparency_shows_white(form: str) -> None:
    image = Image.fromarray(np.dstack([gradient(), ALPHA]))
    settings_ = {"lossless": True, "exact": True} if form == "WEBP" else {}
    assert_near(pixels(encoded(image, form, **settings_)), on_white(gradient(), ALPHA))


def test_grey_with_and_without_transparency() -> None:
    grey = gradient()[..., 0]
    three = np.repeat(grey[..., None], 3, axis=2)
    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(grey), "PNG")), three)
    both = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(ALPHA)])
    assert_near(pixels(encoded(both, "PNG")), on_white(three, ALPHA))
    # Pillow writes no premultiplied grey: relabel the extra channel (tag 338) from 2 to 1.
    straight = encoded(Image.merge("LA", both.convert("La").split()), "TIFF")
    entry = struct.pack("<HHI", 338, 3, 1)
    premultiplied = straight.replace(entry + b"\2", entry + b"\1")
    assert premultiplied != straight
    if PILLOW >= 13:
        assert np.abs(pixels(premultiplied) - on_white(three, ALPHA)).mean() < 1
    else:
        assert refusal(premultiplied).code == "corrupt"
    one_colour = encoded(Image.fromarray(grey), "PNG", transparency=int(grey[3, 5]))
    expected = np.where(three == grey[3, 5], 255, three)
    np.testing.assert_array_equal(pixels(one_colour), expected)


def test_palettes() -> None:
    image = picture().quantize(64)
    expected = np.array(image.convert("RGB"))
    for form in ("PNG", "GIF", "BMP", "TIFF"):
        np.testing.assert_array_equal(pixels(encoded(image, form)), expected)
    entry = image.getpixel((5, 3))
    assert isinstance(entry, int)
    expected[np.array(image) == entry] = 255
    for form in ("PNG", "GIF"):
        np.testing.assert_array_equal(pixels(encoded(image, form, transparency=entry)), expected)
    faint = encoded(image, "PNG", transparency=bytes([128] * 64))
    half = np.full(SHAPE, 128)
    assert_near(pixels(faint), on_white(np.array(image.convert("RGB")), half))


def test_one_bit_and_a_transparent_colour() -> None:
    bits = picture().convert("1")
    three = np.repeat(np.array(bits.convert("L"))[..., None], 3, axis=2)
    for form in ("PNG", "BMP", "TIFF", "GIF"):
        np.testing.assert_array_equal(pixels(encoded(bits, form)), three)
    red = tuple(int(v) for v in gradient()[3, 5])
    expected = gradient()
    expected[(expected == red).all(axis=-1)] = 255
    np.testing.assert_array_equal(pixels(encoded(picture(), "PNG", transparency=red)), expected)


def test_colour_spaces_of_tiff() -> None:
    for mode in ("YCbCr", "LAB"):
        data = encoded(picture().convert(mode), "TIFF")
        if mode == "YCbCr" and PILLOW < 13:
            assert refusal(data).code == "truncated"
        else:
            assert np.abs(pixels(data).astype(int) - gradient()).mean() < 2


DEEP = (np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE) * 85).astype(np.uint16)


@pytest.mark.parametrize("kind", ["<u2", ">u2"])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_grey_of_16_bits_is_its_high_byte(form: str, kind: str) -> None:
    actual = pixels(encoded(Image.fromarray(DEEP.astype(kind)), form))
    np.testing.assert_array_equal(actual, np.repeat((DEEP >> 8)[..., None], 3, axis=2))


def test_grey_of_16_bits_with_a_transparent_value() -> None:
    data = encoded(Image.fromarray(DEEP), "PNG", transparency=int(DEEP[3, 5]))
    expected = np.where(DEEP == DEEP[3, 5], 255, DEEP >> 8)
    np.testing.assert_array_equal(pixels(data), np.repeat(expected[..., None], 3, axis=2))


def test_colour_of_16_bits_is_its_high_byte() -> None:
    values = np.random.default_rng(0).integers(0, 2**16, (*SHAPE, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    data = pictures.png(SHAPE[1], SHAPE[0], rows, bits=16)
    np.testing.assert_array_equal(pixels(data), values >> 8)


@pytest.mark.parametrize(
    "data",
    [
        encoded(Image.fromarray(DEEP.astype(np.int32)), "TIFF"),
        encoded(Image.fromarray(DEEP.astype(np.float32)), "TIFF"),
        encoded(Image.fromarray(DEEP), "TIFF", tiffinfo={262: 0}),
    ],
    ids=["32-bit", "float", "white is zero"],
)
def test_pixels_without_a_known_white_are_refused(data: bytes) -> None:
    assert refusal(data).code == "unsupported_mode"


def bitmap(alpha: npt.NDArray[np.uint8], header: int, masks: tuple[int, ...] = ()) -> bytes:
    """A 32-bit BMP of the gradient, its fourth byte `alpha`, with one of the known headers."""
    body = np.dstack([gradient()[..., ::-1], alpha])[::-1].tobytes()
    size = (header, SHAPE[1], SHAPE[0], 1, 32, 3 if masks else 0, len(body), 0, 0, 0, 0)
    head = struct.pack("<IiiHHIIiiII", *size) + struct.pack(f"<{len(masks)}I", *masks)
    head = head.ljust(header, b"\0") if header > 40 else head
    place = 14 + len(head)
    return b"BM" + struct.pack("<IHHI", place + len(body), 0, 0, place) + head + body


RGBA = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
NOTHING = np.zeros(SHAPE, np.uint8)


@pytest.mark.parametrize("header", [56, 108, 124])
def test_an_alpha_of_bmp_that_nobody_filled_in_is_none(header: int) -> None:
    data = bitmap(NOTHING, header, RGBA)
    np.testing.assert_array_equal(pixels(data), gradient())
    assert decode(data).warnings == ()
    assert_near(pixels(bitmap(ALPHA, header, RGBA)), on_white(gradient(), ALPHA))


@pytest.mark.parametrize(("header", "masks"), [(40, ()), (40, RGBA[:3]), (108, (*RGBA[:3], 0))])
def test_the_fourth_byte_of_bmp_is_no_alpha_unless_called_so(
    header: int, masks: tuple[int, ...]
) -> None:
    for alpha in (NOTHING, ALPHA):
        np.testing.assert_array_equal(pixels(bitmap(alpha, header, masks)), gradient())


def test_bmp_of_16_bits_and_an_empty_alpha() -> None:
    values = np.full(SHAPE, 0b0_11111_00000_00000, "<u2")
    masks = (0x7C00, 0x3E0, 0x1F, 0x8000)
    head = struct.pack("<IiiHHIIiiII4I", 108, 32, 24, 1, 16, 3, 1536, 0, 0, 0, 0, *masks)
    head = head.ljust(108, b"\0")
    data = b"BM" + struct.pack("<IHHI", 122 + 1536, 0, 0, 122) + head + values.tobytes()
    np.testing.assert_array_equal(pixels(data), np.full((*SHAPE, 3), (255, 0, 0)))


def test_an_empty_alpha_elsewhere_is_transparent_unless_tiff_leaves_it_open() -> None:
    image = Image.fromarray(np.dstack([gradient(), NOTHING]))
    for form, settings_ in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        assert (pixels(encoded(image, form, **settings_)) == 255).all()
    tiff = encoded(image, "TIFF")
    entry = struct.pack("<HHI", 338, 3, 1)
    assert tiff.count(entry) == 1
    unsaid = tiff.replace(entry, struct.pack("<HHI", 341, 3, 1))  # the same of no meaning here
    np.testing.assert_array_equal(pixels(unsaid), gradient())


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_fewer_bits_written_to_16_are_warned_of(form: str, bits: int) -> None:
    values = np.linspace(0, 2**bits - 1, SHAPE[0] * SHAPE[1]).reshape(SHAPE).astype(np.uint16)
    for kind in ("<u2", ">u2"):
        assert decode(encoded(Image.fromarray(values.astype(kind)), form)).warnings == (DIM,)
        full = (values << (16 - bits)).astype(kind)
        assert decode(encoded(Image.fromarray(full), form)).warnings == ()
    rows = b"".join(b"\0" + row.tobytes() for row in np.repeat(values, 3, axis=1).astype(">u2"))
    data = pictures.png(SHAPE[1], SHAPE[0], rows, bits=16)
    assert decode(data).warnings == (DIM,)
    scaled = pictures.png(SHAPE[1], SHAPE[0], rows, bits=16, sBIT=bytes([bits] * 3))
    assert decode(scaled).warnings == (DIM,)


def test_dark_pictures_of_8_bits_are_just_dark() -> None:
    for form in ("PNG", "TIFF", "BMP", "JPEG", "GIF"):
        assert decode(encoded(Image.new("RGB", (16, 16), (9, 9, 9)), form)).warnings == ()


# A21, A22: orientation


def turned(orientation: int) -> Image.Image:
    """The picture as a camera stores it that was held like this."""
    undo = {6: 8, 8: 6}.get(orientation, orientation)
    return upright(picture(), undo)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_give_one_array(orientation: int, order: str) -> None:
    tag = exif(orientation, order=order)
    for form, settings_ in [("PNG", {}), ("WEBP", {"lossless": True})]:
        data = encoded(turned(orientation), form, exif=tag, **settings_)
        np.testing.assert_array_equal(pixels(data), gradient())
        assert decode(data).warnings == ()
    tiff = encoded(turned(orientation), "TIFF", tiffinfo={274: orientation})
    np.testing.assert_array_equal(pixels(tiff), gradient())
    small = prepare(encoded(turned(orientation), "PNG", exif=tag), 9, 9)[0]
    np.testing.assert_array_equal(small, fit_to(picture(), 9, 9))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_large_jpeg_is_reduced_along_the_right_sides(orientation: int) -> None:
    tall = picture(400, 100)
    data = encoded(
        upright(tall, {6: 8, 8: 6}.get(orientation, orientation)),
        "JPEG",
        exif=exif(orientation),
    )
    assert decode(data, needed=(20, 80)).image.size == (50, 200)
    assert decode(data, needed=(51, 51)).image.size == (100, 400)
    assert np.abs(prepare(data, 80, 20)[0].astype(int) - fit_to(tall, 80, 20)).mean() < 4


@pytest.mark.parametrize(
    "tag",
    [
        b"Exif\0\0",
        b"Exif\0\0garbage, nothing but garbage",
        exif(9),
        exif(99),
        exif(6, kind=4242),
        exif(6)[:18],
        exif(6)[:14] + b"\xff\xff" + bytes(40),
        b"Exif\0\0II*\0\xff\xff\xff\xff",
    ],
)
def test_damaged_exif_is_ignored_with_a_warning(tag: bytes) -> None:
    data = encoded(picture(), "JPEG", exif=tag)
    assert decode(data).warnings == (BAD_ORIENTATION,)
    np.testing.assert_array_equal(pixels(data), pixels(JPEG))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [1, 3, 4, 6, 8, 9])
def test_an_orientation_of_any_integer_type(kind: int, order: str) -> None:
    size = {1: 1, 3: 2, 4: 4, 6: 1, 8: 2, 9: 4}[kind]
    value = (6).to_bytes(size, "little" if order == "<" else "big").ljust(4, b"\0")
    tag = exif(0, order=order, kind=kind)
    data = encoded(turned(6), "PNG", exif=tag[:24] + value + tag[28:])
    np.testing.assert_array_equal(pixels(data), gradient())
    assert decode(data).warnings == ()


def test_orientation_zero_means_that_nobody_knows() -> None:
    data = encoded(picture(), "JPEG", exif=exif(0))
    assert decode(data).warnings == ()
    np.testing.assert_array_equal(pixels(data), pixels(JPEG))


def xmp(orientation: object, form: str = 'tiff:Orientation="%s"') -> bytes:
    inside = form % orientation
    attribute, element = ("", inside) if inside.startswith("<") else (inside, "")
    return f"<x:xmpmeta><rdf:Description {attribute}>{element}</rdf:Description>".encode()


def with_text(data: bytes, key: bytes, text: bytes, kind: bytes = b"iTXt") -> bytes:
    between = b"\0\0\0\0\0" if kind == b"iTXt" else b"\0"
    return data[:33] + pictures.chunk(kind, key + between + text) + data[33:]


XMP_FORMS = [
    'tiff:Orientation="%s"',
    "tiff:Orientation='%s'",
    'tiff:Orientation = "%s"',
    "<tiff:Orientation>%s</tiff:Orientation>",
    "<tiff:Orientation>\n %s </tiff:Orientation>",
]


@pytest.mark.parametrize("form", XMP_FORMS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_in_xmp(orientation: int, form: str) -> None:
    text = xmp(orientation, form)
    png = with_text(encoded(turned(orientation), "PNG"), b"XML:com.adobe.xmp", text)
    webp = encoded(turned(orientation), "WEBP", lossless=True, xmp=text)
    for data in (png, webp):
        np.testing.assert_array_equal(pixels(data), gradient())
        assert decode(data).warnings == ()
    jpeg = encoded(turned(orientation), "JPEG", quality=95, subsampling=0, xmp=text)
    assert np.abs(pixels(jpeg).astype(int) - gradient()).mean() < 3
    assert decode(jpeg, needed=(4, 3)).image.size == (8, 6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_in_xmp_of_tiff(orientation: int) -> None:
    data = encoded(turned(orientation), "TIFF", tiffinfo={700: xmp(orientation)})
    np.testing.assert_array_equal(pixels(data), gradient())


def test_exif_goes_before_xmp_and_damaged_exif_does_not() -> None:
    for mine, others in ((6, 3), (1, 6), (8, 1)):
        png = encoded(turned(mine), "PNG", exif=exif(mine))
        data = with_text(png, b"XML:com.adobe.xmp", xmp(others))
        np.testing.assert_array_equal(pixels(data), gradient())
    damaged = encoded(turned(6), "PNG", exif=b"Exif\0\0nothing")
    data = with_text(damaged, b"XML:com.adobe.xmp", xmp(6))
    np.testing.assert_array_equal(pixels(data), gradient())
    assert decode(data).warnings == (BAD_ORIENTATION,)


@pytest.mark.parametrize("value", ["9", "16", "-1", "", "sideways"])
def test_garbage_in_xmp_turns_nothing(value: str) -> None:
    data = with_text(LOSSLESS["PNG"], b"XML:com.adobe.xmp", xmp(value))
    np.testing.assert_array_equal(pixels(data), gradient())
    assert decode(data).warnings == ((BAD_ORIENTATION,) if value == "9" else ())


@pytest.mark.parametrize("kind", [b"tEXt", b"iTXt"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_in_a_raw_profile(orientation: int, kind: bytes) -> None:
    block = exif(orientation)
    text = b"\nexif\n%8d\n" % len(block) + block.hex().encode() + b"\n"
    data = with_text(encoded(turned(orientation), "PNG"), b"Raw profile type exif", text, kind)
    np.testing.assert_array_equal(pixels(data), gradient())
    assert decode(data).warnings == ()
    bad = with_text(LOSSLESS["PNG"], b"Raw profile type exif", text.replace(b"4578", b"no", 1))
    assert decode(bad).warnings == (BAD_ORIENTATION,)
    np.testing.assert_array_equal(pixels(bad), gradient())


def test_the_orientation_of_a_thumbnail_does_not_count() -> None:
    head = b"Exif\0\0II*\0" + struct.pack("<I", 8)
    first = struct.pack("<HHHIII", 1, 0x0100, 3, 1, 32, 26)
    second = struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)
    data = encoded(picture(), "PNG", exif=head + first + second)
    np.testing.assert_array_equal(pixels(data), gradient())
    assert decode(data).warnings == ()


def test_an_orientation_in_a_directory_that_claims_too_much_counts() -> None:
    data = encoded(picture(), "PNG", exif=exif(3, entries=65_535))
    np.testing.assert_array_equal(pixels(data), gradient()[::-1, ::-1])


# A23: several frames


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_of_several_frames(form: str) -> None:
    several, single = pictures.frames(form), encoded(picture(), form, lossless=True)
    assert decode(several).warnings == (SEVERAL_FRAMES,)
    np.testing.assert_array_equal(pixels(several), pixels(single))
    assert decode(single).warnings == ()


# A26 to A28: the file itself


def test_read_file(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(3_000_000))
    assert read_file(path) == bytes(3_000_000)
    assert read_file(path, Limits(max_bytes=3_000_000)) == bytes(3_000_000)


def reading(path: str | Path, limits: Limits | None = None) -> InputError:
    with pytest.raises(InputError) as caught:
        read_file(path, limits or Limits())
    return caught.value


def test_a_file_over_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sparse.jpg"
    with path.open("wb") as file:
        file.truncate(10 * 2**30)
    with monkeypatch.context() as patched:
        for module in (os, io, builtins):
            patched.setattr(module, "open", None)
        error = reading(path)
    assert error.code == "too_many_bytes"
    assert "67,108,864" in error.message
    assert "--max" not in error.message


def test_a_stream_is_not_read_past_the_limit() -> None:
    stream = io.BytesIO(bytes(5000))
    with pytest.raises(InputError, match="too_many_bytes"):
        read_stream(stream, Limits(max_bytes=999))
    assert stream.tell() == 1000
    assert read_stream(io.BytesIO(bytes(999)), Limits(max_bytes=999)) == bytes(999)


@pytest.mark.usefixtures("no_hanging")
def test_pipes_sockets_devices_and_folders(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.jpg"))
        for path in (tmp_path / "pipe.jpg", tmp_path / "socket.jpg", tmp_path, "/dev/zero"):
            assert reading(path).code == "not_a_regular_file"


@pytest.mark.parametrize("name", ["none.jpg", "none/none.jpg", "file/none.jpg", "x" * 300, "a\0b"])
def test_missing(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    error = reading(os.path.join(tmp_path, name))
    assert error.code == "missing"
    assert "no such file" in error.message


def test_a_link_to_itself_is_missing(tmp_path: Path) -> None:
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    assert reading(tmp_path / "loop.jpg").code == "missing"


@pytest.mark.parametrize(("number", "code"), [(13, "permission_denied"), (5, "unreadable")])
def test_errors_of_the_system(
    number: int, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    (tmp_path / "cat.jpg").touch()
    monkeypatch.setattr(os, "open", failing)  # tests may run as root, whom no mode stops
    assert reading(tmp_path / "cat.jpg").code == code


def test_load_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(LOSSLESS["PNG"])
    values, warnings = prepare(tmp_path / "good.png", *SHAPE)
    np.testing.assert_array_equal(values, gradient())
    assert warnings == ()
    with pytest.raises(InputError, match=r"/bad\.png: no such file \[missing\]"):
        prepare(tmp_path / "bad.png", *SHAPE)


# Shape


def test_the_right_size_is_passed_through_untouched() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    fits: list[Fit] = ["crop", "stretch"]
    for fit in fits:
        values = fit_to(Image.fromarray(noise), 32, 32, fit)
        np.testing.assert_array_equal(values, noise)
        assert values.flags.writeable and values.flags.c_contiguous


def test_crop_takes_the_middle_and_stretch_takes_all() -> None:
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = 200
    assert (fit_to(Image.fromarray(wide), 16, 16, "crop") == 200).all()
    assert (fit_to(Image.fromarray(wide), 32, 96, "crop")[:, 40:56] == 200).all()
    assert fit_to(Image.fromarray(wide), 16, 16, "stretch")[0, 0, 0] == 0
    tall = Image.fromarray(wide.transpose(1, 0, 2).copy())
    assert (fit_to(tall, 8, 8, "crop")[1:-1] == 200).all()


@given(
    source=st.tuples(st.integers(8, 300), st.integers(8, 300)),
    target=st.tuples(st.integers(1, 64), st.integers(1, 64)),
)
@settings(max_examples=60, deadline=None)
def test_any_size_fits_any_other(source: tuple[int, int], target: tuple[int, int]) -> None:
    image = Image.new("RGB", source, (10, 200, 90))
    fits: list[Fit] = ["crop", "stretch"]
    for fit in fits:
        values = fit_to(image, *target, fit)
        assert values.shape == (*target, 3)
        assert (values == (10, 200, 90)).all()


# Nothing but InputError, whatever the bytes


def survives(data: bytes) -> None:
    try:
        values, _ = prepare(data, 16, 16, limits=Limits(max_pixels=100_000))
    except InputError:
        return
    assert values.shape == (16, 16, 3)


MAGIC = [b"", *(data[:30] for data in REAL + ANIMATED), *pictures.UNSUPPORTED.values()]


@given(start=st.sampled_from(MAGIC), rest=st.binary(max_size=400))
@settings(max_examples=150, deadline=None)
def test_arbitrary_bytes(start: bytes, rest: bytes) -> None:
    survives(start + rest)


@given(data=st.data())
@settings(max_examples=250, deadline=None)
def test_mutated_pictures(data: st.DataObject) -> None:
    mutated = bytearray(data.draw(st.sampled_from(REAL + ANIMATED)))
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, min(len(mutated) - 1, 700)))
        change: Callable[[bytearray, int], None] = data.draw(st.sampled_from(CHANGES))
        change(mutated, place)
    survives(bytes(mutated))


def flip(data: bytearray, place: int) -> None:
    data[place] ^= 1 << place % 8


def saturate(data: bytearray, place: int) -> None:
    data[place : place + 4] = b"\xff" * len(data[place : place + 4])


def remove(data: bytearray, place: int) -> None:
    del data[place + 1 : place + 9]


def repeat(data: bytearray, place: int) -> None:
    data[place:place] = data[place : place + 40]


CHANGES = [flip, saturate, remove, repeat]
