"""The command export-snn, as a process and as a function, for tests of imported files."""

import contextlib
import io
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from snn_export import cli
from snn_runtime.command import run_command
from snn_runtime.model import load

__all__ = ["export", "load", "refusal"]


def export(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the real command in `folder`."""
    program = "import sys; from snn_export.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def refusal(arguments: Sequence[object]) -> tuple[int, str]:
    """Run the command in this process; return its exit code and what it says on stderr."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = run_command(
            "export-snn", lambda: cli.run(cli.parse_args([str(a) for a in arguments]))
        )
    return code, said.getvalue()
