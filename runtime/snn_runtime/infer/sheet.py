"""One page that shows why a picture got its label: drawn by Pillow alone."""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from snn_runtime.answer import Answer
from snn_runtime.graph.reference import Spikes
from snn_runtime.image import Pixels
from snn_runtime.text import printable
from snn_runtime.typeface import typeset

WIDTH, MARGIN, SIDE = 1200, 24, 260
"""Of the page, around it, and of its large pictures, in pixels."""
MAP, SHOWN, TOP = 200, 5, 5
"""Side of a spike map; maps and labels at most."""
INK, FAINT, PAPER = (30, 30, 30), (150, 150, 150), (255, 255, 255)
FOR, AGAINST, USUAL = (200, 40, 30), (40, 90, 200), (230, 160, 0)
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Explained:
    """What is drawn of one picture."""

    name: str
    pixels: Pixels
    """As the network sees it, uint8 `[H, W, 3]`."""
    answer: Answer
    spikes: dict[str, Spikes]
    """`[C, H, W]` or `[O]` a population."""
    usual: dict[str, float]
    """Firing rates that the file knows, by population."""
    square: int
    """Side of what covered the pixels."""
    leaned_on: Numbers
    """Log-odds that the label loses where a pixel is covered, `[H, W]`."""


def drawn(explained: Explained) -> bytes:
    """Return the page as a PNG."""
    maps = chosen([name for name, sent in explained.spikes.items() if sent.ndim == 3])
    rates = 70 + 26 * len(explained.spikes)
    height = 70 + SIDE + 60 + rates + (MAP + 90 if maps else 0)
    page = Image.new("RGB", (WIDTH, height), PAPER)
    pen = ImageDraw.Draw(page)
    _head(pen, explained)
    _pictures(page, pen, explained, 64)
    _labels(pen, explained.answer, 64)
    at = 64 + SIDE + 60
    _rates(pen, explained, at)
    if maps:
        _maps(page, pen, explained, maps, at + rates)
    out = io.BytesIO()
    page.save(out, "PNG")
    return out.getvalue()


def chosen(names: list[str]) -> list[str]:
    """The first, the last, and others evenly between them."""
    count = min(SHOWN, len(names))
    return [names[round(i * (len(names) - 1) / max(1, count - 1))] for i in range(count)]


def _text(
    pen: ImageDraw.ImageDraw,
    x: float,
    y: float,
    text: str,
    size: int = 15,
    fill: tuple[int, int, int] = INK,
    *,
    room: float = WIDTH,
) -> None:
    """One line, cut where there is no room for more."""
    text, font = typeset(printable(text), size)
    while pen.textlength(text, font) > room and len(text) > 1:
        text = f"{text[:-2]}…"
    pen.text((x, y), text, fill, font)


def _head(pen: ImageDraw.ImageDraw, explained: Explained) -> None:
    answer = explained.answer
    title = ", ".join((f"{answer.label} {answer.probability:.1%}", *answer.doubts))
    _text(pen, MARGIN, 10, title, 24, AGAINST if answer.doubtful else INK, room=WIDTH - 2 * MARGIN)
    _text(pen, MARGIN, 40, explained.name, 14, FAINT, room=WIDTH - 2 * MARGIN)


def _fitted(image: Image.Image, side: int) -> Image.Image:
    """Enlarged or reduced so that the longer side is `side`."""
    factor = side / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.BOX)


def _pictures(page: Image.Image, pen: ImageDraw.ImageDraw, explained: Explained, y: int) -> None:
    height, width = explained.pixels.shape[:2]
    picture = _fitted(Image.fromarray(explained.pixels), SIDE)
    left = MARGIN + SIDE + 30
    page.paste(picture, (MARGIN, y))
    page.paste(_fitted(overlaid(explained.pixels, explained.leaned_on), SIDE), (left, y))
    y += picture.height + 4
    _text(pen, MARGIN, y, f"what the network sees: {width}x{height} pixels", 14)
    most = float(np.abs(explained.leaned_on).max())
    lines = (
        f"occlusion by {explained.square}x{explained.square} grey squares:",
        f"covered, the label loses (red) or gains (blue) up to {most:.2f} log-odds",
    )
    for number, line in enumerate(lines):
        _text(pen, left, y + 18 * number, line, 14, room=WIDTH / 2)


