"""Text in the cells of a CSV file, which a spreadsheet must show and never compute or obey."""

import unicodedata

_COMPUTED = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠", "'")
"""With what a cell begins that spreadsheets take for a formula; the apostrophe is our own mark."""
_CONTROL = ("Cc", "Zl", "Zp")
"""Categories of characters that end a line or steer a terminal."""


def cell(value: object) -> object:
    """Return what stands for `value` in CSV: numbers as they are, and of text

    control characters and backslashes escaped as in Python, so that a row is a line
    an apostrophe in front of what a spreadsheet would compute, and of an apostrophe

    Two texts never become one: without its apostrophe and its escapes a cell is what it was.
    """
    if not isinstance(value, str):
        return value
    text = "".join(c.encode("unicode_escape").decode() if _is_escaped(c) else c for c in value)
    return f"'{text}" if value.startswith(_COMPUTED) else text


def _is_escaped(character: str) -> bool:
    return character == "\\" or unicodedata.category(character) in _CONTROL
