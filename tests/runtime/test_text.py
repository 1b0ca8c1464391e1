"""What may stand in a label and what is shown of it: every language, and nothing that deceives."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn_runtime.errors import ModelError
from snn_runtime.labels import MAX_LABELS, check_labels
from snn_runtime.text import printable, problem

ORDINARY = [
    "cat",
    "a b",
    "گربه\u200cها",
    "क्\u200dष",
    "👨\u200d👩\u200d👧\u200d👦",
    "❤\ufe0f",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "Nº\u00a05",
    "全角\u3000スペース",
    "\u200fעברית",
    "ภาษา\u200bไทย",
    "Donau\u00addampf",
    "e\u0301",
    "\ue000",
    "\U0001fae8",  # of Unicode 15
    "\u2068עברית\u2069 (he)",
    "\u202bעברית\u202c",
    "x" * 255,
]

DECEIVING = {
    "a\n": "nobody can see (U+000A)",
    "a\tb": "nobody can see (U+0009)",
    "\x1b[31ma": "nobody can see (U+001B)",
    "a\x7f": "nobody can see (U+007F)",
    "a\x85b": "nobody can see (U+0085)",
    "a\u2028b": "nobody can see (U+2028)",
    "a\u2029b": "nobody can see (U+2029)",
    "caf\udce9": "nobody can see (U+DCE9)",
    "\ufeffcat": "nobody can see (U+FEFF)",
    "\u202egnp": "U+202E, which makes it read as something else",
    "\u202dabc\u202c": "U+202D, which makes",
    "a\u202bb": "unclosed",
    "\u2067a\u2069\u2066": "unclosed",
    "\u2067a\u202c": "U+202C, which closes nothing",
    "a\u2069": "U+2069, which closes nothing",
    " ": "shows nothing",
    "\u00a0\u200d": "shows nothing",
    "\ufe0f": "shows nothing",
}


@pytest.mark.parametrize("label", ORDINARY)
def test_ordinary_text_of_any_language_is_a_label(label: str) -> None:
    check_labels(("dog", label, "dog"))  # two classes may share one


@pytest.mark.parametrize("label", DECEIVING)
def test_what_deceives_is_refused_by_its_number(label: str) -> None:
    with pytest.raises(ModelError) as caught:
        check_labels(("dog", label))
    assert DECEIVING[label] in caught.value.message
    assert caught.value.message.isascii() and caught.value.message.isprintable()


@pytest.mark.parametrize("label", [each for each in ORDINARY if "עברית" not in each[1:]])
def test_ordinary_text_is_shown_as_it_is(label: str) -> None:
    assert printable(label) == label


@given(st.text())
def test_what_is_shown_is_one_line_that_turns_nothing(text: str) -> None:
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert not {unicodedata.bidirectional(c) for c in shown} & {"LRO", "RLO", "LRE", "RLI", "PDF"}
    if text and not problem(text) and len(text) <= 1000:
        check_labels((text,))


def test_every_printable_character_is_shown_and_passes() -> None:
    for number in range(sys.maxunicode + 1):
        c = chr(number)
        if c.isprintable():
            assert printable(c) == c and not problem(f"x{c}")


def test_labels_that_differ_in_bytes_alone_are_refused() -> None:
    composed, apart = "é", unicodedata.normalize("NFD", "é")
    with pytest.raises(ModelError, match="differ only in how letters are composed"):
        check_labels((composed, "cat", apart))


def test_as_many_labels_as_all_of_imagenet_are_read() -> None:
    check_labels(tuple(f"n{number:08} {'ship' * 30}" for number in range(21_841)))
    with pytest.raises(ModelError, match=f"limit is {MAX_LABELS:,}"):
        check_labels(tuple(f"n{number:08} {'ship' * 240}" for number in range(4_000)))
