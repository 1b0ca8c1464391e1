"""Every pixel format of Pillow to 8-bit RGB, by rules that are written down.

    1, L, RGB, YCbCr      the obvious
    P                     its colours; a transparent entry counts as transparency
    LA, PA, RGBA, La, RGBa, and tRNS of PNG    composited on white; an alpha of nothing but zeros
                          counts as none in BMP, where many writers leave the bytes empty, and in
                          TIFF that does not say that its fourth channel is alpha
    CMYK                  R = (255 - C)(255 - K) / 255, likewise G and B; profiles are ignored.
                          In JPEG the inks are stored inverted, with or without Adobe's marker, as
                          every browser assumes
    LAB                   to sRGB through littleCMS
    I;16                  the high byte, v >> 8, just as Pillow reads 16-bit RGB; `is_dim` tells
                          what was meant to have 10, 12 or 14 bits
    I                     as I;16 if it comes from a PNG and fits 16 bits, else refused
    F, 12-bit, signed     refused: nothing says which value is white

White, because what is transparent (icons, drawings, cut-out products) is made for a white page;
on black, dark line art would vanish.
"""

import numpy as np
from PIL import Image

from snn_runtime.errors import InputError

_PLAIN = frozenset({"1", "L", "P", "RGB", "RGBX", "YCbCr", "CMYK", "LAB"})
_ALPHA = frozenset({"LA", "PA", "RGBA", "La", "RGBa"})
DEEP = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I"})
"""Modes of 16-bit grey."""

_BITS_PER_SAMPLE, _PHOTOMETRIC, _EXTRA_SAMPLES = 258, 262, 338
_WHITE = 255
_DIM = 64
"""A high byte below it, of 256, is that of 14 bits stored in 16."""


def to_rgb(image: Image.Image) -> Image.Image:
    """Return `image`, already loaded, as RGB; the same object if it is opaque RGB.

    Raises:
        InputError: `unsupported_mode`, for pixels without a defined rendering.
    """
    if image.mode in DEEP:
        return _from_16_bits(image)
    if _is_empty_alpha(image):
        return image.convert("RGB")
    if image.mode in _ALPHA or (image.mode in _PLAIN and "transparency" in image.info):
        return _on_white(image)
    if image.mode not in _PLAIN:
        raise _unsupported(f"pixels of type {image.mode}")
    return image if image.mode == "RGB" else image.convert("RGB")


def is_dim(image: Image.Image, bits: int) -> bool:
    """Whether `image`, loaded from samples of `bits`, is too dark for them to be 16.

    Sensors of 10, 12 and 14 bits are often written to 16 as they are. No field of a file tells:
    PNG's sBIT and TIFF's MaxSampleValue are for statistics, and say nothing about white.
    """
    if bits != 16 or image.mode == "CMYK":
        return False
    if image.mode in DEEP:
        return int(np.asarray(image).max()) >> 8 < _DIM
    return not any(any(band.histogram()[_DIM:]) for band in image.split()[:3])


def _is_empty_alpha(image: Image.Image) -> bool:
    """Whether `image` has a fourth channel that is all zero and not said to be transparency."""
    if image.mode != "RGBA":
        return False
    tags = getattr(image, "tag_v2", None)
    unsaid = image.format == "BMP" or (tags is not None and _EXTRA_SAMPLES not in tags)
    return unsaid and image.getchannel("A").getextrema() == (0, 0)


def _on_white(image: Image.Image) -> Image.Image:
    for via in {"La": ("LA",), "RGBa": ("RGBA",)}.get(image.mode, ()):
        image = image.convert(via)  # no direct way from premultiplied to the rest
    image = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, (_WHITE, _WHITE, _WHITE))
    canvas.paste(image, mask=image)
    return canvas


def _from_16_bits(image: Image.Image) -> Image.Image:
    tags = getattr(image, "tag_v2", None)
    if tags is not None and (tags.get(_BITS_PER_SAMPLE), tags.get(_PHOTOMETRIC)) != ((16,), 1):
        raise _unsupported("grey values that are signed, of 12 or 32 bits, or white at zero")
    values = np.asarray(image)
    if image.mode == "I" and (tags is not None or values.min() < 0 or values.max() > 0xFFFF):
        raise _unsupported("32-bit integers")
    grey = (values >> 8).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = _WHITE
    return Image.fromarray(grey).convert("RGB")


def _unsupported(what: str) -> InputError:
    return InputError(
        "unsupported_mode", f"has {what}, for which white is not defined; save it with 8 bits"
    )
