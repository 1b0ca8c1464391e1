"""Which characters may stand in a line of text: those of every language, none that deceive.

Joiners (Persian, Hindi, emoji), marks of direction (Arabic, Hebrew), spaces of all kinds, private
and newly assigned characters are ordinary. Control characters, line separators, halves of
characters (bytes that are no UTF-8) and byte order marks are not. Overrides of direction make text
read as what it is not; embeddings and isolates do so to what follows, unless they are closed.
"""

import unicodedata

_NEVER = frozenset({"Cc", "Cs", "Zl", "Zp"})
_UNSEEN = frozenset({"Cf", "Zs", "Mn", "Me"})
_BYTE_ORDER_MARK = "\ufeff"
_OVERRIDES = frozenset("\u202d\u202e")
_CLOSED_BY = {
    "\u202a": "\u202c",
    "\u202b": "\u202c",
    "\u2066": "\u2069",
    "\u2067": "\u2069",
    "\u2068": "\u2069",
}
_TURNING = _OVERRIDES | set(_CLOSED_BY) | set(_CLOSED_BY.values())


def printable(text: str) -> str:
    """Return `text` fit for a terminal: characters escaped that it would obey, or lack."""
    if text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode() if _is_unseen(c) or c in _TURNING else c for c in text
    )


def problem(text: str) -> str:
    """Return what keeps `text` from being one line of visible text, or an empty string."""
    if not text.isprintable():  # which almost all are, and quickly told
        unseen = next((c for c in text if _is_unseen(c)), None)
        if unseen is not None:
            return f"holds characters nobody can see (U+{ord(unseen):04X})"
    if all(unicodedata.category(c) in _UNSEEN for c in text):
        return "shows nothing"
    return "" if text.isprintable() else _turning(text)


def _turning(text: str) -> str:
    """Return how `text` turns its own direction or that of what follows it."""
    expected: list[str] = []
    for c in text:
        if c in _OVERRIDES:
            return f"holds U+{ord(c):04X}, which makes it read as something else"
        if c in _CLOSED_BY:
            expected.append(_CLOSED_BY[c])
        elif c in _TURNING and (not expected or c != expected.pop()):
            return f"holds U+{ord(c):04X}, which closes nothing"
    return "turns the text that follows it (U+202A to U+2069), unclosed" if expected else ""


def _is_unseen(c: str) -> bool:
    return c == _BYTE_ORDER_MARK or unicodedata.category(c) in _NEVER
