"""The picture of the README is drawn from what the bundled network makes of a photograph."""

from pathlib import Path

import numpy as np
from picture import draw, mosaic
from PIL import Image

ROOT = Path(__file__).parents[2]


def test_maps_lie_side_by_side() -> None:
    bits = np.zeros((5, 2, 3), np.bool_)
    bits[0], bits[3, 1, 2] = True, True
    drawn = mosaic(bits)  # four of five: the largest square
    assert drawn.shape == (5, 7)
    assert drawn[:2, :3].all() and drawn[4, 6] and drawn.sum() == 7


def test_it_is_drawn(tmp_path: Path) -> None:
    draw(ROOT / "runtime" / "photos" / "cat.jpg", tmp_path / "spikes.png")
    with (
        Image.open(tmp_path / "spikes.png") as new,
        Image.open(ROOT / "docs" / "spikes.png") as old,
    ):
        assert abs(new.width - old.width) < 40 and new.height > 100  # fonts differ a little
