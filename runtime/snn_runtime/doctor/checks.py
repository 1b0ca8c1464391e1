"""Every engine in a process of its own: a driver's library that crashes takes down no more."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from snn_runtime.engines.choice import BACKENDS, Choice
from snn_runtime.machine.children import child_environment, main_command

COMMAND: Sequence[str] = main_command("snn_runtime.doctor.probe")
CPU_PATIENCE, GPU_PATIENCE = 60.0, 600.0
"""Seconds: on a small board TensorRT builds an engine for minutes, once."""


@dataclass(frozen=True)
class Check:
    """What came of one engine. The names are part of the JSON form."""

    backend: str
    device: str
    works: bool
    reason: str | None = None
    """Why it does not work, or why its self-test failed."""
    code: str | None = None
    """The error: `backend_unavailable`, `crashed`, `hangs`, `self_test`, `golden_hash`, …"""
    details: str | None = None
    """How it runs: `avx512, 2 threads`."""
    self_test: str | None = None
    """`passed` or `failed`; None where it does not work."""
    load_seconds: float | None = None
    milliseconds: float | None = None
    """Median for one picture at a time."""
    runs: int | None = None
    """How many pictures the median is of."""

    @property
    def flags(self) -> str:
        """The flags with which `snn-infer` takes this engine."""
        only = (self.backend, self.device) in Choice(self.backend).candidates
        return f"--backend {self.backend}" + ("" if only else f" --device {self.device}")


def check_all(model: Path | None, patience: float | None) -> Iterator[Check]:
    """Try every engine, one after the other, so that none disturbs another's time.

    Args:
        patience: Seconds for each; None is what its kind of device usually takes.
    """
    for backend, device in BACKENDS:
        usual = CPU_PATIENCE if device == "cpu" else GPU_PATIENCE
        yield check(model, backend, device, patience or usual)


def check(model: Path | None, backend: str, device: str, patience: float) -> Check:
    """Try one engine."""
    command = [*COMMAND, str(model or ""), backend, device]
    code, said, complained = _finished(command, patience)
    if code is None:
        why = f"it does not answer within {patience:g} s"
        return Check(backend, device, False, why, "hangs")
    if code < 0:
        with suppress(ValueError):
            name = signal.Signals(-code).name
            return Check(backend, device, False, f"its process is ended by {name}", "crashed")
    try:
        return Check(backend, device, **json.loads(said))
    except (ValueError, TypeError):
        last = complained.strip().splitlines() or [f"its process ends with code {code}"]
        return Check(backend, device, False, f"it broke down: {last[-1]:.200}", "crashed")


def fastest(checks: Sequence[Check]) -> Check | None:
    """Return the fastest of the engines that work and passed the self-test."""
    timed = [(c.milliseconds, i) for i, c in enumerate(checks) if c.self_test == "passed"]
    known = [(time, i) for time, i in timed if time is not None]
    return checks[min(known)[1]] if known else None


def _finished(command: Sequence[str], patience: float) -> tuple[int | None, str, str]:
    """Run a command and return its code, None if it had to be ended, and what it printed."""
    reader, writer = os.pipe()  # its end tells the child that we are gone
    try:
        process = subprocess.Popen(
            command,
            stdin=reader,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=child_environment(),
            text=True,
            errors="replace",
            start_new_session=True,  # to be ended with all that it started
        )
        with process:
            try:
                said, complained = process.communicate(timeout=patience)
            except subprocess.TimeoutExpired:
                _end(process)
                return None, "", ""
            except BaseException:
                _end(process)
                raise
        return process.returncode, said, complained
    finally:
        os.close(reader)
        os.close(writer)


def _end(process: "subprocess.Popen[str]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
