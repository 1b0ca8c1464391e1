"""Augmentation against what one would do to each picture alone."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from snn_train.data.augment import augment, recolour
from snn_train.data.augmentation import Augmentation, Draws
from snn_train.data.normalisation import Normalisation
from snn_train.data.resampling import WAYS

MEAN = (1, 2, 3)
Pixels = npt.NDArray[np.uint8]


def noise(count: int, height: int = 9, width: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    pixels = torch.randint(10, 256, (count, height, width, 3), generator=generator)
    return pixels.to(torch.uint8)


def augmented(images: Tensor, augmentation: Augmentation, seed: int = 0) -> Tensor:
    draws = Draws.of(augmentation, len(images), torch.Generator().manual_seed(seed))
    return augment(images, augmentation, MEAN, draws)


def variants(image: Pixels, shift: int, flip: bool) -> list[Pixels]:
    """Every crop of the picture with its border mirrored, and every crop of it turned round."""
    height, width, _ = image.shape
    wide = np.pad(image, ((shift, shift), (shift, shift), (0, 0)), mode="reflect")
    crops = [
        wide[top : top + height, left : left + width]
        for top in range(2 * shift + 1)
        for left in range(2 * shift + 1)
    ]
    return crops + ([crop[:, ::-1] for crop in crops] if flip else [])


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shift", [0, 1, 2])
def test_pictures_are_shifted_and_flipped_as_wholes_and_in_every_way(
    shift: int, flip: bool
) -> None:
    images = noise(20 * (2 * shift + 1) ** 2)
    results = augmented(images, Augmentation(flip, shift)).numpy()
    seen = set()
    for image, result in zip(images.numpy(), results, strict=True):
        matches = [
            index
            for index, variant in enumerate(variants(image, shift, flip))
            if np.array_equal(variant, result)
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) == (2 * shift + 1) ** 2 * (2 if flip else 1)


@pytest.mark.parametrize("side", [1, 4, 5, 40])
def test_cutout_sets_one_square_to_the_mean_and_nothing_else(side: int) -> None:
    images = noise(300)
    results = augmented(images, Augmentation(cutout=side))
    sizes = set()
    for image, result in zip(images, results, strict=True):
        hole = (result == torch.tensor(MEAN, dtype=torch.uint8)).all(-1)
        assert torch.equal(result[~hole], image[~hole])
        rows, columns = hole.any(1), hole.any(0)
        height, width = int(rows.sum()), int(columns.sum())
        assert torch.equal(hole, rows[:, None] & columns)  # a full rectangle
        for line in (rows, columns):
            assert int(line.diff().sum()) <= 2  # in one piece
        sizes.add((height, width))
    full = (min(side, 9), min(side, 12))
    assert max(sizes) == full and all(h <= full[0] and w <= full[1] for h, w in sizes)
    assert side == 40 or len(sizes) > 1  # squares may hang over the border


def test_nothing_asked_is_nothing_done() -> None:
    images = noise(7)
    assert torch.equal(augmented(images, Augmentation()), images)


def test_what_is_not_asked_for_is_not_drawn() -> None:
    """So that runs of earlier versions go on with the numbers that they began with."""
    plain, more = Augmentation(True, 2, 3), Augmentation(True, 2, 3, resample=True, colour=30)
    first, second = (Draws.of(a, 9, torch.Generator().manual_seed(4)) for a in (plain, more))
    assert (first.way.shape, first.colour.shape) == ((0, 9), (0, 9))
    for name in ("shift", "mirrored", "corner"):
        assert torch.equal(getattr(first, name), getattr(second, name))


def test_half_of_the_pictures_are_resampled_in_every_way() -> None:
    draws = Draws.of(Augmentation(resample=True), 20_000, torch.Generator().manual_seed(0))
    counts = torch.bincount(draws.way[0] + 1, minlength=len(WAYS) + 1)
    assert len(counts) == len(WAYS) + 1
    assert 0.48 < counts[0] / 20_000 < 0.52
    assert int(counts[1:].min()) > 0.5 * 10_000 / len(WAYS)


def test_colours_change_as_pillow_changes_them() -> None:
    images = noise(6, 20, 16)
    for saturation in (-0.8, -0.3, 0.5):
        change = torch.tensor([0.0, 0.0, saturation])[:, None].expand(3, 6)
        results = recolour(images, change).numpy().astype(int)
        for image, result in zip(images.numpy(), results, strict=True):
            expected = ImageEnhance.Color(Image.fromarray(image)).enhance(1 + saturation)
            assert np.abs(np.asarray(expected).astype(int) - result).max() <= 2  # its grey is whole
    brighter = recolour(images, torch.tensor([0.1, 0.0, 0.0])[:, None].expand(3, 6))
    assert torch.equal(brighter.int(), (images + 25.5).round().clamp(0, 255).int())
    flat = recolour(images, torch.tensor([0.0, -1.0, 0.0])[:, None].expand(3, 6))
    assert torch.equal(flat.int(), images.float().mean((1, 2, 3)).round().int()[:, None, None, None]
                       .expand_as(images))  # fmt: skip


def test_pictures_that_alternate_are_mirrored_as_told() -> None:
    images, mirrored = noise(8), torch.arange(8) % 3 == 0
    how = Augmentation(alternate=True)
    draws = Draws.of(how, 8, torch.Generator().manual_seed(1), mirrored)
    results = augment(images, how, MEAN, draws)
    for image, result, turned in zip(images, results, mirrored, strict=True):
        assert torch.equal(result, image.flip(1) if turned else image)


def test_the_same_generator_gives_the_same_pictures() -> None:
    images = noise(30)
    everything = Augmentation(flip=True, shift=2, cutout=3, resample=True, colour=30)
    before = images.clone()
    assert torch.equal(augmented(images, everything, 8), augmented(images, everything, 8))
    assert not torch.equal(augmented(images, everything, 8), augmented(images, everything, 9))
    assert torch.equal(images, before)


def test_the_offset_is_a_whole_number_and_the_deviation_is_measured() -> None:
    images = noise(50)
    measured = Normalisation.of(images)
    pixels = images.reshape(-1, 3).double().numpy()
    assert all(type(each) is int for each in measured.offset)
    assert measured.offset == tuple(np.rint(pixels.mean(0)).astype(int))
    assert measured.deviation == pytest.approx(tuple(pixels.std(0)))


def test_normalisation_subtracts_and_divides_each_colour() -> None:
    images = noise(4)
    chosen = Normalisation((100, 0, 255), (1.0, 2.0, 64.0))
    result = chosen(images)
    expected = (images.numpy() - np.array([100, 0, 255])) / np.array([1.0, 2.0, 64.0])
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(result.permute(0, 2, 3, 1).numpy(), expected, rtol=1e-6)


def test_a_colour_that_never_varies_has_deviation_one() -> None:
    images = torch.full((3, 8, 8, 3), 200, dtype=torch.uint8)
    assert Normalisation.of(images) == Normalisation((200, 200, 200), (1.0, 1.0, 1.0))