def overlaid(pixels: Pixels, values: Numbers) -> Image.Image:
    """The picture in pale grey, red where a value is positive and blue where negative."""
    grey = pixels.mean(2, keepdims=True) * 0.6 + 100
    strength = np.abs(values) / max(float(np.abs(values).max()), 1e-9)
    colour = np.where(values[..., None] > 0, FOR, AGAINST)
    share = 0.85 * strength[..., None]
    return Image.fromarray(np.uint8(grey * (1 - share) + colour * share))


def _labels(pen: ImageDraw.ImageDraw, answer: Answer, y: int) -> None:
    left = MARGIN + 2 * (SIDE + 30) + 40
    room = WIDTH - MARGIN - left
    for number, each in enumerate(answer.predictions[:TOP]):
        top = y + 46 * number
        _text(pen, left, top, f"{each.label}  {each.probability:.1%}", room=room)
        pen.rectangle((left, top + 22, left + room, top + 34), outline=FAINT)
        if (length := room * each.probability) >= 1:
            pen.rectangle((left, top + 22, left + length, top + 34), INK)


def _rates(pen: ImageDraw.ImageDraw, explained: Explained, y: int) -> None:
    """A bar for each population, and a mark where the file says it usually ends."""
    rates = {
        name: float(np.count_nonzero(sent)) / sent.size for name, sent in explained.spikes.items()
    }
    usual = {name: explained.usual[name] for name in rates if name in explained.usual}
    says = "orange: on test pictures" if usual else "the file knows none of other pictures"
    _text(pen, MARGIN, y, f"firing rates: neurons of a layer that fired ({says})", 17)
    left, room = MARGIN + 170, WIDTH - 2 * MARGIN - 170 - 330
    scale = room / max(*rates.values(), *usual.values(), 0.01)
    for number, (name, rate) in enumerate(rates.items()):
        top = y + 30 + 26 * number
        _text(pen, MARGIN, top, name, room=160)
        pen.rectangle((left, top + 2, left + max(1, scale * rate), top + 16), INK)
        line = f"{rate:.1%}" if rate else "no neuron fired"
        if name in usual:
            at = left + scale * usual[name]
            pen.rectangle((at - 2, top - 1, at + 1, top + 19), USUAL)
            line += f", usually {usual[name]:.1%}"
        _text(pen, left + room + 12, top, line)


def _maps(
    page: Image.Image, pen: ImageDraw.ImageDraw, explained: Explained, names: list[str], y: int
) -> None:
    """How many channels fire at each place."""
    _text(pen, MARGIN, y, "spike maps: share of a layer's channels that fired at each place", 17)
    for number, name in enumerate(names):
        left = MARGIN + number * (MAP + 36)
        share = (explained.spikes[name] != 0).mean(0)
        most = float(share.max())
        ink = np.uint8(255 * (1 - share / max(most, 1e-9)))
        image = _fitted(Image.fromarray(ink), MAP)
        page.paste(image.convert("RGB"), (left, y + 28))
        box = (left - 1, y + 27, left + image.width, y + 28 + image.height)
        pen.rectangle(box, outline=FAINT)
        shape = "x".join(map(str, explained.spikes[name].shape))
        below = y + 32 + image.height
        _text(pen, left, below, f"{name}  {shape}", 14, room=MAP + 30)
        says = f"black: {most:.0%} of the channels" if most else "no neuron fired"
        _text(pen, left, below + 18, says, 13, FAINT, room=MAP + 30)
