"""One walk for all commands: what is taken, what is passed over, and why."""

import os
from pathlib import Path

import pytest

from snn_runtime.image.folder import (
    DANGLING,
    HIDDEN,
    NO_PICTURE,
    OF_THE_SYSTEM,
    OUTSIDE,
    SEEN,
    SPECIAL,
    Tally,
    named_as_picture,
    walk,
)


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def found(root: Path, follow: bool = False) -> dict[str, str]:
    return {os.path.relpath(e.path, root): e.passed for e in walk(str(root), follow=follow)}


def test_folders_are_walked_to_any_depth_in_order(tmp_path: Path) -> None:
    make(tmp_path, "b.PNG", "a/2.jpg", "a/1.JpEg", "a/deep/er/3.tif", "c.webp")
    names = ["a/1.JpEg", "a/2.jpg", "a/deep/er/3.tif", "b.PNG", "c.webp"]
    assert list(found(tmp_path).items()) == [(name, "") for name in names]
    assert all(map(named_as_picture, names))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Thumbs.db", OF_THE_SYSTEM),
        ("desktop.ini", OF_THE_SYSTEM),
        ("__MACOSX/a.jpg", OF_THE_SYSTEM),
        ("@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", OF_THE_SYSTEM),
        ("$RECYCLE.BIN/a.jpg", OF_THE_SYSTEM),
        ("System Volume Information/a.jpg", OF_THE_SYSTEM),
        (".DS_Store", HIDDEN),
        ("._a.jpg", HIDDEN),
        (".thumbnails/a.jpg", HIDDEN),
        ("notes.txt", NO_PICTURE),
        ("a.jpg.xmp", NO_PICTURE),
        ("film.mp4", NO_PICTURE),
        ("jpg", NO_PICTURE),
    ],
)
def test_what_is_nobodys_picture_is_passed_over_and_counted(
    tmp_path: Path, name: str, reason: str
) -> None:
    make(tmp_path, "a.jpg", f"deep/{name}", name)
    top = name.split("/")[0]
    assert found(tmp_path) == {"a.jpg": "", top: reason, f"deep/{top}": reason}
    assert not named_as_picture(name) and not named_as_picture(f"deep/{name}")


def test_what_is_no_file_is_told_from_pictures(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "circle.jpg").symlink_to("circle.jpg")
    reasons = {"pipe.jpg": SPECIAL, "gone.jpg": DANGLING, "circle.jpg": DANGLING}
    assert found(tmp_path) == found(tmp_path, follow=True) == reasons


def test_links_end_wherever_they_lead(tmp_path: Path) -> None:
    make(tmp_path, "root/cat/1.jpg", "root/dog/2.jpg", "far/3.jpg")
    cat = tmp_path / "root" / "cat"
    (cat / "up").symlink_to("..")
    (cat / "all").symlink_to(tmp_path)
    (cat / "far").symlink_to(tmp_path / "far")
    (cat / "again").symlink_to(tmp_path / "far")
    (cat / "one.jpg").symlink_to(tmp_path / "far" / "3.jpg")
    followed = {"1.jpg": "", "again/3.jpg": "", "all": SEEN, "far": SEEN, "one.jpg": "", "up": SEEN}
    assert found(cat, follow=True) == followed
    outside = dict.fromkeys(["again", "all", "far", "one.jpg", "up"], OUTSIDE)
    assert found(cat) == {"1.jpg": "", **outside}


def test_a_tally_counts_and_gives_examples(tmp_path: Path) -> None:
    make(tmp_path, ".a", "Thumbs.db", "deep/Thumbs.db", "x.txt")
    tally = Tally()
    assert not tally
    for entry in walk(str(tmp_path)):
        tally.add(entry)
    said = "1 hidden (.a), 2 left by a system (Thumbs.db, …), 1 without an image suffix (x.txt)"
    assert str(tally) == said
