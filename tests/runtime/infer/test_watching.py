"""A folder that is watched: what arrives is labelled once it is whole, whoever writes it how."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import pytest
from infer_command import RED, Command, png, start

from snn_runtime.errors import InputError
from snn_runtime.infer import watching
from snn_runtime.infer.results import Results
from snn_runtime.infer.sources import Source
from snn_runtime.infer.watching import SETTLED, arriving


class Watch:
    """The folder as it is looked at: a look at a time, on a clock of its own."""

    def __init__(self, folder: Path, *, follow: bool = False) -> None:
        self.now = 0.0
        self.found = arriving(str(folder), follow=follow, sleep=self.sleep, clock=lambda: self.now)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def look(self, times: int = 1) -> list[str]:
        """Names of what is found, up to the end of that many looks."""
        names = []
        while times:
            source = next(self.found)
            if source is None:
                times -= 1
            else:
                names.append(os.path.basename(source.name))
        return names


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


def test_what_is_there_and_what_arrives(inbox: Path) -> None:
    (inbox / "a.png").write_bytes(RED)
    watch = Watch(inbox)
    assert watch.look() == [] and watch.look() == ["a.png"] and watch.look(3) == []
    (inbox / "deep" / "er").mkdir(parents=True)
    (inbox / "deep" / "er" / "b.png").write_bytes(RED)
    (inbox / ".hidden.png").write_bytes(RED)
    (inbox / "c.png.part").write_bytes(RED)
    assert watch.look(3) == ["b.png"]
    (inbox / "c.png.part").rename(inbox / "c.png")
    assert watch.look(3) == ["c.png"]


def test_a_file_is_waited_for_while_somebody_writes_it(inbox: Path) -> None:
    watch = Watch(inbox)
    with open(inbox / "a.png", "wb", buffering=0) as file:
        for n in range(len(RED)):
            file.write(RED[n : n + 1])
            assert watch.look() == []
        assert watch.look(50) == []  # complete, and still open
    assert watch.look() == ["a.png"] and watch.look(3) == []


def test_a_writer_in_another_process_that_is_slow(inbox: Path) -> None:
    program = f"""
import sys
with open({str(inbox / "a.png")!r}, "wb", buffering=0) as file:
    for byte in {RED!r}[:40]:
        file.write(bytes([byte]))
    print("half", flush=True)
    sys.stdin.readline()
    file.write({RED!r}[40:])
