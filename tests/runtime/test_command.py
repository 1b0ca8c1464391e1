"""What all commands share: how signals end them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from snn_runtime import command

ROOT = Path(command.__file__).parents[1]
LEAVE = "an exception"


def started(handler: str = "signal.SIG_DFL", then: str = "raise") -> subprocess.Popen[bytes]:
    """A command that waits for standard input, and closes nothing before it has a line of it."""
    program = f"""
import os, signal, sys
from snn_runtime.command import run_command
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, {handler})
def body():
    try:
        print("begun", flush=True)
        sys.stdin.read()
    except BaseException:
        print("{LEAVE}", flush=True)
        sys.stdin.readline()
        print("closed", flush=True)
        {then}
    return 7
sys.exit(run_command("test", body))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stdout.readline() == b"begun\n"
    return process


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGINT, "interrupted"),
        (signal.SIGTERM, "stopped by signal 15"),
        (signal.SIGHUP, "stopped by signal 1"),
    ],
)
def test_a_signal_ends_a_command_and_a_second_one_does_not_hurry_it(number: int, said: str) -> None:
    with started() as process:
        assert process.stdout is not None and process.stderr is not None
        process.send_signal(number)
        assert process.stdout.readline().decode().strip() == LEAVE
        process.send_signal(number)
        hint = b"test: closing what is open; a third signal ends at once\n"
        assert process.stderr.readline() == hint
        out, err = process.communicate(b"\n", timeout=20)
    assert (process.returncode, out, err.decode()) == (128 + number, b"closed\n", f"test: {said}\n")


def test_a_third_signal_ends_a_command_at_once() -> None:
    with started() as process:
        assert process.stdout is not None and process.stderr is not None
        process.send_signal(signal.SIGTERM)
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130


def test_what_breaks_behind_a_signal_is_no_bug() -> None:
    with started(then="raise ValueError") as process:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(b"\n", timeout=20)
    assert (process.returncode, err) == (143, b"test: stopped by signal 15\n")


@pytest.mark.parametrize(
    ("handler", "code"), [("lambda *_: os._exit(5)", 5), ("signal.SIG_IGN", 7)]
)
def test_handlers_that_are_there_stay(handler: str, code: int) -> None:
    with started(handler) as process:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == code


@pytest.mark.parametrize("form", ["ascii", "utf-8:strict", "ascii:surrogateescape"])
def test_what_a_terminal_cannot_show_ends_no_command(form: str) -> None:
    """The name of a file in bytes that are no UTF-8, a unit in a terminal of ASCII."""
    program = """
import sys
from snn_runtime.command import run_command
sys.exit(run_command("test", lambda: print("\\udcff.onnx: 3 \\xb5J") or 0))
"""
    environment = {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": form}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    unit = "µ".encode() if form.startswith("utf") else b"\\xb5"
    assert done.stdout == b"\\udcff.onnx: 3 " + unit + b"J\n"


def test_a_working_folder_that_is_gone_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    try:
        assert command.run_command("test", lambda: len(os.path.abspath("a"))) == 7
    finally:
        monkeypatch.undo()
        tmp_path.mkdir()
    said = "test: error: the working folder: No such file or directory [resource]\n"
    assert capsys.readouterr().err == said
