"""Where pictures come from: lists of names, pipes with many pictures, parts of all."""

import os
import subprocess
from pathlib import Path

import pytest
from bad_inputs.pictures import encoded
from hypothesis import given
from hypothesis import strategies as st
from infer_command import RED, Command, finish, png, start
from PIL import Image

from snn_runtime.errors import InputError, UsageError
from snn_runtime.infer import cli as infer
from snn_runtime.infer.listed import LONGEST, names
from snn_runtime.infer.sources import Asked, find

COLOURS = ("red", "lime", "blue")
LABELS = ["red", "green", "blue"]


def jpeg(colour: str) -> bytes:
    return encoded(Image.new("RGB", (64, 48), colour), "JPEG")


def labels(outcome: bytes) -> list[str]:
    return [line.split(": ")[1].split()[0] for line in outcome.decode().splitlines()]


def pipe(data: bytes) -> int:
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    return reading


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """Seven red pictures."""
    for n in range(7):
        (tmp_path / f"{n}.png").write_bytes(RED)
    return sorted(map(str, tmp_path.iterdir()))


# Standard input


def test_every_jpeg_in_a_pipe_is_labelled(model: Path) -> None:
    process = start(model, "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    outcome = finish(process, b"".join(map(jpeg, COLOURS)))
    assert labels(outcome.out) == LABELS and outcome.code == 0
    assert [line.split(": ")[0] for line in outcome.out.decode().splitlines()] == [
        "-",
        "-:2",
        "-:3",
    ]


def test_what_a_pipe_holds_beside_pictures_is_told(model: Path) -> None:
    process = start(model, "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    outcome = finish(process, jpeg("red") + b"X" + jpeg("lime") + jpeg("blue"))
    names = [line.split(b": ")[0] for line in outcome.out.splitlines()]
    assert outcome.code == 4 and names == [b"-", b"-:3", b"-:4"]
    assert "snn-infer: error: -:2: no picture: passed over to the next JPEG" in outcome.err


def test_an_answer_does_not_wait_for_the_next_picture(model: Path) -> None:
    process = start(model, "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin and process.stdout
    for colour, label in zip(COLOURS * 3, LABELS * 3, strict=True):
        process.stdin.write(jpeg(colour))
        process.stdin.flush()
        assert labels(process.stdout.readline()) == [label]
    assert finish(process).code == 0


def test_a_bad_picture_in_a_pipe_costs_no_other(model: Path) -> None:
    process = start(model, "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    outcome = finish(process, jpeg("red") + jpeg("blue")[:-60] + jpeg("lime"))
    assert labels(outcome.out) == ["red", "green"] and outcome.code == 4
    assert "error: -:2: is a damaged JPEG" in outcome.err


def test_a_picture_beyond_the_limit_ends_a_pipe(model: Path) -> None:
    process = start(
        model, "--max-bytes", "2000", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    noise = encoded(Image.effect_noise((200, 200), 90), "JPEG")
    outcome = finish(process, jpeg("red") + noise)
    assert labels(outcome.out) == ["red"] and outcome.code == 4
    assert "-:2: has more than 2,000 bytes, the limit is 2,000 (--max-bytes)" in outcome.err


# Lists


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\0"])
def test_a_list_of_names(separator: str, snn_infer: Command, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, colour in zip(("-a b.png", "caf\udce9.png", "folder/c.png"), COLOURS, strict=True):
        (tmp_path / name).write_bytes(png(colour))
    listed = [str(tmp_path / "-a b.png"), str(tmp_path / "caf\udce9.png"), str(folder)]
    mark = "" if separator == "\0" else "\ufeff"
    text = mark.encode() + os.fsencode(separator.join([*listed, "", "missing.png"]))
    (tmp_path / "list").write_bytes(text)
    outcome = snn_infer("--files-from", tmp_path / "list", "--format", "json")
    assert [r["predictions"][0]["label"] for r in outcome.records if r["ok"]] == LABELS
    assert outcome.codes == {"missing.png": "missing"}


def test_a_list_may_be_a_pipe(model: Path, photos: list[str]) -> None:
    listed = "\n".join(photos).encode()
    process = start(model, "--files-from", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin and process.stdout
    process.stdin.write(listed[:-4])
    process.stdin.flush()
    for _ in photos[:-1]:  # answers come while the list still grows
        assert process.stdout.readline().endswith(b": red 96.5%\n")
    assert finish(process, listed[-4:]).out.count(b"red") == 1
    reading = pipe(listed)
    process = start(
        model, "--files-from", f"/dev/fd/{reading}", stdout=subprocess.PIPE, pass_fds=[reading]
    )
    os.close(reading)
    assert len(labels(finish(process).out)) == 7


@given(st.lists(st.binary(min_size=1, max_size=5).filter(lambda name: b"\0" not in name)))
def test_any_name_can_be_listed(raw: list[bytes]) -> None:
    raw = [b".", *raw]  # a list that names no file at all must be text
    reading = pipe(b"".join(name + b"\0" for name in raw))
    try:
        found = [name for name in names(f"/dev/fd/{reading}") if name is not None]
    finally:
        os.close(reading)
    assert [os.fsencode(name) for name in found] == raw


def test_lists_that_are_none(snn_infer: Command, tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"a" * (LONGEST + 1))
    noise = encoded(Image.effect_noise((64, 64), 90), "JPEG")
    (tmp_path / "cat.jpg").write_bytes(noise)
    (tmp_path / "zeros").write_bytes(bytes(LONGEST + 2**17))
    (tmp_path / "lines").write_bytes(b"\r\n" * (LONGEST // 2 + 2**16))
    (tmp_path / "empty").write_bytes(b"\n\n")
    (tmp_path / "windows").write_text("cat.jpg\ndog.jpg\n", "utf-16")
    for path, said in (
        ("none", "no such file [missing]"),
        (".", "is a folder and no list of names: give it as INPUT [not_a_regular_file]"),
        ("/dev/zero", "is neither a file nor a pipe"),
        ("/dev/null", "[not_a_regular_file]"),
        ("zeros", "is no list of names: 1,048,576 bytes without one [bad_list]"),
        ("lines", "is no list of names: 1,048,576 bytes without one [bad_list]"),
        ("empty", "error: {}: there is no name in this list [no_images]"),
        ("cat.jpg", "cat.jpg: is no list of names, for it is no text [bad_list]"),
        ("windows", "it is in UTF-16, and UTF-8 is expected [bad_list]"),
        ("long", "is no list of names: 1,048,576 bytes without one [bad_list]"),
    ):
        outcome = snn_infer("--files-from", tmp_path / path)
        assert outcome.code == 3 and said.format(tmp_path / path) in outcome.err
        assert outcome.err.count("\n") == 1 + (path == "empty")
    with pytest.raises(UsageError, match="standard input is one or the other"):
        infer.parse_args(["--files-from", "-", "-"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0", "a camera is camera:0 [missing]"),
        ("/dev/video7", "a camera is camera:/dev/video7 [missing]"),
        ("file:///a.jpg", "rtsps://, files with no such thing [missing]"),
    ],
)
def test_what_other_programs_call_so(text: str, said: str, snn_infer: Command) -> None:
    outcome = snn_infer(text)
    assert outcome.code == 3 and said in outcome.err


def test_a_folder_that_is_named_like_a_camera(photos: list[str], snn_infer: Command) -> None:
    folder = Path(photos[0]).parent / "0"
    folder.mkdir()
    (folder / "a.png").write_bytes(RED)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.parent)
        assert snn_infer("0").code == 0


# Parts


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 9])
def test_the_parts_are_the_whole(parts: int, photos: list[str]) -> None:
    found = []
    for part in range(1, parts + 1):
        asked = Asked((os.path.dirname(photos[0]),), shard=(part, parts))
        found.append([source.name for source in find(asked) if source])
    assert sorted(sum(found, [])) == photos
    assert max(map(len, found)) - min(map(len, found)) <= 1


def test_a_part_without_pictures_is_no_failure(photos: list[str], snn_infer: Command) -> None:
    outcome = snn_infer("--format", "json", "--shard", "9/9", *photos)
    assert outcome.code == 0 and outcome.records == []


def test_a_working_folder_that_is_gone_is_named(model: Path, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    program = (
        "import os, sys; os.chdir('here'); os.rmdir('../here');"
        "from snn_runtime.infer.cli import main; sys.exit(main())"
    )
    outcome = finish(start(model, ".", program=program, cwd=tmp_path, stdout=subprocess.PIPE))
    assert outcome.code == 3 and "snn-infer: error: .: no such file [missing]" in outcome.err


def test_a_folder_of_which_nothing_is_left_says_so(
    photos: list[str], tmp_path: Path, snn_infer: Command
) -> None:
    folder = tmp_path / "links"
    folder.mkdir()
    (folder / "a.png").symlink_to(photos[0])
    outcome = snn_infer("--format", "json", folder)
    assert outcome.code == 3 and outcome.codes == {"links": "skipped"}
    assert f"error: {folder}: all its pictures are links that lead outside" in outcome.err
    assert snn_infer("--only-label", folder, photos[0]).out == b"\n\nred\n"
    (folder / "b.png").write_bytes(RED)
    assert snn_infer("--only-label", folder).out == b"\nred\n"  # a line for each


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "a/b", "1/2/3", "-1/3"])
def test_what_is_no_part(text: str) -> None:
    with pytest.raises(UsageError, match="is not i/n"):
        infer.parse_args([f"--shard={text}", "a.jpg"])


def test_a_list_that_cannot_be_read_is_named() -> None:
    with pytest.raises(InputError, match="zero byte"):
        next(names("a\0b"))
