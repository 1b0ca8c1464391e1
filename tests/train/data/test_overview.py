"""What is said of a folder before the first step is true of it."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bad_inputs.pictures import encoded, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from snn_runtime.errors import InputError
from snn_train.batches import balancing
from snn_train.data import DataSet, load
from snn_train.data.overview import balance, selection, sizes, uncertainty, weighting
from snn_train.data.selecting import drawn


def quiet(items: Iterable[Path], title: str, total: int) -> Iterable[Path]:
    return items


def fill(folder: Path, count: int, seed: int, size: tuple[int, int] = (12, 16)) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        turned = picture(*size)
        turned.putpixel((number % size[1], seed), (number, seed, 255))
        (folder / f"{number:02}.png").write_bytes(encoded(turned, "PNG"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """30 ants and 10 bees to train on, 4 and 4 to select with, 3 and 3 to test."""
    counts = {"train": (30, 10), "valid": (4, 4), "test": (3, 3)}
    for number, (part, (ants, bees)) in enumerate(counts.items()):
        fill(tmp_path / part / "ant", ants, 2 * number)
        fill(tmp_path / part / "bee", bees, 2 * number + 1)
    return tmp_path


def read(root: Path) -> DataSet:
    return load(f"imagefolder:{root}", quiet)


def test_a_folder_of_its_own_selects(root: Path) -> None:
    data = read(root)
    trained, held_out = data.split(0.5, 3)
    assert data.train_labels[trained].bincount().tolist() == [30, 10]
    assert data.train_labels[held_out].bincount().tolist() == [4, 4]
    assert not set(trained.tolist()) & set(held_out.tolist())
    assert int(data.train_images[held_out][0, 2, 0, 1]) == 2  # as `fill` marks valid/ant
    assert data.notes[0] == (
        "40 pictures to train on, 8 to select with, 6 to test on, of 12x16, in 2 classes"
    )
    assert "to train on: ant 30, bee 10" in data.notes
    assert "files hold 12x16 pixels, the network sees 12x16" in data.notes


def test_what_selects_should_not_be_learnt_or_tested_on(root: Path) -> None:
    assert not any("warning" in note for note in read(root).notes)
    for part, place in (("train", "valid"), ("valid", "test")):
        file = next((root / part / "ant").iterdir())
        shutil.copy(file, root / place / "ant" / "copy.png")
    selected, tested = (note for note in read(root).notes if "warning" in note)
    assert "1 of 9 pictures to select with also stand among those to train on: accur" in selected
    assert "1 of 7 test pictures also stand among those to select with (test/ant/copy" in tested


@pytest.mark.parametrize("kind", ["imagefolder", "imagenet"])
def test_copies_never_select_what_was_learnt_from_them(root: Path, kind: str) -> None:
    (root / "valid").rename(root / "away")
    data = load(f"{kind}:{root}", quiet, (12, 16))
    assert data.copies is None
    apart = data.split(0.3, 5)[1]
    for file in (root / "train" / "bee").iterdir():
        os.link(file, file.with_name(f"copy of {file.name}"))
    data = load(f"{kind}:{root}", quiet, (12, 16))
    trained, held_out = data.split(0.3, 5)
    assert data.copies is not None
    assert not {*data.copies[trained].tolist()} & {*data.copies[held_out].tolist()}
    assert data.train_labels[held_out].bincount().tolist() == [9, 6]
    assert torch.equal(held_out[:9], apart[:9])  # those of the class without copies


@pytest.mark.parametrize(("copies", "held_out"), [([0] * 6, 1), ([0, 0, 2, 2, 4, 4], 2)])
def test_a_class_is_divided_however_many_copies_it_has(copies: list[int], held_out: int) -> None:
    chosen = drawn(torch.zeros(6, dtype=torch.int64), 1, 0.1, 0, torch.tensor(copies), 1.0)
    assert int(chosen.sum()) == held_out


@settings(deadline=None)
@given(st.data(), st.integers(0, 99), st.floats(0.05, 0.9))
def test_a_smaller_share_is_a_part_of_a_larger(
    data: st.DataObject, seed: int, fraction: float
) -> None:
    sizes = data.draw(st.lists(st.integers(8, 40), min_size=1, max_size=3))
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    copies = None
    if data.draw(st.booleans()):  # each points to one before it in its class, or to itself
        starts = [sum(sizes[:label]) for label in labels.tolist()]
        firsts = [data.draw(st.integers(start, own)) for own, start in enumerate(starts)]
        copies = torch.tensor([firsts[first] for first in firsts])
    whole = drawn(labels, len(sizes), fraction, seed, copies, 1.0)
    before = whole
    for share in (0.9, 0.7, 0.5, 0.35, 0.2, 0.1):
        chosen = drawn(labels, len(sizes), fraction, seed, copies, share)
        assert not (chosen & ~before).any()
        held, known = labels[chosen].bincount(), labels[whole].bincount()
        assert (held >= 1).all() and len(held) == len(sizes)
        if copies is None:
            assert held.tolist() == [max(1, round(share * count)) for count in known.tolist()]
        else:  # a copy stays on the side of its picture
            assert not {*copies[whole & ~chosen].tolist()} & {*copies[chosen].tolist()}
        before = chosen


def test_what_to_bear_in_mind(root: Path) -> None:
    unbalanced, few = read(root).cautions((0.1, 0, 1.0), True)
    assert unbalanced.startswith("unbalanced: ant has 3.0 times the pictures of bee; ")
    assert "--class-weights none" in unbalanced and few.startswith("8 pictures select")
    (root / "valid").rename(root / "away")
    unbalanced, few = read(root).cautions((0.5, 7, 1.0), False)
    assert "--class-weights balanced" in unbalanced
    assert few.startswith("20 of those to train on, the same share of each class by --seed 7, sel")
    kept = read(root).cautions((0.5, 7, 1.0), False, kept=True)[1]
    assert "the same share of each class as in the run before, sel" in kept
    published = replace(read(root), test_names=())
    assert published.cautions((0.1, 0, 1.0), True) == []


@pytest.mark.parametrize(
    ("folder", "count", "expected"),
    [
        ("", 2, "bee: has 2 pictures, expected 3 or more: one tests, one selects the best epoch"),
        ("", 1, "bee: has 1 picture, expected 3 or more"),
        ("train", 1, "class 'bee' has 1 train image, and none to select with"),
    ],
)
def test_too_few_pictures_of_a_class_are_refused(
    tmp_path: Path, folder: str, count: int, expected: str
) -> None:
    fill(tmp_path / folder / "ant", 30, 1)
    fill(tmp_path / folder / "bee", count, 2)
    for name in ("ant", "bee"):
        if folder:
            fill(tmp_path / "test" / name, 2, 3)
    with pytest.raises(InputError, match=expected):
        read(tmp_path)
    fill(tmp_path / folder / "bee" / "more", 3 - count, 4)
    read(tmp_path).cautions((0.1, 0, 1.0), True)
    if folder:  # which selects, so that one is enough
        (tmp_path / "train" / "bee" / "more").rename(tmp_path / "away")
        for name in ("ant", "bee"):
            fill(tmp_path / "valid" / name, 2, 5)
        assert len(read(tmp_path).cautions((0.1, 0, 1.0), True)) == 2


def test_a_photographs_size_is_that_of_its_file(tmp_path: Path) -> None:
    """Also where a JPEG is decoded at a half, and turned; the network's is small unless asked."""
    for name, size in (("ant", (400, 300)), ("bee", (300, 400))):
        for part in ("train", "test"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(10):
                turned = Image.Exif()
                turned[0x0112] = 6 if name == "bee" else 1
                made = Image.new("RGB", size, (number, 0, ord(part[1])))
                made.save(tmp_path / part / name / f"{number}.jpg", exif=turned)
    data = read(tmp_path)
    assert data.train_images.shape[1:3] == (64, 64)
    assert "photographs are made 64x64 pixels; --image-size is another" in data.notes
    assert "files hold 300x400 pixels, the network sees 64x64" in data.notes


def test_sizes_and_classes_in_words() -> None:
    assert sizes([(96, 96), (640, 480), (200, 300)], (32, 32)) == (
        "files hold 96x96 to 640x480 pixels (median 200x300), the network sees 32x32"
    )
    many = [str(number) for number in range(11)]
    assert balance(many, torch.arange(11).repeat(2)) == "to train on: 2 pictures a class"
    assert balance(many, torch.arange(11)[:7].repeat(2)) == "to train on: 0 to 2 pictures a class"
    assert weighting(("a", "b"), torch.tensor([0, 0, 0, 1, 1]), True) == ""  # 1.5 times
    assert selection(1000, "x", 9) == ""
    assert selection(38, "x", 9).endswith("smaller differences say nothing")
    needed = "; export-snn needs 38 to tell what is unlike anything in training: add pictures"
    assert selection(37, "", 9).endswith(f"{needed} there")
    assert selection(37, "x", 9).endswith(f"{needed}, or begin with a larger --validation")
    assert 100 * uncertainty(0.9, 100) == pytest.approx(5.88)


def test_classes_count_alike() -> None:
    labels = torch.tensor([0] * 30 + [1] * 10 + [2] * 5)
    weights = balancing(labels)
    assert weights is not None and float(weights.mean()) == pytest.approx(1)
    sums = [float(weights[labels == number].sum()) for number in range(3)]
    assert sums == pytest.approx([15, 15, 15])
    assert balancing(torch.tensor([0, 1, 0, 1])) is None
