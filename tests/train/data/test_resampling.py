"""Resampling by matrices against Pillow, and OpenCV's rule pixel by pixel."""

import numpy as np
import pytest
import torch
from PIL import Image

from snn_train.data.resampling import FILTERS, SCALES, WAYS, matrices, resample

CPU = torch.device("cpu")
PILLOW = [name for name in FILTERS if name != "opencv"]


def smooth(height: int, width: int) -> torch.Tensor:
    """A picture that no enlarging takes out of 0 to 255."""
    generator = torch.Generator().manual_seed(height)
    pixels = torch.randint(60, 196, (height, width, 3), generator=generator)
    return pixels.to(torch.uint8)


@pytest.mark.parametrize("name", PILLOW)
@pytest.mark.parametrize("scale", SCALES)
def test_a_way_is_what_pillow_does(name: str, scale: float) -> None:
    image = smooth(12, 17)
    result = resample(image[None], torch.tensor([WAYS.index((name, scale))]))[0].numpy()
    for colour in range(3):
        plane = Image.fromarray(image[:, :, colour].numpy().astype(np.float32))
        large = plane.resize((round(17 * scale), round(12 * scale)), Image.Resampling.BICUBIC)
        small = np.asarray(large.resize((17, 12), Image.Resampling[name.upper()]))
        assert np.abs(small - result[:, :, colour]).max() <= 0.51  # rounded to a whole number


@pytest.mark.parametrize("scale", SCALES)
def test_opencv_s_default_lies_between_two_pixels(scale: float) -> None:
    size, large = 9, round(9 * scale)
    enlarged = Image.fromarray(np.eye(size, dtype=np.float32)).resize(
        (size, large), Image.Resampling.BICUBIC
    )
    rows = np.asarray(enlarged, np.float64)
    for pixel, weights in enumerate(matrices(size, CPU)[WAYS.index(("opencv", scale))].numpy()):
        place = (pixel + 0.5) * large / size - 0.5
        below = int(place)
        above = min(below + 1, large - 1)
        expected = (1 - place + below) * rows[below] + (place - below) * rows[above]
        np.testing.assert_allclose(weights, expected, atol=1e-6)


@pytest.mark.parametrize("size", [8, 32, 33])
def test_every_way_keeps_a_flat_picture(size: int) -> None:
    torch.testing.assert_close(matrices(size, CPU).sum(2), torch.ones(len(WAYS), size))


def test_pictures_without_a_way_stay_as_they_are() -> None:
    images = torch.stack([smooth(9, 9)] * 3)
    ways = torch.tensor([-1, WAYS.index(("box", 4.0)), -1])
    results = resample(images, ways)
    assert torch.equal(results[::2], images[::2])
    assert not torch.equal(results[1], images[1])
    assert resample(images, torch.full((3,), -1)) is images
