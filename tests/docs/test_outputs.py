"""What commands print for programs is what docs/reference/outputs.md publishes, key by key."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from pages import run

from snn_runtime.model import read_model_file

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "reference" / "schemas"
PHOTOS = ROOT / "runtime" / "photos"
# A run with a budget and all kinds of stages.
TINY = """train-snn --data digits --network vgg5 --width 0.1 --timesteps 1 --epochs 1,1,20
--int-bits 4 --spike-rate 0.15 --rate-limits 0,1 --largest-drop 1 --threads 1 --format json
--out run"""
NETWORK = """
from snntorch import Leaky
from torch import nn
def build():
    neurons = Leaky(0.9, threshold=0.1, init_hidden=True)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), neurons, nn.Linear(16, 10))
"""


def schema(name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((FOLDER / f"{name}.schema.json").read_text())
    return value


def closed(part: Any) -> Any:
    """A schema that allows no property which it does not name: published ones allow new names."""
    if isinstance(part, list):
        return [closed(item) for item in part]
    if not isinstance(part, dict):
        return part
    copy = {key: closed(value) for key, value in part.items()}
    if isinstance(copy.get("properties"), dict) and copy.get("type") == "object":
        copy["additionalProperties"] = False
    return copy


def check(value: object, name: str, part: str = "") -> None:
    """Raise unless `value` fits the schema, or its definition `part`: as it is published, and with
    no property that it does not name."""
    jsonschema.Draft202012Validator(schema(name)).validate(value)
    whole = closed(schema(name))
    if part:
        whole = {"$ref": f"#/$defs/{part}", "$defs": whole["$defs"]}
    jsonschema.Draft202012Validator(whole).validate(value)


def printed(line: str, codes: Sequence[int] = (0,)) -> list[Any]:
    """The JSON that a command prints, line by line."""
    return [json.loads(each) for each in run(line, codes).splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    (folder / "net.py").write_text(NETWORK)
    return folder


@pytest.fixture(autouse=True)
def there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_a_schema_is_one_and_is_published(path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(path.read_text()))
    assert f"schemas/{path.name}" in (FOLDER.parent / "outputs.md").read_text()


def test_a_key_too_many_or_too_few_is_noticed() -> None:
    end = {"ok": 1, "failed": 0, "skipped": 0, "passed_over": {}, "engine": "event"}
    whole = end | {"self_test": "passed"}
    check({"summary": whole}, "snn-infer")
    for wrong in (end, whole | {"new": 1}, whole | {"ok": "1"}, whole | {"self_test": "?"}):
        with pytest.raises(jsonschema.ValidationError):
            check({"summary": wrong}, "snn-infer")


def test_snn_infer(place: Path) -> None:
    (place / "odd\udcff.png").write_bytes(b"no picture")
    records = printed(f"snn-infer --format json {PHOTOS} missing.jpg .", codes=(4,))
    for record in records:
        check(record, "snn-infer")
    assert any("path_b64" in record for record in records)
    assert [list(record)[-1] for record in records[-2:]] == ["error", "summary"]


def test_snn_doctor() -> None:
    (report,) = printed("snn-doctor --json")
    check(report, "snn-doctor")


def test_snn_bench() -> None:
    small = "--duration 0.01 --rounds 1 --warm-up 1 --format json --backends event"
    for more in ("--topology vgg16 --width 0.05 --against dnn --energy --no-memory", ""):
        (report,) = printed(f"snn-bench {small} {more}")
        check(report, "snn-bench")


def test_train_snn_and_what_is_exported(place: Path) -> None:
    lines = printed(TINY)
    for line in lines:
        check(line, "train-snn")
    assert {line["event"] for line in lines} == {"epoch", "note", "confusion", "end"}
    for text in (place / "run" / "metrics.jsonl").read_text().splitlines():
        check(json.loads(text), "train-snn", "epoch")
    for data in ("", "--data digits"):
        (facts,) = printed(f"export-snn run/int4.pt model.onnx {data} --format json")
        check(facts, "export-snn")
        check(json.loads(read_model_file(place / "model.onnx").graph.provenance), "provenance")
    (facts,) = printed("export-snn --calibrate model.onnx --data digits --format json")
    check(facts, "export-snn", "calibrated")
    (facts,) = printed("export-snn --dense run/ann.pt dnn.onnx --format json")
    check(facts, "export-snn", "dense")


def test_an_imported_network(place: Path) -> None:
    names: dict[str, Any] = {}
    exec(NETWORK, names)
    torch.save(names["build"]().state_dict(), place / "weights.pt")
    labels = ",".join("0123456789")
    (facts,) = printed(
        "export-snn weights.pt imported.onnx --module net.py:build --image-size 8x8 "
        f"--labels {labels} --mean 0 --std 1 --format json"
    )
    check(facts, "export-snn")
    check(json.loads(read_model_file(place / "imported.onnx").graph.provenance), "provenance")
