"""Folders as people have them: what is trained on, what is passed over, and that it is said."""

import os
import shutil
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from bad_inputs.pictures import claims, encoded, picture
from in_memory import in_memory

from snn_runtime.errors import InputError
from snn_runtime.image import folder as walked
from snn_train.data import DataSet, imagefolder, load

CLASSES = ("ant", "bee")


def quiet(items: Iterable[Path], title: str, total: int) -> Iterable[Path]:
    return items


def read(root: Path, kind: str = "imagefolder", size: tuple[int, int] | None = None) -> DataSet:
    return load(f"{kind}:{root}", quiet, size)


def refusal(root: Path, kind: str = "imagefolder") -> str:
    with pytest.raises(InputError) as caught:
        read(root, kind)
    assert caught.value.code == "bad_data"
    return caught.value.message


def said(data: DataSet, *expected: str) -> None:
    notes = "\n".join(data.notes)
    for part in expected:
        assert part in notes, notes


def fill(folder: Path, count: int, seed: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        turned = picture(12, 16)
        turned.putpixel((number, seed), (number, seed, 255))
        (folder / f"{number:02}.png").write_bytes(encoded(turned, "PNG"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten pictures a class to train on and three to test, all different."""
    for label, name in enumerate(CLASSES):
        fill(tmp_path / "set" / "train" / name, 10, label)
        fill(tmp_path / "set" / "test" / name, 3, label + 5)
    return tmp_path / "set"


def pixels(data: DataSet) -> set[bytes]:
    return {each.numpy().tobytes() for each in data.train_images[:]}


@pytest.mark.parametrize("kind", ["imagefolder", "imagenet"])
def test_pictures_in_deeper_folders_count(root: Path, kind: str) -> None:
    before = read(root, kind, (12, 16))
    expected = pixels(before)
    (root / "train" / "ant" / "day2" / "am").mkdir(parents=True)
    for number in (3, 4, 5):
        file = root / "train" / "ant" / f"{number:02}.png"
        file.rename(file.parent / "day2" / "am" / file.name)
    after = read(root, kind, (12, 16))
    assert after.train_labels.tolist() == before.train_labels.tolist() == [0] * 10 + [1] * 10
    said(after, "20 pictures to train on, 6 to test on, of 12x16, in 2 classes")
    assert pixels(after) == expected


@pytest.mark.parametrize("kind", ["imagefolder", "imagenet"])
def test_what_is_no_picture_is_passed_over_and_counted(root: Path, kind: str) -> None:
    before = read(root, kind, (12, 16))
    ant = root / "train" / "ant"
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._00.png", "notes.txt"):
        (ant / name).write_bytes(b"no picture")
    for name in ("__MACOSX", "@eaDir"):
        fill(root / "train" / name, 1, 9)  # no class either
        fill(ant / name, 1, 9)
    os.mkfifo(ant / "pipe.png")
    (ant / "gone.png").symlink_to("nowhere.png")
    (ant / "all").symlink_to(root)
    after = read(root, kind, (12, 16))
    assert after.labels == CLASSES and pixels(after) == pixels(before)
    said(
        after,
        "20 pictures to train on",
        "passed over: ",
        f"2 {walked.HIDDEN} (.DS_Store, …)",
        f"4 {walked.OF_THE_SYSTEM} (",
        f"1 {walked.NO_PICTURE} (notes.txt)",
        f"1 {walked.SPECIAL} (pipe.png)",
        f"1 {walked.DANGLING} (gone.png)",
        f"1 {walked.SEEN} (all)",
    )
    assert not any("passed over" in note for note in before.notes)


def test_links_are_followed_and_classes_may_be_links(root: Path, tmp_path: Path) -> None:
    before = read(root)
    shutil.move(root / "train" / "bee", tmp_path / "elsewhere")
    (root / "train" / "bee").symlink_to(tmp_path / "elsewhere")
    shutil.move(root / "train" / "ant" / "00.png", tmp_path / "one.png")
    (root / "train" / "ant" / "00.png").symlink_to(tmp_path / "one.png")
    after = read(root)
    assert after.labels == CLASSES
    assert torch.equal(in_memory(after.train_images), in_memory(before.train_images))


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Test", "testing"])
@pytest.mark.parametrize("kind", ["imagefolder", "imagenet"])
def test_the_test_set_has_many_names(root: Path, kind: str, name: str) -> None:
    (root / "test").rename(root / name)
    (root / "train").rename(root / "Train")
    data = read(root, kind)
    assert data.test_labels.tolist() == [0, 0, 0, 1, 1, 1]
    if (kind, name) != ("imagenet", "val"):
        said(data, f"the test set is {name}")


def test_of_more_parts_it_is_said_which_is_not_read(root: Path) -> None:
    for name in ("val", "testing"):
        shutil.copytree(root / "test", root / name)
    said(read(root), "6 to select with, 6 to test on", "not read: testing")


@pytest.mark.parametrize("kind", ["imagefolder", "imagenet"])
def test_pictures_beside_the_parts_are_spoken_of(
    root: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A class that was put beside train, not into it."""
    (root / "labels").mkdir()
    (root / "labels" / "all.csv").write_text("00.png,ant")
    fill(root / ".cache", 2, 0)
    (root / "test").rename(root / "val")
    assert read(root, kind).labels == CLASSES and caplog.messages == []
    fill(root / "cat" / "indoors", 4, 9)
    fill(root / "training", 1, 9)
    assert read(root, kind).labels == CLASSES
    assert caplog.messages == [
        f"{root}: not read, since they stand beside train and val: cat (4 pictures), training "
        "(1 picture); a class needs a folder in both, other pictures are best moved elsewhere"
    ]


@pytest.mark.parametrize("kind", ["imagefolder", "imagenet"])
@pytest.mark.parametrize("name", ["Train", "TEST"])
def test_two_parts_whose_names_differ_by_case_are_refused(root: Path, kind: str, name: str) -> None:
    """Which of them is read was the file system's choice."""
    shutil.copytree(root / name.lower(), root / name)
    assert f"has {name} and {name.lower()}: join or rename them" in refusal(root, kind)


@pytest.mark.parametrize("place", ["", "train"])
def test_classes_alone_are_split_the_same_whatever_is_asked(root: Path, place: str) -> None:
    for name in CLASSES:
        for file in (root / "test" / name).iterdir():
            file.rename(root / "train" / name / f"more {file.name}")
    shutil.rmtree(root / "test")
    alone = root / "train" if place == "" else root
    data, again = read(alone), read(alone, size=(12, 16))
    assert data.labels == CLASSES
    assert data.train_labels.tolist() == [0] * 10 + [1] * 10
    assert data.test_labels.tolist() == [0] * 3 + [1] * 3
    said(data, "no test folder", "a fifth of every class", "whatever --seed is")
    assert torch.equal(in_memory(data.test_images), in_memory(again.test_images))
    tested = {each.numpy().tobytes() for each in in_memory(data.test_images)}
    assert len(tested) == 6 and not tested & pixels(data)


def test_copies_of_a_picture_stay_on_one_side_of_a_split(root: Path) -> None:
    shutil.rmtree(root / "test")
    for file in sorted((root / "train" / "ant").iterdir()):
        shutil.copy(file, file.with_name(f"copy of {file.name}"))
    data = read(root)
    assert len(data.labels) == 2 and len(data.train_labels) + len(data.test_labels) == 30
    assert not any("also stand" in note for note in data.notes)


def test_a_class_of_copies_is_split_or_refused(root: Path) -> None:
    shutil.rmtree(root / "test")
    first, second, third, *others = sorted((root / "train" / "ant").iterdir())
    for number in range(30):
        shutil.copy(first, first.with_name(f"copy {number}.png"))
    for file in others:
        shutil.copy(first, file)
    divided = imagefolder.read(root, quiet, None, "crop")
    assert {*divided.train.labels} == {*divided.test.labels} == {0, 1}
    shutil.copy(first, second)
    assert "ant: has 2 pictures besides copies, expected 3 or more: one tests" in refusal(root)
    shutil.copy(first, third)
    assert "ant: has 1 picture besides copies, expected 3 or more" in refusal(root)


@pytest.mark.parametrize("pictures", [3, 10])
def test_a_digest_that_ends_in_zeros_is_one(
    root: Path, monkeypatch: pytest.MonkeyPatch, pictures: int
) -> None:
    """Numpy cuts such bytes, and a class in 256 had a test picture less, perhaps its only one."""
    shutil.rmtree(root / "test")
    for name in CLASSES:
        for file in sorted((root / "train" / name).iterdir())[pictures:]:
            file.unlink()
    monkeypatch.setattr(
        imagefolder, "digests", lambda images: [bytes([n, 0]) for n in range(len(images))]
    )
    tested = imagefolder.read(root, quiet, None, "crop").test.labels
    assert tested.tolist() == [0] * (pictures // 5 or 1) + [1] * (pictures // 5 or 1)


def test_all_that_is_bad_is_named_at_once_and_after_ten_counted(root: Path) -> None:
    bad = [root / "train" / "ant" / "00.png", root / "train" / "bee" / "07.png",
           root / "test" / "ant" / "01.png"]  # fmt: skip
    for file in bad:
        file.write_bytes(file.read_bytes()[:60])
    message = refusal(root)
    assert message.startswith("3 cannot be used: ")
    assert all(f"{file}: " in message for file in bad)
    for file in (root / "train").rglob("*.png"):
        file.write_bytes(b"")
    message = refusal(root)
    assert message.startswith("20 cannot be used: ") and message.endswith("; and 10 more")
    assert message.count(".png: ") == 10


def test_files_of_impossible_sizes_are_named_at_once(root: Path) -> None:
    files = [root / "train" / "bee" / "07.png", root / "test" / "ant" / "01.png"]
    for file in files:
        file.write_bytes(b"")
    message = refusal(root, "imagenet")
    assert all(f"{file}: has 0 bytes, expected 1 to" in message for file in files)


def test_an_unreadable_folder_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "train" / "ant" / "secret").mkdir()
    scandir = os.scandir

    def deny(path: str) -> object:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", deny)
    assert f"{root}/train/ant/secret: permission denied" in refusal(root)


def test_test_pictures_that_are_trained_on_are_counted(root: Path) -> None:
    source = root / "train" / "ant"
    shutil.copy(source / "04.png", root / "test" / "ant" / "other name.png")
    (root / "test" / "bee" / "again.bmp").write_bytes(encoded(picture(12, 16), "BMP"))
    (source / "10.png").write_bytes(encoded(picture(12, 16), "PNG"))  # the same in another format
    said(read(root), "warning: 2 of 8 test pictures also stand among those to train on (test/ant/")
    shutil.copy(source / "04.png", root / "train" / "bee" / "x.png")
    said(read(root), "warning: 2 pictures to train on stand in two classes or more")


def test_links_between_parts_of_a_large_set_are_counted(root: Path) -> None:
    file = root / "test" / "ant" / "00.png"
    file.unlink()
    file.symlink_to(root / "train" / "ant" / "00.png")
    said(
        read(root, "imagenet"), "warning: 1 of 6 test pictures also stand among", "test/ant/00.png"
    )


def test_two_ways_to_write_a_letter_are_one_class(root: Path) -> None:
    composed, apart = "café", unicodedata.normalize("NFD", "café")
    assert composed != apart
    (root / "train" / "ant").rename(root / "train" / composed)
    (root / "test" / "ant").rename(root / "test" / apart)
    data = read(root)
    assert data.labels == ("bee", composed) and data.test_labels.tolist() == [0] * 3 + [1] * 3
    (root / "train" / "bee").rename(root / "train" / apart)
    assert f"has two class folders that read {composed}" in refusal(root)


def test_the_size_is_said_and_that_of_photographs_is_small(root: Path) -> None:
    first = root / "train" / "ant" / "00.png"
    said(read(root), f"pictures are 12x16 pixels, the size of {first}; --image-size is another")
    assert not any("--image-size" in note for note in read(root, size=(12, 16)).notes)
    first.write_bytes(encoded(picture(64, 65), "PNG"))
    said(read(root), "photographs are made 64x64 pixels; --image-size is another")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train/ant", "train/bee", "tset/ant"], "test: no such folder, nor testing"),
        (["test/ant", "test/bee"], "train: no such folder, expected it beside test"),
        (["data/train/ant"], "has 1 class folders (data), expected at least 2"),
        ([], "has 0 class folders, expected at least 2"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, names: list[str], expected: str) -> None:
    for name in names:
        (tmp_path / name).mkdir(parents=True)
    assert expected in refusal(tmp_path)


def test_a_class_name_that_no_model_can_have_is_refused_before_training(root: Path) -> None:
    for part in ("train", "test"):
        (root / part / "ant").rename(root / part / "گربه\u200cها")
    assert read(root).labels == ("bee", "گربه\u200cها")
    for part in ("train", "test"):
        (root / part / "bee").rename(root / part / "bee\n")
    assert "'bee\\n' holds characters nobody can see (U+000A); rename the class" in refusal(root)


@pytest.mark.parametrize("kind", ["imagefolder", "imagenet"])
def test_a_picture_of_too_many_pixels_is_refused_without_a_flag_that_is_not_there(
    root: Path, kind: str
) -> None:
    file = root / "train" / "ant" / "00.png"
    file.write_bytes(claims(20_000, 20_000))
    expected = f"{file}: has 20000 x 20000 = 400,000,000 pixels, the limit is 50,000,000"
    if kind == "imagefolder":
        message = refusal(root)
    else:
        with pytest.raises(InputError) as caught:
            read(root, kind).train_images[:]
        message = caught.value.message
    assert message.startswith(f"{expected}; make it smaller") and "--max" not in message