print("whole", flush=True)
"""
    writer = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert writer.stdin and writer.stdout
    with writer:
        watch = Watch(inbox)
        assert writer.stdout.readline() == b"half\n"
        assert watch.look(30) == []
        writer.stdin.write(b"\n")
        writer.stdin.flush()
        assert writer.stdout.readline() == b"whole\n"
        assert watch.look(2) == ["a.png"]


def test_where_the_kernel_tells_no_writers_time_does(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_has_writer", lambda path: None)
    watch = Watch(inbox)
    path = inbox / "a.png"
    for n in range(20, len(RED), 5):
        path.write_bytes(RED[:n])
        os.utime(path, ns=(0, n))
        assert watch.look() == []
        watch.sleep(SETTLED / 2)
    while watch.look() == []:
        pass
    assert path.stat().st_mtime_ns == n and watch.now > SETTLED


def test_a_picture_written_again_is_another_one(inbox: Path) -> None:
    watch = Watch(inbox)
    latest = inbox / "latest.png"
    for n, colour in enumerate(("red", "lime", "red")):
        fresh = inbox / ".new"
        fresh.write_bytes(png(colour))
        os.utime(fresh, ns=(n, n))
        fresh.rename(latest)
        assert watch.look(3) == ["latest.png"]
    latest.unlink()
    assert watch.look(2) == []
    latest.write_bytes(RED)
    assert watch.look(3) == ["latest.png"]


def test_what_arrives_after_a_new_start_is_labelled_however_often_it_was_before(
    inbox: Path, tmp_path: Path
) -> None:
    latest, file = inbox / "latest.png", tmp_path / "answers.jsonl"
    latest.write_bytes(RED)
    (inbox / "new.png").write_bytes(RED)
    file.write_text(json.dumps({"path": str(latest), "ok": True}) + "\n", "ascii")
    file.write_text(3 * file.read_text("ascii"), "ascii")
    watch, results = Watch(inbox), Results(file, "0123456789abcdef")
    watch.found = results.without_done(watch.found)
    assert watch.look(3) == ["new.png"]
    for n in range(4):
        os.utime(latest, ns=(n, n))
        assert watch.look(3) == ["latest.png"]
    latest.unlink()
    assert watch.look(2) == []
    latest.write_bytes(RED)
    assert watch.look(3) == ["latest.png"]
    results.close()


def test_what_changes_while_the_first_look_waits_for_it_has_arrived(inbox: Path) -> None:
    watch = Watch(inbox)
    latest = inbox / "latest.png"
    latest.write_bytes(RED[:50])
    assert watch.look() == []
    latest.write_bytes(RED)
    source = next(filter(None, watch.found))
    assert source.arrived


def test_a_folder_that_goes_away_and_comes_back(
    inbox: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (inbox / "a.png").write_bytes(RED)
    watch = Watch(inbox)
    assert watch.look(2) == ["a.png"]
    shutil.rmtree(inbox)
    assert watch.look(5) == []
    inbox.mkdir()
    (inbox / "b.png").write_bytes(RED)
    assert watch.look(3) == ["b.png"]
    inbox.rename(inbox.parent / "elsewhere")
    assert watch.look() == []
    said = [record.getMessage() for record in caplog.records]
    gone = f"{inbox}: no such file; waiting for it"
    assert said == [gone, f"{inbox} is back", gone]


def test_links_out_of_it_are_named_once(inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "far.png").write_bytes(RED)
    (inbox / "far.png").symlink_to(tmp_path / "far.png")
    found = arriving(str(inbox), sleep=lambda _: None)
    first = [source for source, _ in zip(found, range(8), strict=False) if source]
    skipped = "is a link that leads outside the folder (--follow)"
    assert first == [Source(str(inbox / "far.png"), skipped=skipped)]
    assert Watch(inbox, follow=True).look(3) == ["far.png"]


def test_what_is_no_file_is_an_error_once(inbox: Path) -> None:
    os.mkfifo(inbox / "a.png")
    (inbox / "b.png").symlink_to("nowhere.png")
    watch = Watch(inbox)
    assert watch.look() == [] and watch.look() == ["a.png", "b.png"] and watch.look(3) == []
    (inbox / "nowhere.png").write_bytes(RED)  # another picture of both names
    assert watch.look() == [] and watch.look() == ["b.png", "nowhere.png"]
    os.mkfifo(inbox / "c.png")
    found = [each for each in (next(watch.found) for _ in range(4)) if each and each.error]
    assert [(each.error.code, str(each.error)) for each in found if each.error] == [
        ("not_a_regular_file", "is not a regular file [not_a_regular_file]")
    ]


def test_there_must_be_a_folder(tmp_path: Path, snn_infer: Command) -> None:
    with pytest.raises(InputError, match="none: no such folder"):
        next(arriving(str(tmp_path / "none")))
    outcome = snn_infer("--watch", tmp_path / "none")
    assert (outcome.code, outcome.err.count("\n")) == (3, 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--watch", ".", "a.png"], "no INPUT and no --files-from goes with it"),
        (["--watch", ".", "--files-from", "names"], "no INPUT and no --files-from goes with it"),
        (["--watch", ".", "--shard", "1/2"], "is for what has an end"),
        (["--watch", ".", "--move-to", "{label}"], "would arrive again"),
        (["--watch", ".", "--move-to", "./a/../b/{label}/c"], "would arrive again"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], said: str, snn_infer: Command) -> None:
    outcome = snn_infer(*words)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1) and said in outcome.err
    assert snn_infer("--watch", "none", "--move-to", "non{label}").code == 3


@pytest.fixture
def running(
    inbox: Path, model: Path, tmp_path: Path
) -> Iterator[tuple[subprocess.Popen[bytes], "Queue[bytes]"]]:
    """The command, watching, and the lines of its answers as they come."""
    target = str(tmp_path / "sorted" / "{label}")
    options = ("--watch", inbox, "--move-to", target, "--yes")
    process = start(model, *options, stdout=subprocess.PIPE)
    lines: Queue[bytes] = Queue()

    def read() -> None:
        assert process.stdout
        for line in process.stdout:
            lines.put(line)

    reader = threading.Thread(target=read)
    reader.start()
    yield process, lines
    process.kill()
    reader.join()
    process.communicate()


def test_the_command_keeps_on(
    inbox: Path, tmp_path: Path, running: tuple[subprocess.Popen[bytes], "Queue[bytes]"]
) -> None:
    process, lines = running
    with open(inbox / "slow.png", "wb", buffering=0) as file:
        for n in range(0, len(RED), 20):
            file.write(RED[n : n + 20])
            time.sleep(0.05)
    assert lines.get(timeout=20) == f"{inbox}/slow.png: red 96.5%\n".encode()
    (inbox / "bad.png").write_bytes(RED[:50])
    (inbox / "blue.png").write_bytes(png("blue"))
    assert lines.get(timeout=20) == f"{inbox}/blue.png: blue 96.5%\n".encode()
    while (inbox / "blue.png").exists():  # its new name is taken before it moves
        assert process.poll() is None
    assert (tmp_path / "sorted" / "blue" / "blue.png").exists()
    shutil.rmtree(inbox)
    inbox.mkdir()
    (inbox / "again.png").write_bytes(RED)
    assert lines.get(timeout=20) == f"{inbox}/again.png: red 96.5%\n".encode()
    process.send_signal(2)
    assert process.wait(timeout=10) == 130
    assert process.stderr
    said = process.stderr.read().decode()
    assert "error: " + str(inbox / "bad.png") + ": is a PNG that ends too early" in said
    assert said.endswith("snn-infer: interrupted\n")
