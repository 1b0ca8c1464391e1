"""What the flags of `snn-infer` may say."""

import argparse
import os
from pathlib import Path

from snn_runtime.flags import number
from snn_runtime.video.names import WRITTEN, is_film

PLACE = "{label}"
"""What stands for the label in the name of a folder."""
PICTURES = (".jpg", ".jpeg", ".png")
"""How the name of a picture ends that is written, in any case."""

EXAMPLES = """examples:
  snn-infer cat.jpg                       one picture with the bundled model
  snn-infer --model model.onnx photos/    a folder and all folders in it
  snn-infer --format json photos/ > answers.jsonl
  snn-infer --every 25 film.mp4           frames of a film, named by number and time
  snn-infer camera:0                      the newest picture of a camera, again and again, also
  snn-infer rtsp://camera.local/main      of one on the network; http://… may be one picture
  ffmpeg -i film.mp4 -f image2pipe -c:v mjpeg - | snn-infer -      all JPEGs in a pipe
  find photos -type f -name '*.jpg' -newer stamp -print0 | snn-infer --files-from -
  snn-infer --resume answers.jsonl photos/                         goes on where it stopped
  snn-infer --watch inbox --resume answers.jsonl                   what arrives, until Ctrl-C
  snn-infer --explain why photos/         a PNG each: spikes, firing rates, what the label leaned on
  snn-infer --annotate shown photos/      pictures with their labels drawn on; shown.mp4 of a film,
  snn-infer --annotate shown.jpg cat.jpg  shown.jpg of one picture
  snn-infer --move-to 'sorted/{label}' photos/            where each would go; --yes moves it
  snn-infer --on-label 'cat>0.8' photos/ -- notify-send 'a cat' {path}
  snn-infer --on-label 'cat>0.8' --post https://example.org/cats photos/
  snn-infer --shard 2/3 photos/           a third of them, for the second of three machines
  snn-infer --self-test                   does this machine compute what the model's maker did?

An answer is called unsure where its probability is below --threshold. In folders, hidden files,
files with another suffix than a picture's, what systems leave behind, and links that lead outside
(see --follow) are passed over and counted."""


def is_one(path: str | Path) -> bool:
    """Whether answers go into a picture of this name, and not into a folder."""
    from snn_runtime.image.folder import SUFFIXES  # here, since its package loads Pillow

    return Path(path).suffix.lower() in SUFFIXES and not os.path.isdir(path)


def region(text: str) -> tuple[int, int, int, int]:
    """Read `x,y,w,h`."""
    from snn_runtime.image.picture import MIN_SIDE  # here, since it loads Pillow

    try:
        left, top, width, height = map(int, text.split(","))
    except ValueError:
        left = -1
    if left < 0 or top < 0 or min(width, height) < MIN_SIDE:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not x,y,w,h in pixels, each side {MIN_SIDE} or more: 0,120,640,480"
        )
    return left, top, width, height


def folder(text: str) -> str:
    """Read a folder that has the label in its name."""
    if PLACE not in text:
        raise argparse.ArgumentTypeError(f"{text!r} lacks {PLACE}, as in sorted/{PLACE}")
    return text


def annotated(text: str) -> str:
    """Read a folder, or a film or a picture to be written."""
    if is_film(text) and not text.lower().endswith(tuple(WRITTEN)):
        raise argparse.ArgumentTypeError(
            f"{text!r}: films are written as .mp4 for players, or as .webm for browsers"
        )
    if is_one(text) and not text.lower().endswith(PICTURES):
        raise argparse.ArgumentTypeError(f"{text!r}: pictures are written as .jpg or .png")
    return text


def explained(text: str) -> Path:
    """Read a folder, or a page to be written."""
    if is_one(text) and not text.lower().endswith(".png"):
        raise argparse.ArgumentTypeError(f"{text!r}: pages are written as .png")
    return Path(text)


def part(text: str) -> tuple[int, int]:
    """Read `i/n`, the i-th of n parts."""
    part, _, parts = text.partition("/")
    try:
        value = int(part), int(parts)
    except ValueError:
        value = 0, 0
    if not 1 <= value[0] <= value[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not i/n, such as 1/3, 2/3 or 3/3")
    return value


positive = number("above 0", lambda value: 0 < value <= 86_400)
"""Reads a number above 0, of at most a day."""
rate = number("from 1/86400, one a day, to 86400", lambda value: 1 / 86_400 <= value <= 86_400)
"""Reads how many pictures a second."""
