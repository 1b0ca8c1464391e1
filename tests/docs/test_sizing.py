"""The arithmetic of the page on sizes says what the page says; its table was measured."""

import contextlib
import csv
import io
import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "how-to" / "size-a-service.md").read_text()


def test_the_examples_are_right() -> None:
    programs = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    answers = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    assert len(programs) == 2
    for program, expected in zip(programs, answers, strict=True):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(program, {})
        assert said.getvalue() == expected


def test_the_table_is_what_was_measured() -> None:
    with (DOCS / "measurements" / "2026-11-27-serving.csv").open(newline="") as file:
        measured = {row["load"]: row for row in csv.DictReader(file)}
    shown = re.findall(r"^\| ([\d.]+ C) \| (\d+) ms", PAGE, re.MULTILINE)
    assert len(shown) == 3
    for load, milliseconds in shown:
        assert int(milliseconds) == round(float(measured[load]["99 % ms"]))
