"""A label and its probability, drawn on a picture so that it can be read on any background."""

from PIL import Image, ImageDraw
from PIL.ImageFont import FreeTypeFont

from snn_runtime.answer import Answer
from snn_runtime.image import Region
from snn_runtime.text import printable
from snn_runtime.typeface import typeset

LEAST = 240
"""Pixels of the short side; smaller pictures are enlarged, pixel by pixel, or no text would fit."""
LONGEST = 65_500
"""Pixels of a side of a JPEG, at most; nothing is enlarged beyond."""
TEXT = 1 / 15
"""Height of the text, as a fraction of the short side."""
_BAND, _SURE, _DOUBTFUL = (0, 0, 0, 190), (255, 255, 255), (255, 190, 60)
"""The band covers three quarters of what is behind it: white text on white then has a contrast of 8
to 1."""


def drawn(image: Image.Image, answer: Answer, region: Region | None = None) -> Image.Image:
    """Return an RGB picture with a band at its foot: the label, how probable it is, and a bar of
    that length. What was looked at, where that is a region, has a frame."""
    scale = max(1, min(-(-LEAST // min(image.size)), LONGEST // max(image.size)))
    if scale > 1:
        image = image.resize((scale * image.width, scale * image.height), Image.Resampling.NEAREST)
    shown = image.convert("RGBA")
    height = max(12, round(TEXT * min(image.size)))
    over = Image.new("RGBA", shown.size)
    pen = ImageDraw.Draw(over)
    if region is not None:
        left, top, width, tall = (scale * each for each in region)
        box = (left, top, left + width - 1, top + tall - 1)
        pen.rectangle(box, outline=(0, 0, 0, 255), width=max(3, height // 6))
        pen.rectangle(box, outline=(255, 255, 255, 255), width=max(1, height // 12))
    _write(pen, shown.size, height, answer)
    shown.alpha_composite(over)
    return shown.convert("RGB")


def _write(pen: ImageDraw.ImageDraw, size: tuple[int, int], height: int, answer: Answer) -> None:
    colour = _DOUBTFUL if answer.doubtful else _SURE
    margin, bar = height // 2, max(2, height // 6)
    label, font = typeset(printable(", ".join((answer.label, *answer.doubts))), height)
    share, plain = typeset(f"{answer.probability:.1%}", height)
    top = size[1] - 2 * height - bar
    pen.rectangle((0, top, size[0], size[1]), fill=_BAND)
    middle = (top + size[1] - bar) / 2
    room = size[0] - 3 * margin - plain.getlength(share)
    pen.text((margin, middle), _fitting(label, font, room), colour, font, anchor="lm")
    pen.text((size[0] - margin, middle), share, colour, plain, anchor="rm")
    end = round(answer.probability * size[0])
    pen.rectangle((0, size[1] - bar, max(end - 1, 0), size[1]), fill=colour)


def _fitting(text: str, font: FreeTypeFont, room: float) -> str:
    """Return as much of a text as there is room for."""
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text + "…"
