"""Child processes: what they are given, and that none is left behind."""

import os
import sys
from pathlib import Path


def python_command(program: str) -> list[str]:
    """The command that runs a program of ours in a process of its own. The current folder, which
    Python would put first, may hold modules of anybody's."""
    return [sys.executable, "-c", f"import sys; sys.path = [*filter(None, sys.path)]; {program}"]


def main_command(module: str) -> list[str]:
    """The command that runs `main` of a module."""
    return python_command(f"from {module} import main; sys.exit(main())")


def child_environment() -> dict[str, str]:
    """Ours, and where this package was found: it need not be installed."""
    here = str(Path(__file__).parents[2])
    paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def leave_with_parent() -> None:
    """End this process when standard input does: however the parent ended, nobody waits for us."""
    os.read(0, 1)
    os._exit(1)
