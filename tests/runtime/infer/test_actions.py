"""What is done with pictures that are labelled: moved to a folder, handed to a command."""

import errno
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from infer_command import RED, Command, finish, png, start
from post_server import receiving, slowly

from snn_runtime.answer import Answer, Prediction
from snn_runtime.errors import ResourceError, UsageError
from snn_runtime.infer import cli as infer
from snn_runtime.infer.actions import Uninterrupted
from snn_runtime.infer.moving import Moving, move
from snn_runtime.infer.sources import Source


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Pictures of two colours, of which two have the same name, and one that nobody can tell."""
    monkeypatch.chdir(tmp_path)
    for name, colour in {"a": "red", "sub/a": "red", "b": "blue", "c": "black"}.items():
        path = tmp_path / f"photos/{name}.png"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(png(colour))
    yield tmp_path


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# Moving


def test_nothing_moves_until_it_is_told(here: Path, snn_infer: Command) -> None:
    before = tree(here)
    outcome = snn_infer("--move-to", "sorted/{label}", "photos")
    assert outcome.code == 0 and tree(here) == before
    assert "photos/a.png would be moved to sorted/red/a.png\n" in outcome.err
    assert "c.png would" not in outcome.err
    totals = "would be moved: 2 to sorted/red, 1 to sorted/blue; stay: 1 doubtful"
    assert f"snn-infer: {totals}\n" in outcome.err


@pytest.mark.parametrize("target", ["sorted/{label}", "photos/{label}"])
def test_a_folder_is_sorted(target: str, here: Path, snn_infer: Command) -> None:
    outcome = snn_infer("--move-to", target, "--yes", "photos")
    folder = target.removesuffix("/{label}")
    assert outcome.code == 0 and outcome.out.count(b"\n") == 4
    moved = {f"{folder}/{name}" for name in ("red/a.png", "red/a-2.png", "blue/b.png")}
    assert tree(here) == moved | {"photos/c.png"}
    assert f"snn-infer: photos/b.png moved to {folder}/blue/b.png\n" in outcome.err
    assert f"snn-infer: moved: 2 to {folder}/red, 1 to {folder}/blue; stay: 1 d" in outcome.err
    again = snn_infer("--move-to", target, "--yes", folder)
    assert again.code == 0 and tree(here) == moved | {"photos/c.png"}
    assert again.err.count("is in its place") == 3
    assert "snn-infer: moved: none; stay: 3 in their place" in again.err


def test_totals_name_a_screen_of_folders(here: Path) -> None:
    labels = [f"label {number}" for number in range(1000)]
    moving = Moving("{label}", labels, really=False)
    for number, label in enumerate(["label 7", *labels]):
        moving(Source(f"{number}.png"), Answer((Prediction(label, 0, 1.0, 1.0),)))
    said = moving.totals()
    assert said.startswith("would be moved: 2 to label 7, 1 to label 0, ")
    assert said.endswith(", 1 to label 19, others to 980 more folders")


def test_nothing_is_overwritten(here: Path, snn_infer: Command) -> None:
    (here / "red").mkdir()
    (here / "red" / "a.png").write_bytes(b"somebody else's")
    (here / "red" / "a-2.png").symlink_to("nowhere")
    assert snn_infer("--move-to", "{label}", "--yes", "photos/a.png").code == 0
    assert (here / "red" / "a.png").read_bytes() == b"somebody else's"
    assert (here / "red" / "a-3.png").read_bytes() == RED


def test_a_list_is_moved_as_it_comes_and_a_film_in_it_is_none(here: Path, model: Path) -> None:
    (here / "film.mp4").write_bytes(b"\0\0\0\x18ftypmp42 and no more")
    words = ("--files-from", "-", "--move-to", "sorted/{label}", "--yes")
    process = start(model, *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=here)
    assert process.stdin and process.stdout
    process.stdin.write(b"photos/a.png\n")
    process.stdin.flush()
    assert process.stdout.readline().startswith(b"photos/a.png: red")  # while the list is open
    outcome = finish(process, b"film.mp4\nphotos/b.png\n")
    said = "film.mp4: is a film, and --move-to is for pictures in files [not_an_image]"
    assert outcome.code == 4 and said in outcome.err
    assert {"sorted/red/a.png", "sorted/blue/b.png", "film.mp4"} < tree(here)


@pytest.mark.parametrize("words", [["--yes"], []])
def test_a_picture_that_cannot_be_moved_stays(
    words: list[str], here: Path, snn_infer: Command
) -> None:
    """And is told of beforehand."""
    (here / "red").write_bytes(b"no folder")
    (here / "photos" / "a-link.png").symlink_to("b.png")
    outcome = snn_infer("--move-to", "{label}", *words, "photos")
    assert outcome.code == 4
    assert all(os.path.lexists(f"photos/{name}.png") for name in ("a", "sub/a", "a-link"))
    assert (
        "error: photos/a.png: cannot be moved to red: that is no folder [unwritable]" in outcome.err
    )
    assert "photos/a-link.png: cannot be moved to blue: it is a link" in outcome.err
    assert "snn-infer: 5 labelled, 3 not acted on (" in outcome.err


def other_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "rename", rename)


def test_to_another_file_system(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = here / "photos" / "a.png"
    path.chmod(0o640)
    os.utime(path, (10**9, 10**9))
    other_file_system(monkeypatch)
    target = move(path, here)
    assert target == here / "a.png" and target.read_bytes() == RED and not path.exists()
    status = target.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o640, 10**9)


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="no second file system here")
def test_to_a_real_other_file_system(here: Path) -> None:
    other = Path("/dev/shm") / f"snn-{os.getpid()}"
    other.mkdir()
    try:
        assert move(here / "photos" / "a.png", other).read_bytes() == RED
        assert tree(other) == {"a.png"} and not (here / "photos" / "a.png").exists()
    finally:
        for path in other.iterdir():
            path.unlink()
        other.rmdir()


@pytest.mark.parametrize("fails", ["fsync", "replace", "unlink"])
def test_a_move_that_fails_leaves_things_as_they_were(
    fails: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(here)
    path = here / "photos" / "a.png"

    def fail(what: object, *_: object, **__: object) -> None:
        if fails != "unlink" or what == path:
            raise OSError(errno.ENOSPC, "No space left on device")
        os.unlink(str(what))

    other_file_system(monkeypatch)
    monkeypatch.setattr(Path if fails == "unlink" else os, fails, fail)
    with pytest.raises(OSError, match="No space left"):
        move(path, here)
    monkeypatch.undo()
    assert tree(here) == before and path.read_bytes() == RED


def test_an_end_waits_for_the_move_that_is_on_its_way(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So Ctrl-C leaves no half copy, and no empty file with the name of a picture."""
    begun, go_on, replaced = threading.Event(), threading.Event(), os.replace

    def replace(*paths: str) -> None:
        begun.set()
        assert go_on.wait(60)
        replaced(*paths)

    other_file_system(monkeypatch)
    monkeypatch.setattr(os, "replace", replace)
    moving = Uninterrupted(Moving("{label}", ["red"], really=True))
    red = Answer((Prediction("red", 0, 0.0, 0.9),))
    with ThreadPoolExecutor(2) as pool:
        moved = pool.submit(moving, Source("photos/a.png"), red)
        assert begun.wait(60)
        closed = pool.submit(moving.close)
        assert not wait([closed], 0.05).done
        go_on.set()
        closed.result(60)
        assert moved.result(60) == "photos/a.png moved to red/a.png"
    assert moving(Source("photos/sub/a.png"), red) == ""
    assert tree(here) == {"red/a.png", "photos/sub/a.png", "photos/b.png", "photos/c.png"}


