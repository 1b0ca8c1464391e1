"""What pages of docs/ show, run: their commands in this process, their examples, their output."""

import contextlib
import io
import re
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
MAINS = {
    "train-snn": "snn_train.cli",
    "export-snn": "snn_export.cli",
    "snn-infer": "snn_runtime.infer.cli",
    "snn-bench": "snn_bench.cli",
    "snn-doctor": "snn_runtime.doctor.cli",
    "snn-serve": "snn_serve.cli",
}


def blocks(page: str) -> list[tuple[str, str]]:
    """The fenced blocks of a page, in order: language ("" for output) and text."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", (DOCS / page).read_text(), re.M | re.S)


def commands(text: str) -> list[str]:
    """The commands of a block, continued lines joined."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.split(" ")[0] in MAINS]


def run(line: str, codes: Sequence[int] = (0,)) -> str:
    """Run a command in this process, `> FILE` obeyed; what it prints on standard output."""
    words, _, target = line.partition(" > ")
    out, said, before = io.TextIOWrapper(io.BytesIO()), io.StringIO(), sys.argv
    sys.argv = shlex.split(words)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
            code = import_module(MAINS[sys.argv[0]]).main()
            out.flush()
    finally:
        sys.argv = before
    assert code in codes, said.getvalue()
    assert isinstance(out.buffer, io.BytesIO)
    printed = out.buffer.getvalue().decode()
    if target:
        Path(target.split()[0]).write_text(printed)
    return printed


def example(text: str, names: dict[str, object]) -> str:
    """Execute a block of Python; what it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(text, names)
    return out.getvalue()
