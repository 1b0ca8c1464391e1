"""docs/reference/error-codes.md lists every code that an error may carry, and no other."""

import ast
import re
from pathlib import Path

from snn_runtime import errors

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "error-codes.md"
PACKAGES = (
    "train/snn_train",
    "export/snn_export",
    "runtime/snn_runtime",
    "runtime/snn_serve",
    "runtime/snn_bench",
)
CLASSES = {name for name in vars(errors) if name.endswith("Error")}


def sources() -> list[str]:
    return [path.read_text() for part in PACKAGES for path in (ROOT / part).rglob("*.py")]


def raised() -> set[tuple[str, str]]:
    """Class and code of every error that is made with a literal code."""
    found = set()
    for source in sources():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and node.args and isinstance(node.func, ast.Name):
                code = node.args[0]
                if node.func.id in CLASSES and isinstance(code, ast.Constant):
                    found.add((node.func.id, str(code.value)))
    return found


def published() -> set[tuple[str, str]]:
    found = set()
    for heading, body in re.findall(r"^## (\w+)(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S):
        for line in body.splitlines():
            if heading in CLASSES and line.startswith("| `"):
                found |= {(heading, code) for code in re.findall(r"`(\w+)`", line.split("|")[1])}
            elif match := re.match(r"\| (\w+Error) \| \d+ \| `(\w+)`", line):
                found.add((match[1], match[2]))
    return found


def test_every_code_is_listed_under_its_class() -> None:
    assert raised() and not raised() - published()


def test_no_code_is_listed_that_nothing_carries() -> None:
    text = "\n".join(sources())
    for name, code in published() - raised():  # composed, or taken from a table
        kind = code.partition("_")[0]
        literal = rf'["\[]{code}["\]]' if kind != "unknown" else 'f"unknown_{what}"'
        assert re.search(literal, text) or literal in text, (name, code)


def test_exit_codes_are_those_of_the_classes() -> None:
    page = PAGE.read_text()
    headings = re.findall(r"^## (\w+Error), exit code (\d+)", page, re.M)
    rows = re.findall(r"^\| (\w+Error) \| (\d+) \|", page, re.M)
    said = {name: int(code) for name, code in headings + rows}
    assert said == {name: getattr(errors, name).exit_code for name in CLASSES}
