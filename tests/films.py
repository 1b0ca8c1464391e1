"""Films that tests make, with OpenCV."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

RATE = 10.0
SIZE = (160, 120)
CODECS = {".avi": "MJPG", ".mp4": "mp4v", ".mkv": "mp4v", ".ts": "mp4v"}


def make(path: Path, colours: Sequence[str], size: tuple[int, int] = SIZE) -> Path:
    """Write a film of one frame a colour, each with a border of its own at the bottom."""
    random = np.random.default_rng(0)
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter.fourcc(*CODECS[path.suffix]), RATE, size, True
    )
    assert writer.isOpened()
    for colour in colours:
        frame = np.asarray(Image.new("RGB", size, colour))[..., ::-1].copy()
        frame[-size[1] // 6 :] = random.integers(0, 256, (-(-size[1] // 6), size[0], 3))
        writer.write(frame)
    writer.release()
    return path
