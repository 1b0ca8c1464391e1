"""Tables of the reference hold what the code holds: operators, limits, variables, codes, metrics,
augmentation."""

import ast
import re
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from snn_runtime import errors
from snn_runtime.graph import activations, soundness, values
from snn_runtime.graph.nodes import SCHEMA
from snn_runtime.model_file import gate
from snn_runtime.onnx_build.messages import IR_VERSIONS, OPSET, PACKED_OPSET
from snn_serve.metrics import Metrics
from snn_train.choices import RecipeName
from snn_train.defaults import default_recipe

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
PARTS = ("train/snn_train", "export/snn_export", "runtime", "hatch_build.py")
WHO = {"USER", "LOGNAME", "SUDO_USER"}
"""Read by snn-doctor, to leave them out of its report."""


def rows(page: str) -> dict[str, str]:
    """First and last cell of every row of a page's tables."""
    lines = [line for line in (REFERENCE / page).read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[-1] for row in cells}


def variables(path: Path) -> set[str]:
    """Names that a module reads from the environment or sets there."""
    tree = ast.parse(path.read_text())
    constants = {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    found = set()
    for node in ast.walk(tree):
        keys: list[ast.expr | None] = []
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            keys = [node.slice]
        elif isinstance(node, ast.Call) and node.args:
            if ast.unparse(node.func) in ("os.environ.get", "os.environ.setdefault"):
                keys = [node.args[0]]
            elif ast.unparse(node.func) == "scratch_settings":
                keys = [node.args[0]]
        elif isinstance(node, ast.Dict) and "environment" in ast.unparse(node):  # of a child
            keys = [key for key in node.keys if None in node.keys]
        for key in keys:
            if isinstance(key, ast.Constant):
                found.add(str(key.value))
            elif isinstance(key, ast.Name) and key.id in constants:
                found.add(str(constants[key.id]))
    return found


def test_every_variable_is_listed() -> None:
    paths = [
        path
        for part in PARTS
        for path in ([ROOT / part] if part.endswith(".py") else (ROOT / part).rglob("*.py"))
    ]
    found = {name for path in paths for name in variables(path)}
    listed = {name for cell in rows("environment.md") for name in re.findall(r"`(\w+)`", cell)}
    assert found - WHO == listed


def test_the_operators_and_limits_of_a_model_file() -> None:
    table = rows("model-onnx.md")
    assert set(table["operators"].split(", ")) == set(gate.OPERATIONS)
    packed = f"{PACKED_OPSET}, {IR_VERSIONS[PACKED_OPSET]} where weights are packed"
    assert table["opset, IR version"] == f"{OPSET}, {IR_VERSIONS[OPSET]}; {packed}"
    assert re.findall(r"(\d) where", table["schema"])[-1] == str(SCHEMA)
    assert table["size, nodes, parameters"] == (
        f"at most {gate.MAX_BYTES >> 20} MiB, {gate.MAX_NODES:,}, "
        f"{gate.MAX_PARAMETERS // 10**6} million"
    )
    assert (soundness.MAX_WORK, soundness.MAX_VALUES) == (2**38, 2**27)
    assert (values.MAX_EVENTS, activations.MAX_KEPT) == (2**24, 2 * 2**30)
    assert (activations.ROW, activations.MAX_UNFOLDED) == (64, 2 * 2**30)
    for what, most in (
        ("multiply-adds for an image", "2³⁸"),
        ("values that one node sends", "2²⁷"),
        ("spikes that reach one neuron", "2²⁴"),
        ("activations of an image, all nodes together", "2 GiB"),
        ("weights, in rows of 64 outputs or more", "2 GiB"),
    ):
        assert table[what].startswith(f"at most {most}")


def test_exit_codes_are_listed() -> None:
    codes = {kind.exit_code for kind in vars(errors).values() if hasattr(kind, "exit_code")}
    listed = {int(code) for cell in rows("exit-codes.md") for code in re.findall(r"\d+", cell)}
    assert codes | {0, errors.PARTIAL} <= listed


def test_the_metrics_are_listed() -> None:
    told = {
        metric.name + "_total" * (metric.type == "counter")
        for metric in text_string_to_metric_families(Metrics().text().decode())
        if metric.name.startswith("snn_") and not metric.name.endswith("_created")
    }
    listed = {name for cell in rows("serving.md") for name in re.findall(r"`(snn_\w+)`", cell)}
    assert told == listed


DATA = "imagefolder cifar10 cifar100 digits mnist fashion-mnist imagenet".split()


@pytest.mark.parametrize("recipe", get_args(RecipeName))
def test_augmentation_without_a_flag(recipe: RecipeName) -> None:
    found = {}
    for cell, said in rows("data-sets.md").items():
        for name in re.findall(r"`([\w-]+)`", cell):
            found[name] = said.replace("S/8", "4").replace("S/4", "8").split("`")[1::2][:1]
    for name in DATA:
        assert found[name] == [str(default_recipe(recipe, name, 32).augmentation)]
