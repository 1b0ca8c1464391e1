"""The line that shows how far the work is: on a terminal, never in a pipe."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from infer_command import RED, start

from snn_runtime.infer import progress
from snn_runtime.infer.progress import Progress, line


def test_what_is_said() -> None:
    assert line(1024, 4096, 2.0) == (
        "1,024 of 4,096 [######------------------] 512 pictures a second, 0:06 left"
    )
    assert line(50, 2_000_000, 10.0).endswith("5.0 pictures a second, 111:06:30 left")
    assert line(7, None, 2.0) == "7 done, 3.5 pictures a second"
    assert line(9, 8, 2.0) == "9 done, 4.5 pictures a second"
    assert line(0, 8, 2.0).endswith("0.0 pictures a second")


def test_it_comes_after_a_second_and_goes_before_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    shown = Progress(lambda: 8, lambda: now[0])
    shown.show(1)
    shown.clear()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "Thread", AtOnce)
    now[0] += 2
    shown.show(2)
    shown.show(3)  # too soon to be seen
    shown.clear()
    shown.clear()
    expected = f"\r\x1b[K{line(2, 8, 2.0)}"[:90]
    assert capsys.readouterr().err.startswith(expected[:60])
    now[0] += 2
    shown.show(4)
    assert "4 of 8" in capsys.readouterr().err


class AtOnce:
    """A thread that has done its work when it is started."""

    def __init__(self, target: object, args: tuple[object, ...], daemon: bool) -> None:
        assert callable(target) and daemon
        target(*args)

    def start(self) -> None:
        pass


def test_a_terminal_that_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(text: str) -> None:
        raise OSError("it hung up")

    monkeypatch.setattr(sys.stderr, "write", write)
    now = iter([0.0, 5.0])
    Progress(None, lambda: next(now)).show(1)


def run_on_terminal(model: Path, *arguments: str) -> tuple[bytes, str]:
    """What the command prints on standard output, and on a terminal as standard error, where a
    second is over at once."""
    ours, theirs = pty.openpty()
    program = (
        "import sys; from snn_runtime.infer import cli, progress; progress._AFTER = 0; "
        "progress._AGAIN = 0; sys.exit(cli.main())"
    )
    process = start(model, *arguments, program=program, stderr=theirs, stdout=subprocess.PIPE)
    os.close(theirs)
    out, _ = process.communicate(timeout=20)
    said = b""
    try:
        while piece := os.read(ours, 4096):
            said += piece
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.returncode == 0
    return out, said.decode()


def test_on_a_terminal_and_in_a_pipe(model: Path, tmp_path: Path) -> None:
    for n in range(100):
        (tmp_path / f"{n:03}.png").write_bytes(RED)
    out, said = run_on_terminal(model, str(tmp_path))
    assert out.count(b": red 96.5%\n") == 100 and b"\x1b" not in out
    assert re.search(r"\d+ of 100 \[[#-]{24}\] [\d,.]+ pictures a second, \d:\d\d left", said)
    *_, last = said.replace("\r\n", "\n").split("\x1b[K")
    assert last.startswith("snn-infer: 100 labelled (")  # nothing of the line is left
    process = start(model, str(tmp_path), stdout=subprocess.PIPE)
    _, piped = process.communicate(timeout=20)
    assert piped.count(b"\n") == 1 and b"\x1b" not in piped
