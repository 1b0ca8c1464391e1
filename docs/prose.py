"""Measure the prose of Markdown pages: how long sentences are, and words that the glossary avoids.

    python docs/prose.py README.md docs/index.md

One line a page: sentences, median, 90th percentile, and what is wrong. Ends with 1 if anything is.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

GLOSSARY = Path(__file__).parent / "glossary.md"
MEDIAN, NINETIETH = 16, 25
"""Words a sentence, at most, on every page."""
CELL = 10
"""Words from which a cell of a table counts as a sentence."""


@dataclass(frozen=True)
class Measured:
    """What was found on one page."""

    sentences: tuple[str, ...]
    avoided: tuple[str, ...]
    """`phrase: what to write instead`."""

    def words(self, percent: int) -> int:
        """Return the length in words that `percent` of the sentences do not exceed."""
        lengths = sorted(len(_words(sentence)) for sentence in self.sentences) or [0]
        return lengths[min(len(lengths) * percent // 100, len(lengths) - 1)]

    @property
    def faults(self) -> list[str]:
        """What is to be mended; empty for a page that is well written."""
        found = list(self.avoided)
        for percent, most in ((50, MEDIAN), (90, NINETIETH)):
            if self.words(percent) > most:
                found.append(f"{percent} % of sentences have {self.words(percent)} words or less, "
                             f"expected at most {most}")  # fmt: skip
        return found


def measure(text: str, avoided: dict[str, str]) -> Measured:
    """Read one page."""
    sentences = tuple(_sentences(text))
    found = [
        f"{phrase!r} in {sentence!r}: write {instead}"
        for sentence in sentences
        for phrase, instead in avoided.items()
        if re.search(rf"\b{re.escape(phrase)}\b", sentence, re.IGNORECASE)
    ]
    found += [
        f"{sentence!r} begins with Of" for sentence in sentences if re.match(r"Of\b", sentence)
    ]
    return Measured(sentences, tuple(found))


def avoided_words(glossary: str) -> dict[str, str]:
    """Return the table under the glossary's heading "Words to avoid": what to write instead."""
    _, _, table = glossary.partition("## Words to avoid")
    rows = [line.strip("| ").split("|") for line in table.splitlines() if line.startswith("| ")]
    return {row[0].strip(): row[1].strip() for row in rows[1:]}


def without_table(glossary: str) -> str:
    """Return the glossary's own prose: what it avoids stands there to be read, not to be used."""
    return glossary.partition("## Words to avoid")[0]


def _sentences(text: str) -> Iterator[str]:
    text = re.sub(r"^(```+|~~~).*?^\1\s*$", "\n", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^:::.*$", "", text, flags=re.MULTILINE)
    # A term of a glossary: a line at the margin with an indented one beneath it.
    text = re.sub(r"(?:\A|(?<=\n\n))(?![-*|#\d ]).+\n(?=  \S)", "", text)
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )|\n(?=\|)", text):
        block = _plain(block)
        if not block or block.startswith(("#", "<", "[")) or set(block) <= set("|-: "):
            continue
        if block.startswith("|"):
            cells = (cell.strip() for cell in block.strip("|").split("|"))
            yield from (cell for cell in cells if len(_words(cell)) >= CELL)
            continue
        yield from filter(_words, re.split(r"(?<=[.!?])\s+", re.sub(r"^([-*]|\d+\.) ", "", block)))


def _plain(block: str) -> str:
    """A block as it is read aloud: code and formulas are one word, links their text."""
    block = re.sub(r"!\[[^]]*\]\([^)]*\)", "", block)
    block = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", block)
    block = re.sub(r"\{[\w:-]+\}`[^`]*`|`[^`]*`", "code", block)
    block = re.sub(r"\$\$?[^$]+\$\$?", "formula", block)
    return " ".join(re.sub(r"\*\*|(?<!\w)[*_]|[*_](?!\w)", "", block).split())


def _words(sentence: str) -> list[str]:
    return [word for word in sentence.split() if re.search(r"\w", word)]


def main(paths: Sequence[str]) -> int:
    """Print a line a page and what is wrong; returns 1 if anything is."""
    avoided = avoided_words(GLOSSARY.read_text())
    wrong = False
    for path in map(Path, paths):
        text = path.read_text()
        found = measure(without_table(text) if path.samefile(GLOSSARY) else text, avoided)
        print(f"{path}: {len(found.sentences)} sentences, {found.words(50)} words, "
              f"nine in ten at most {found.words(90)}")  # fmt: skip
        for fault in found.faults:
            print(f"  {fault}")
        wrong = wrong or bool(found.faults)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