@pytest.mark.parametrize("label", ["../up", "a/b", "..", ".hidden", "x" * 256])
def test_labels_that_would_lead_elsewhere(label: str) -> None:
    with pytest.raises(UsageError, match="is no name of a folder"):
        Moving("{label}", ["cat", label], really=True)


def test_an_unsure_answer_moves_nothing_and_a_file_that_is_gone_leaves_nothing(here: Path) -> None:
    before = tree(here)
    unsure = Answer((Prediction("cat", 0, 0.0, 0.4),))
    assert Moving("{label}", ["cat"], really=True)(Source("no such file"), unsure) == ""
    with pytest.raises(ResourceError):
        sure = Answer((Prediction("cat", 0, 0.0, 0.4),), threshold=0.3)
        Moving("{label}", ["cat"], really=True)(Source("no such file"), sure)
    assert tree(here) == before


# Commands


def test_a_command_is_given_words_and_no_shell(here: Path, model: Path) -> None:
    odd = here / "$(touch x); {label} 'a b.png"
    odd.write_bytes(png("blue"))
    program = "import sys; print(sys.argv[1:], sys.stdin.read())"
    process = start(
        model,
        *("--on-label", "blue>0.9", str(odd), "photos", "--"),
        *(sys.executable, "-c", program, "{path}", "{label}={probability}", "{x}"),
        stdout=subprocess.PIPE,
    )
    outcome = finish(process)
    assert outcome.code == 0 and b"argv" not in outcome.out
    assert outcome.out.count(b"\n") == 5 and not (here / "x").exists()
    lines = [line for line in outcome.err.splitlines() if line.startswith("[")]
    assert lines == [
        f"{[str(odd), 'blue=0.9647', '{x}']} ",
        "['photos/b.png', 'blue=0.9647', '{x}'] ",
    ]


