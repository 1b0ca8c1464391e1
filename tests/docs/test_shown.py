"""Every command line that a page shows is one that its command understands."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
from flag_values import PARSERS
from pages import MAINS

ROOT = Path(__file__).parents[2]
PARTS = ("docs", "train", "export", "runtime", "tests", "docker", "examples")
PAGES = [*ROOT.glob("*.md"), *(page for part in PARTS for page in (ROOT / part).rglob("*.md"))]
WRAPPERS = re.compile(r"^(\$ |sudo |amd64 \$ |arm64 \$ |torchrun .*--no-python |curl [^|]*\| )")


def shown(text: str) -> list[str]:
    """The command lines of a page's blocks, without prompts, comments, redirections and pipes."""
    found = []
    for block in re.findall(r"^```\w*\n(.*?)^```$", text, re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            line = WRAPPERS.sub("", line.strip())
            line = re.split(r"\s(?:#|>|<|\||&&|2>)(?:\s|$)", line)[0]
            if line.split(" ")[0] in MAINS and "…" not in line:
                found.append(line)
    return found


LINES = sorted({line for page in PAGES for line in shown(page.read_text())})


@pytest.mark.parametrize("line", LINES)
def test_a_command_that_is_shown_is_understood(line: str) -> None:
    command, *arguments = shlex.split(line)
    import_module(PARSERS[command]).parse_args(arguments)


def test_there_are_many() -> None:
    assert len(LINES) > 60 and {line.split(" ")[0] for line in LINES} == set(MAINS)
