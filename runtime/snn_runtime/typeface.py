"""Letters of any language in pictures: by a font that has them, or as near to them as one comes.

Pillow brings a font of its own, which has ASCII and little else. Where a text needs more, the fonts
are asked that systems put beside it. A letter that none of them has is drawn without its accents,
or as a question mark: the boxes that fonts have for what they lack say nothing.
"""

import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache
from typing import TypeAlias

from PIL import ImageFont
from PIL.ImageFont import FreeTypeFont, Layout

FAMILIES = {
    "DejaVu Sans": "DejaVuSans.ttf",
    "Noto Sans": "NotoSans-Regular.ttf",
    "Liberation Sans": "LiberationSans-Regular.ttf",
    "FreeSans": "FreeSans.ttf",
    "Ubuntu": "Ubuntu-R.ttf",
    "Noto Sans CJK JP": "NotoSansCJK-Regular.ttc",
    "WenQuanYi Micro Hei": "wqy-microhei.ttc",
    "Droid Sans Fallback": "DroidSansFallbackFull.ttf",
    "Arial Unicode MS": "Arial Unicode.ttf",
    "Arial": "Arial.ttf",
    "Helvetica": "Helvetica.ttc",
}
"""Fonts that systems have, and their files; those with letters like Pillow's first."""
_SPELT = dict(
    zip(
        "ß ẞ ø Ø ł Ł đ Đ ð Ð þ Þ æ Æ œ Œ ı – —".split(),
        "ss SS o O l L d D d D th Th ae AE oe OE i - -".split(),
        strict=True,
    )
)
"""What Unicode does not take apart: Latin letters, and dashes."""
_UNASSIGNED = "\uffff"
"""No character, now or ever: every font draws it as what it lacks."""
_TRIED = 32
"""Pixels of the fonts that are asked what they have."""
Mask: TypeAlias = tuple[tuple[int, int], bytes]
"""Width and height of what is drawn, and its pixels."""


def typeset(text: str, height: float) -> tuple[str, FreeTypeFont]:
    """Return a text as it can be drawn, and the font for that: the first that has most of it.

    Args:
        height: of the font, in pixels.
    """
    text = unicodedata.normalize("NFC", text)  # macOS takes é apart, fonts have it whole
    files: tuple[str, ...] = ("",)
    if not all(_has("", c) for c in text):
        files += _files()
    best = max(files, key=lambda file: sum(_has(file, c) for c in text))
    return legible(text, lambda c: _has(best, c)), _font(best, height)


def legible(text: str, has: Callable[[str], bool]) -> str:
    """Return a text in which a font lacks nothing.

    Args:
        has: whether the font has a character.
    """
    return "".join(c if has(c) else _plain(c, has) for c in text)


def _plain(character: str, has: Callable[[str], bool]) -> str:
    """What stands for a character: its letters without their marks; nothing for a mark alone."""
    apart = _SPELT.get(character) or unicodedata.normalize("NFKD", character)
    letters = [c for c in apart if unicodedata.category(c) not in ("Mn", "Me", "Cf")]
    return "".join(c if has(c) else "?" for c in letters)


@cache
def _files() -> tuple[str, ...]:
    """The fonts of this machine, found once: the search goes through its folders."""
    found = list[str]()
    for file in FAMILIES.values():
        try:
            found.append(str(ImageFont.truetype(file, _TRIED).path))
        except OSError:
            pass  # another system's, or one that cannot be read
    return tuple(found)


@lru_cache(maxsize=32)
def _font(file: str, height: float) -> FreeTypeFont:
    """A font of the machine; Pillow's own, where no file is named."""
    font = ImageFont.truetype(file, height) if file else ImageFont.load_default(height)
    assert isinstance(font, FreeTypeFont)  # Pillow's wheels have FreeType
    return font


@lru_cache(maxsize=4096)
def _has(file: str, character: str) -> bool:
    font, lacking = _asked(file)
    return _drawn(font, character) != lacking


@cache
def _asked(file: str) -> tuple[FreeTypeFont, Mask]:
    """A font to ask what it has, and how it draws what it lacks."""
    # Unshaped: or a mark would get a circle to stand on, and differ by that.
    font = _font(file, _TRIED).font_variant(layout_engine=Layout.BASIC)
    return font, _drawn(font, _UNASSIGNED)


def _drawn(font: FreeTypeFont, character: str) -> Mask:
    mask = font.getmask(character)
    return mask.size, bytes(mask)