def test_a_picture_without_a_file_is_on_standard_input(here: Path, model: Path) -> None:
    process = start(
        model,
        "--on-label",
        "red",
        "-",
        "--",
        "cmp",
        "-",
        "photos/a.png",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"]},
    )
    assert finish(process, RED).code == 0


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["false"], "false ended with exit code 1 [child_failed]"),
        (["sh", "-c", "kill -9 $$"], "sh ended with signal 9 [child_failed]"),
        (["./none"], "./none cannot be run: No such file or directory [child_failed]"),
        (["a\0b"], "cannot be run: embedded null byte [child_failed]"),
    ],
)
def test_a_command_that_fails_is_reported(
    command: list[str], said: str, here: Path, snn_infer: Command
) -> None:
    outcome = snn_infer("--on-label", "red", "photos", "--", *command)
    assert outcome.code == 4 and outcome.err.count(said) == 2
    assert outcome.out.count(b"\n") == 4


@pytest.mark.parametrize(("command", "code"), [(["test", "-s"], 0), (["rmdir"], 4)])
def test_a_command_finds_the_picture_where_it_was_found_before_it_moves(
    command: list[str], code: int, here: Path, snn_infer: Command
) -> None:
    """And it moves, also where the command fails."""
    words = ("--move-to", "sorted/{label}", "--yes", "--on-label", "red", "photos")
    outcome = snn_infer(*words, "--", *command, "{path}")
    assert outcome.code == code and outcome.err.count("rmdir ended with") == (2 if code else 0)
    assert tree(here / "sorted") == {"red/a.png", "red/a-2.png", "blue/b.png"}


def test_a_label_is_posted(here: Path, snn_infer: Command) -> None:
    with receiving() as receiver:
        outcome = snn_infer(
            "--on-label", "red", "--post", receiver.url, "--format", "json", "photos"
        )
        lines = [json.loads(line) for line in outcome.out.splitlines()]
    assert outcome.code == 0 and "not acted on" not in outcome.err
    assert receiver.posts == [
        each for each in lines if each.get("path") in ("photos/a.png", "photos/sub/a.png")
    ]


def test_a_folder_waits_for_its_posts(here: Path, snn_infer: Command) -> None:
    for n in range(90):
        (here / "photos" / f"n{n}.png").write_bytes(png("red"))
    with receiving(slowly) as receiver:
        outcome = snn_infer("--on-label", "red", "--post", receiver.url, "photos")
        assert outcome.code == 0 and len(receiver.posts) == 92


def test_posts_that_are_lost_are_told(here: Path, snn_infer: Command) -> None:
    with receiving(lambda: 500) as receiver:
        outcome = snn_infer("--on-label", "red", "--post", receiver.url, "photos")
        assert len(receiver.posts) == 2
    assert outcome.code == 4 and outcome.out.count(b"\n") == 4
    said = f"snn-infer: error: --post {receiver.url}: the answer is 500 Internal Server Error; "
    assert outcome.err.count("500 Internal Server Error") == 1 and said in outcome.err
    assert "the next failures are only counted [not_posted]\n" in outcome.err
    assert "4 labelled, 2 not acted on" in outcome.err


