"""Pages are written in plain English: short sentences, the field's words, short READMEs."""

import re
from pathlib import Path

import pytest
from prose import GLOSSARY, Measured, avoided_words, main, measure, without_table

ROOT = Path(__file__).parents[2]
PARTS = ("docs", "train", "export", "runtime", "tests", "docker", "examples")
PAGES = sorted(
    [*ROOT.glob("*.md"), *(page for part in PARTS for page in (ROOT / part).rglob("*.md"))]
)
LONGEST = {"README.md": 600} | {f"{part}/README.md": 250 for part in PARTS[1:]}
"""Words that a README may have."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_is_plain(page: Path) -> None:
    text = page.read_text()
    text = without_table(text) if page == GLOSSARY else text
    assert measure(text, avoided_words(GLOSSARY.read_text())).faults == []


@pytest.mark.parametrize("name", LONGEST)
def test_a_readme_is_short(name: str) -> None:
    assert len((ROOT / name).read_text().split()) <= LONGEST[name]


def test_the_glossary_defines_a_term_once() -> None:
    text = without_table(GLOSSARY.read_text())
    terms = re.findall(r"^(?![:#\s])(.+)\n  \S", text, re.MULTILINE)
    names = [name.strip().lower() for term in terms for name in term.split(",")]
    assert len(names) == len(set(names)) and 40 <= len(terms) <= 60
    avoided = {word.lower() for word in avoided_words(GLOSSARY.read_text())}
    assert len(avoided) > 20 and not avoided & set(names)


def measured(text: str, avoided: dict[str, str] | None = None) -> Measured:
    return measure(text, avoided or {})


def test_sentences_are_counted_as_they_are_read() -> None:
    page = """# A heading is no sentence

One two three four. Five six,
seven `some code here` nine [a link](x.md).

- an item of a list
- $a + b$ is short

```
this is code. And. So. On.
```

| a cell | a cell of a table that has more words than ten of them |
|---|---|
"""
    assert measured(page).sentences == (
        "One two three four.",
        "Five six, seven code nine a link.",
        "an item of a list",
        "formula is short",
        "a cell of a table that has more words than ten of them",
    )
    assert (measured(page).words(0), measured(page).words(50), measured(page).words(90)) == (
        3,
        5,
        13,
    )


def test_what_is_wrong_is_named() -> None:
    assert measured("Short. Sentences.").faults == []
    long = " ".join(["word"] * 26)
    assert measured(f"{long}.").faults == [
        "50 % of sentences have 26 words or less, expected at most 16",
        "90 % of sentences have 26 words or less, expected at most 25",
    ]
    (fault,) = measured("Ask the Crew for it.", {"crew": "thread pool"}).faults
    assert "'crew'" in fault and fault.endswith("write thread pool")
    assert measured("The crewless ship.", {"crew": "thread pool"}).faults == []
    assert measured("Of the rounds.").faults and not measured("Often.").faults


def test_it_is_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("One two three.")
    assert main([str(page)]) == 0
    assert capsys.readouterr().out == f"{page}: 1 sentences, 3 words, nine in ten at most 3\n"
    page.write_text("Of the rounds.")
    assert main([str(page), str(GLOSSARY)]) == 1
    assert "begins with Of" in capsys.readouterr().out
