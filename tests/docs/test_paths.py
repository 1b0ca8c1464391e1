"""Every file that a page names is there, and every link of a README leads somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("docs", "train", "export", "runtime", "tests", "docker", "examples")
PAGES = sorted(
    [*ROOT.glob("*.md"), *(page for part in PARTS for page in (ROOT / part).rglob("*.md"))]
)
PATH = re.compile(rf"`((?:{'|'.join(PARTS)})/[\w./-]+)`")
LINK = re.compile(r"\]\(([^):#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    named = [ROOT / path for path in PATH.findall(text)]
    linked = [
        page.parent / path for path in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.S))
    ]
    assert [path for path in named + linked if not path.exists()] == []


def test_ten_questions_have_answers() -> None:
    """Each names one page or one file."""
    _, _, table = (ROOT / "CONTRIBUTING.md").read_text().partition("| question | answer |")
    rows = [line for line in table.partition("\n\n")[0].splitlines()[2:] if line]
    assert len(rows) >= 10
    for row in rows:
        question, answer = row.strip("| ").split(" | ")
        assert question.endswith("?")
        assert len(LINK.findall(answer)) + len(PATH.findall(answer)) == 1, row


def test_the_runtime_is_read_from_below() -> None:
    """The folders and modules that its README lists are those that there are."""
    package = ROOT / "runtime" / "snn_runtime"
    table = (ROOT / "runtime" / "README.md").read_text().partition("|---|---|")[2]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| ")]
    listed = {
        name.rpartition("/")[2] for cell in cells for name in re.findall(r"`([\w/]+?)/?`", cell)
    }
    modules = [*package.glob("*.py"), *(face.parent for face in package.glob("*/__init__.py"))]
    here = {path.stem for path in modules}
    assert listed == here - {"__init__"} | {"snn_bench", "snn_serve"}