def test_conditions(here: Path, snn_infer: Command) -> None:
    def ran(condition: str, *more: str) -> int:
        return snn_infer("--on-label", condition, *more, "photos", "--", "false").err.count("ended")

    assert [ran("red>0.9"), ran("red>0.97"), ran("red>0.3"), ran("red")] == [2, 0, 3, 2]
    assert ran("red", "--threshold", "0.3") == 3
    assert snn_infer("--on-label", "rde", "photos", "--", "false").err == (
        "snn-infer: error: --on-label: the model has no label 'rde', but red, green, blue "
        "[bad_flag]\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--on-label", "red", "a.png"], "--on-label needs a command, or --post"),
        (["--on-label", "red", "--post", "http://a/", "a.png", "--", "true"], "--on-label needs"),
        (["--on-label", "red", "--post", "me@a.org", "a.png"], "expected http"),
        (["--post", "http://a/", "a.png"], "--post is for --on-label"),
        (
            ["--on-label", "red>2", "a.png", "--", "true"],
            "'2' is not a probability from 0 to below 1",
        ),
        (["--on-label", "red>1", "a.png", "--", "true"], "not a probability from 0 to below 1"),
        (["--on-label", "red", "a.png", "--", ""], "'' behind --: expected a command"),
        (["--on-label", "red", "--on-label", "blue", "a.png", "--", "true"], "is given twice"),
        (["--explain", "x.png", "--annotate", "./x.png", "a.png"], "--annotate names a file that"),
        (["--resume", "x.png", "--explain", "x.png", "a.png"], "--explain names a file that"),
        (["--resume", "a.png", "a.png"], "--resume names a file that another flag names, too"),
        (["--files-from", "x.jpg", "--annotate", "x.jpg"], "--annotate names a file that"),
        (["--model", "m.png", "--explain", "m.png", "a.png"], "--explain names a file that"),
        (["--fps", "1e-12", "camera:0"], "'1e-12' is not a number from 1/86400, one a day"),
        (["--move-to", "sorted", "a.png"], "lacks {label}"),
        (["--move-to", "{label}", "-"], "standard input, films and cameras are none"),
        (["--yes", "a.png"], "is for --move-to"),
        (["--only-label", "--format", "csv", "a.png"], "asks for more"),
        (["--threshold", "nan", "a.png"], "is not a probability"),
        *(
            (["--crop", text, "a.png"], "is not x,y,w,h")
            for text in ("1,2,3", "0,0,7,9", "a,0,9,9")
        ),
    ],
)
def test_what_cannot_be_obeyed_is_refused(words: list[str], said: str, snn_infer: Command) -> None:
    outcome = snn_infer(*words)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1) and said in outcome.err


def test_one_folder_takes_what_two_flags_write(here: Path, snn_infer: Command) -> None:
    words = ("--annotate", "shown", "--explain", "shown", "photos/a.png")
    assert snn_infer(*words).code == 0 and tree(here / "shown") == {"a.jpg", "a.png"}


def test_names_behind_two_dashes_are_names_where_no_command_is_asked_for() -> None:
    assert infer.parse_args(["--", "-a.png", "--on-label"]).inputs == ["-a.png", "--on-label"]
    args = infer.parse_args(["--on-label=red", "a.png", "--", "b", "--", "c"])
    assert (args.inputs, args.command) == (["a.png"], ["b", "--", "c"])


# Labels alone, thresholds


def test_labels_alone(here: Path, snn_infer: Command) -> None:
    (here / "photos" / "aa.png").write_bytes(b"")
    outcome = snn_infer("--only-label", "photos")
    assert (outcome.out, outcome.code) == (b"red\n\nblue\n\nred\n", 4)
    assert snn_infer("--only-label", "--threshold", "0.3", "photos/c.png").out == b"red\n"


def test_a_threshold(here: Path, snn_infer: Command) -> None:
    assert b"a.png: unsure: red 96.5%" in snn_infer("--threshold", "0.97", "photos").out
    assert b"c.png: red 33.3%\n" in snn_infer("--threshold", "0.3", "photos").out
    (record,) = snn_infer("--threshold", "0.97", "--format", "json", "photos/a.png").records
    assert record["unsure"] is True
