"""Where facts come from: files below a root and the output of commands, replaceable by tests."""

import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE = 5.0
"""Seconds that a command may take: some wait for hardware that does not answer."""


class Unknown(Exception):
    """A fact that cannot be had, and why."""


def output_of(command: Sequence[str]) -> str:
    """Return what `command` prints.

    Raises:
        Unknown: It is not here, fails or hangs.
    """
    name = os.path.basename(command[0])
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except FileNotFoundError as error:
        raise Unknown(f"{name} is not here") from error
    except subprocess.TimeoutExpired as error:
        raise Unknown(f"{name} does not answer within {PATIENCE:g} s") from error
    except OSError as error:
        raise Unknown(f"{name} does not start: {error.strerror}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["without a word"]
        raise Unknown(f"{name} fails (code {done.returncode}): {said[-1]:.100}")
    return done.stdout


@dataclass(frozen=True)
class System:
    """The machine, or what a test says it is."""

    root: Path = Path("/")
    run: Callable[[Sequence[str]], str] = output_of
    machine: str = field(default_factory=platform.machine)
    """As `uname -m` says."""
    allowed: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    """Logical processors that this process may run on."""
    packages: tuple[Path, ...] | None = None
    """Where Python's packages are; None is where they really are."""

    def read(self, path: str) -> str:
        """Return a small text file, without the zeros that end strings of the device tree.

        Raises:
            Unknown: It is not here or may not be read.
        """
        try:
            text = (self.root / path).read_text("utf-8", "replace")
        except FileNotFoundError as error:
            raise Unknown(f"there is no /{path}") from error
        except OSError as error:
            raise Unknown(f"/{path}: {error.strerror}") from error
        return text.replace("\0", "").strip()

    def exists(self, path: str) -> bool:
        return (self.root / path).exists()

    def glob(self, pattern: str) -> list[Path]:
        """Return what is there, in order; a pattern that may not be followed finds nothing."""
        try:
            return sorted(self.root.glob(pattern))
        except OSError:
            return []
