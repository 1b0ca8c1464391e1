"""Child processes take our modules and nobody else's."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from snn_bench import children as workers
from snn_runtime.doctor import checks
from snn_runtime.machine.children import child_environment, main_command
from snn_runtime.video import reading


@pytest.mark.parametrize(
    "command",
    [checks.COMMAND, workers.COMMAND, reading.COMMAND, main_command("snn_serve.decoder")],
)
def test_a_module_of_the_current_folder_is_not_taken(
    command: Sequence[str], tmp_path: Path
) -> None:
    for name in ("json", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a module of anybody')")
    *words, program = command
    done = subprocess.run(
        [*words, program.replace("main())", "main.__name__)")],
        cwd=tmp_path,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == "main\n"  # it is imported, and its name the last word
