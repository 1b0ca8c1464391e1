"""Running workers: one at a time, their errors raised here, none left behind."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from snn_bench.worker import Task
from snn_runtime import errors
from snn_runtime.errors import ResourceError
from snn_runtime.machine.children import child_environment, main_command

COMMAND: Sequence[str] = main_command("snn_bench.worker")
PATIENCE = 5.0
"""Seconds that a child is given to end after an interruption."""


def run_child(task: Task) -> dict[str, Any]:
    """Do the task in a process of its own and return its result.

    Raises:
        SnnError: What the child met, of the class it met.
        ResourceError: `child_failed`: it was killed or broke down.
    """
    folder = Path(task.folder)
    order, answer = folder / "task.json", folder / "result.json"
    order.write_text(json.dumps(asdict(task)))
    answer.unlink(missing_ok=True)
    # Our standard output is for results: what libraries print goes to standard error. A session of
    # its own, so that Ctrl-C reaches us alone and we end the child.
    process = subprocess.Popen(
        [*COMMAND, str(order), str(answer)],
        stdin=subprocess.PIPE,  # never written to: its end tells the child that we are gone
        stdout=2,
        env=child_environment(),
        start_new_session=True,
    )
    try:
        code = process.wait()
    except BaseException:
        _end(process)
        raise
    finally:
        if process.stdin is not None:
            process.stdin.close()
    if code or not answer.exists():
        names = ", ".join(contender.name for contender in task.contenders)
        raise ResourceError(
            "child_failed", f"the process that measures {names} ended with code {code}"
        )
    result: dict[str, Any] = json.loads(answer.read_text())
    if "error" in result:
        raise errors.named(**result["error"])
    return result


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
