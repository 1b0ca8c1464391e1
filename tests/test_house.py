"""What the house promises a reader, counted: no folders that need each other, short modules and
functions, few files between a picture and its label, types for editors."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from snn_runtime.calibration import UNCALIBRATED
from snn_runtime.graph import Node, Population
from snn_runtime.model import read_model_file
from snn_runtime.model_file import write

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "snn_train": ROOT / "train",
    "snn_export": ROOT / "export",
    "snn_runtime": ROOT / "runtime",
    "snn_bench": ROOT / "runtime",
    "snn_serve": ROOT / "runtime",
}
MODULES = sorted(path for name, root in PACKAGES.items() for path in (root / name).rglob("*.py"))
LONGEST_MODULE, LONGEST_FUNCTION = 250, 60
UNNAMED_ARGUMENTS = 6
FILES_OF_A_PICTURE, FILES_OF_THE_COMMAND = 20, 50
MODULES_OF_A_KIND, QUESTIONS_OF_A_KIND, SOURCES_OF_A_KIND = 12, 2, 3
ENGINE = ROOT / "runtime" / "snn_runtime" / "engines" / "event" / "engine.h"
CAT = ROOT / "runtime" / "photos" / "cat.jpg"

COUNTED = """
import inspect, os, sys, threading
root, picture, *model = sys.argv[1:]
entered, loading = set(), 0

def watch(frame, event, _):
    global loading
    code = frame.f_code
    if event not in ("call", "return") or not code.co_filename.startswith(root):
        return
    if not code.co_flags & inspect.CO_OPTIMIZED or code.co_name.startswith("<"):
        return  # the body of a class or a module
    name = os.path.relpath(code.co_filename, root)
    if (name, code.co_name) == ("snn_runtime/model.py", "load"):
        loading += 1 if event == "call" else -1
    entered.add((name, bool(loading)))

threading.setprofile(watch)
sys.setprofile(watch)
from snn_runtime.infer.cli import main
sys.argv = ["snn-infer", "--backend", "event", *model, picture]
code = main()
sys.setprofile(None)
for name, loaded in sorted(entered):
    print(int(loaded), name, file=sys.stderr)
sys.exit(code)
"""
"""Runs the command; names on stderr the files whose functions run, and whether while loading."""


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def module_of(path: Path) -> str:
    root = next(root for name, root in PACKAGES.items() if root / name in path.parents)
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> Iterator[str]:
    """Modules that are imported anywhere in a file, inside functions too."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(path: Path) -> str:
    """The folder that a reader goes to. A module in a package's own folder is a room of its own:
    the ground (errors, files) lies there, on which all stand, and the roof (the verbs)."""
    folder = path.parent.relative_to(ROOT)
    return str(folder / path.stem if path.parent.name in PACKAGES else folder)


@cache
def arrows() -> dict[str, set[str]]:
    """What each room imports from others, when it is loaded or later."""
    modules = {module_of(path): path for path in MODULES}
    found: dict[str, set[str]] = {room_of(path): set() for path in MODULES}
    for path in MODULES:
        for name in imports_of(path):
            while name and name not in modules:  # something in a module
                name = name.rpartition(".")[0]
            if name and room_of(modules[name]) != room_of(path):
                found[room_of(path)].add(room_of(modules[name]))
    return found


def rings(arrows: dict[str, set[str]]) -> set[frozenset[str]]:
    """Rooms that reach each other."""
    reach = {start: set(ends) for start, ends in arrows.items()}
    for through in arrows:
        for start in arrows:
            if through in reach[start]:
                reach[start] |= reach[through]
    found = {frozenset({a, *(b for b in reach[a] if a in reach[b])}) for a in arrows}
    return {ring for ring in found if len(ring) > 1}


