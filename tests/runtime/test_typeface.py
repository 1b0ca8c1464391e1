"""Letters in pictures: those of ASCII as ever, others by a font that has them, never boxes."""

import shutil
from pathlib import Path

import pytest
from PIL import ImageFont

from snn_runtime import typeface
from snn_runtime.typeface import FAMILIES, legible, typeset


@pytest.fixture
def none_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typeface, "_files", lambda: ())


@pytest.fixture
def dejavu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The only font of this machine, found where Pillow looks for those of a user."""
    matplotlib = pytest.importorskip("matplotlib")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "none"))
    (tmp_path / "fonts").mkdir()
    name = FAMILIES["DejaVu Sans"]
    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    monkeypatch.setattr(typeface, "_files", typeface._files.__wrapped__)
    return Path(shutil.copy(font, tmp_path / "fonts" / name))


def test_ascii_is_drawn_by_the_font_of_pillow(dejavu: Path) -> None:
    text = "".join(map(chr, range(32, 127))) + "…"
    drawn, font = typeset(text, 20)
    pillows = ImageFont.load_default(20)
    assert isinstance(pillows, ImageFont.FreeTypeFont)
    assert drawn == text and font.getname() == pillows.getname()
    assert bytes(font.getmask(text)) == bytes(pillows.getmask(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Füchse & Größe", "Füchse & Größe"),
        ("Кошка", "Кошка"),
        ("γάτα", "γάτα"),
        ("e\u0301te\u0301", "été"),  # as macOS writes names
        ("猫 Füchse", "? Füchse"),
        ("हिन्दी", "?????"),  # of a mark without its letter a circle would be left
    ],
)
def test_other_letters_by_a_font_of_the_machine(dejavu: Path, text: str, expected: str) -> None:
    drawn, font = typeset(text, 20)
    assert drawn == expected
    if any(c.isalpha() for c in drawn):
        assert font.path == str(dejavu)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Füchse & Größe", "Fuchse & Grosse"),
        ("e\u0301te\u0301 – Łódź", "ete - Lodz"),
        ("smørrebrød, Æsir, ışık", "smorrebrod, AEsir, isik"),
        ("Ⅳ ½ №5\u00a0m²", "IV 1⁄2 No5 m2"),
        ("Кошка 猫 🐱", "????? ? ?"),
        ("a\u200db\u0301c", "abc"),
        ("", ""),
    ],
)
def test_without_such_a_font_letters_are_plain(
    none_installed: None, text: str, expected: str
) -> None:
    assert typeset(text, 20)[0] == expected


def test_a_letter_may_be_drawn_in_part() -> None:
    assert legible("ấ", "ab?".__contains__) == "a"
    assert legible("㎏", "g?".__contains__) == "?g"
