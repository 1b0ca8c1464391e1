"""A part of a picture is what somebody would have cut out and saved."""

import io
from pathlib import Path

import numpy as np
import pytest
from bad_inputs.pictures import encoded
from PIL import Image

from snn_runtime.errors import InputError
from snn_runtime.image import Limits, prepare

PIXELS = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
REGION = (30, 10, 60, 45)
CUT = PIXELS[10:55, 30:90]


@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_a_region_is_the_picture_that_it_shows(fit: str, tmp_path: Path) -> None:
    expected = prepare(CUT, 16, 16, fit)[0]  # type: ignore[arg-type]
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.fromarray(PIXELS), "PNG"))
    for picture in (PIXELS, path, path.read_bytes(), Image.fromarray(PIXELS)):
        found = prepare(picture, 16, 16, fit, region=REGION)[0]  # type: ignore[arg-type]
        assert np.array_equal(found, expected)
    assert not np.array_equal(prepare(PIXELS, 16, 16)[0], expected)


def test_it_is_one_of_the_upright_picture_at_its_full_size() -> None:
    smooth = Image.fromarray(PIXELS).resize((1200, 900))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    data = encoded(smooth, "JPEG", exif=exif.tobytes(), quality=95)
    upright = Image.open(io.BytesIO(data)).transpose(Image.Transpose.ROTATE_270)
    box = (100, 200, 100 + 700, 200 + 800)
    expected = prepare(np.asarray(upright.crop(box)), 16, 16)[0]
    assert np.array_equal(prepare(data, 16, 16, region=(100, 200, 700, 800))[0], expected)


def test_a_region_has_the_limits_that_are_given() -> None:
    """Of an array in the network's size they bound the region alone."""
    with pytest.raises(InputError, match="has 120 x 90 = 10,800 pixels, the limit is 1,000"):
        prepare(PIXELS, 90, 120, limits=Limits(max_pixels=1000), region=(0, 0, 120, 90))


@pytest.mark.parametrize(
    ("region", "code"),
    [
        ((100, 0, 21, 20), "bad_region"),
        ((0, 71, 20, 20), "bad_region"),
        ((-1, 0, 20, 20), "bad_region"),
        ((0, 0, 7, 20), "bad_dimensions"),
    ],
)
def test_regions_that_are_none(region: tuple[int, int, int, int], code: str) -> None:
    with pytest.raises(InputError) as caught:
        prepare(PIXELS, 16, 16, region=region)
    assert caught.value.code == code
    prepare(PIXELS, 16, 16, region=(100, 70, 20, 20))
