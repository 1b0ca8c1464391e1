"""Cells of CSV files: what a spreadsheet shows is what was said."""

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn_runtime.cells import cell


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cat.jpg", "cat.jpg"),
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("-1+2.png", "'-1+2.png"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\\t=1"),
        ("'quoted'", "''quoted'"),
        ("a\x1b[2Jb\x07", "a\\x1b[2Jb\\x07"),
        ("two\r\nlines\u2028three", "two\\r\\nlines\\u2028three"),
        ("سگ\u200cها", "سگ\u200cها"),
        (-1.5, -1.5),
        (None, None),
    ],
)
def test_text_is_shown_and_numbers_stay_numbers(text: object, shown: object) -> None:
    assert cell(text) == shown


@given(st.text())
def test_a_row_is_a_line_that_no_spreadsheet_computes(text: str) -> None:
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator="\n").writerow([cell(text), 1])
    assert len(written.getvalue().splitlines()) == 1
    ((first, _),) = csv.reader(io.StringIO(written.getvalue(), newline=""))
    assert not first.startswith(tuple("=+-@\t\r"))


@given(st.text())
def test_no_two_texts_become_one(text: str) -> None:
    written = str(cell(text))
    bare = written[1:] if written.startswith("'") else written
    escapes = re.compile(r"\\(?:\\|[nrt]|x[0-9a-f]{2}|u[0-9a-f]{4})")
    assert escapes.sub(lambda found: found[0].encode().decode("unicode_escape"), bare) == text
