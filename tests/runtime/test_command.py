"""What all commands share: how signals end them, in and outside a container."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from snn_runtime import command

ROOT = Path(command.__file__).parents[1]


def ended_by(number: int, pid: str, handler: str = "signal.SIG_DFL") -> int:
    """Return how a command ends that gets a signal while it waits for standard input."""
    program = f"""
import os, signal, sys
from snn_runtime.command import run_command
os.getpid = lambda: {pid}
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, {handler})
def body():
    print("begun", flush=True)
    sys.stdin.read()
    return 7
sys.exit(run_command("test", body))
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(number)
        if handler == "signal.SIG_IGN":
            process.stdin.close()
        return process.wait(timeout=20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_first_process_of_a_container_ends_as_any_other_would(number: int) -> None:
    """The kernel ends no process 1 that has not asked for the signal."""
    assert ended_by(number, pid="1") == 128 + number
    assert ended_by(number, pid="2") == -number


def test_handlers_that_are_there_stay() -> None:
    assert ended_by(signal.SIGTERM, "1", "lambda *_: os._exit(5)") == 5
    assert ended_by(signal.SIGHUP, "1", "signal.SIG_IGN") == 7