def files_of(picture: Path, *model: str) -> tuple[set[str], set[str]]:
    """The files whose functions `snn-infer` runs for a picture, and for loading the model."""
    done = subprocess.run(
        [sys.executable, "-c", COUNTED, str(ROOT / "runtime"), str(picture), *model],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "cat.jpg: cat " in done.stdout
    lines = [line.split() for line in done.stderr.splitlines() if line[:2] in ("0 ", "1 ")]
    own, loading = ({name for kind, name in lines if kind == which} for which in "01")
    return own, loading


@pytest.mark.parametrize("calibrated", [False, True])
def test_a_picture_goes_through_few_files(calibrated: bool, tmp_path: Path) -> None:
    """From the command line to the label, the model once loaded; and with loading it, which passes
    the file through the gate, writes it again and proves the engine."""
    graph = read_model_file(None).graph
    assert graph.calibration.familiarity
    if not calibrated:
        graph = replace(graph, calibration=UNCALIBRATED)
    write(graph, tmp_path / "m.onnx")
    own, loading = files_of(CAT, "--model", str(tmp_path / "m.onnx"))
    assert "snn_runtime/model.py" in own and "snn_runtime/model_file/gate.py" in loading
    assert len(own) <= FILES_OF_A_PICTURE, sorted(own)
    assert len(own | loading) <= FILES_OF_THE_COMMAND, sorted(own | loading)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_folder_needs_one_that_needs_it(package: str) -> None:
    between = arrows()
    found = [ring for ring in rings(between) if any(f"/{package}/" in room for room in ring)]
    assert found == []


def test_a_ring_would_be_seen() -> None:
    assert rings({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == {frozenset("abc")}


@pytest.mark.parametrize("path", MODULES, ids=module_of)
def test_modules_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_MODULE
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, node.name


FOLDERS = sorted({path.parent for path in MODULES} - {ROOT / "runtime" / "snn_runtime"})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_package_says_what_its_modules_are(folder: Path) -> None:
    """The ground and the roof of the runtime are in its README."""
    said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert modules <= set(re.findall(r"\w+", said or ""))


TYPES = {"type", "__class__"}
KINDS = [kind.__name__ for kind in get_args(Node) if kind is not Population]


def names_in(node: ast.AST) -> set[str]:
    """Names, as they were before an import gave them another."""
    found = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    found |= {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
    return found | {each.name for each in ast.walk(node) if isinstance(each, ast.alias)}


def questions(tree: ast.Module, kind: str) -> list[int]:
    """Lines that ask whether a node is of a kind: by its class, or by a pattern."""
    asked = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name("isinstance")) if kind in names_in(node):
                asked.append(node.lineno)
            case ast.Compare() if kind in (names := names_in(node)) and names & TYPES:
                asked.append(node.lineno)
            case ast.MatchClass(cls) if kind in names_in(cls):
                asked.append(node.lineno)
    return asked


@pytest.mark.parametrize("kind", KINDS)
def test_few_modules_know_a_kind_of_node(kind: str) -> None:
    """Outside the graph: what lowers it to another form, and what makes such nodes.

    Whatever else asks a node does not ask which kind it is, see `graph.kind`.
    """
    named, asked = [], []
    for path in MODULES:
        if path.parent.name != "graph":
            tree = tree_of(path)
            named += [module_of(path)] * (kind in names_in(tree))
            asked += [f"{module_of(path)}:{line}" for line in questions(tree, kind)]
    assert len(named) <= MODULES_OF_A_KIND, named
    assert len(asked) <= QUESTIONS_OF_A_KIND, asked


@pytest.mark.parametrize("number", re.findall(r"(SNN_\w+) = \d", ENGINE.read_text()))
def test_few_sources_of_the_event_engine_know_the_number_of_a_kind(number: str) -> None:
    sources = [path for path in ENGINE.parent.iterdir() if path.suffix in (".h", ".cpp")]
    named = [path.name for path in sources if re.search(rf"\b{number}\b", path.read_text())]
    assert "engine.h" in named and len(named) <= SOURCES_OF_A_KIND, named


@pytest.mark.parametrize(
    "line",
    [
        "isinstance(node, Pool)",
        "isinstance(node, (Pool, Population))",
        "type(node) is graph.Pool",
        "node.__class__ == Pool",
        "match node:\n    case Pool(kind='max'): pass",
    ],
)
def test_a_question_would_be_seen(line: str) -> None:
    assert questions(ast.parse(line), "Pool") and not questions(ast.parse(line), "Elementwise")
    assert "Pool" in names_in(ast.parse("from snn_runtime.graph import Pool as window"))


@pytest.mark.parametrize("path", MODULES, ids=module_of)
def test_what_is_handed_on_without_its_name_is_little(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = [each.arg for each in (*node.args.posonlyargs, *node.args.args)]
            named = [name for name in given if name not in ("self", "cls")]
            assert len(named) <= UNNAMED_ARGUMENTS, (node.name, named)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_shows_its_types(package: str) -> None:
    assert (PACKAGES[package] / package / "py.typed").is_file()
