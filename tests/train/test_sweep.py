"""train/benchmarks/sweep.py: runs that begin with each other's files, several at once."""

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "train" / "benchmarks" / "sweep.py"


@pytest.fixture
def sweep() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sweep", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = sys.modules["sweep"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_run_waits_for_the_files_it_names(sweep: ModuleType, tmp_path: Path) -> None:
    runs = {"a": {"flags": "--width 1"}, "b": {"flags": "--ann {a}/ann.pt --from {else.1}/t1.pt"}}
    plan = sweep.Sweep([], runs, tmp_path, time.monotonic() + 90)
    assert plan.ready("a") and not plan.ready("b")
    for folder, file in (("a", "ann.pt"), ("else.1", "t1.pt")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).touch()
    assert plan.ready("b")
    assert f"--ann {tmp_path}/a/ann.pt --from {tmp_path}/else.1/t1.pt" in plan.command("b")


def test_what_is_left_until_the_deadline_is_a_budget(
    sweep: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    runs = {"a": {"flags": "--budget {left}s"}}
    plan = sweep.Sweep(["--threads", "1"], runs, tmp_path, 1090.5)
    assert "--threads 1 --budget 90s" in plan.command("a")


def test_a_plan_is_carried_out_and_gone_on_with(tmp_path: Path) -> None:
    runs = {
        "narrow": {"flags": "--network vgg5 --width 0.1 --epochs 1 --largest-drop 1"},
        "wrong": {"flags": "--width -1"},
    }
    plan, out = tmp_path / "plan.json", tmp_path / "out"
    common = "--data digits --threads 1 --rate-limits 0,1"
    plan.write_text(json.dumps({"common": common, "runs": runs}))
    ran = {row["run"]: row for row in _carried_out(plan, out)}
    assert ran["narrow"]["exit"] == 0 and ran["wrong"]["exit"] == 2
    assert 0 < ran["narrow"]["stages"]["t1"]["test"] <= 1
    assert ran["narrow"]["cpu_seconds"] > ran["wrong"]["cpu_seconds"] > 0
    assert (out / "narrow" / "t1.onnx").is_file()
    assert [row["run"] for row in _carried_out(plan, out)] == ["wrong"]


def _carried_out(plan: Path, out: Path) -> list[dict[str, Any]]:
    command = [sys.executable, str(SCRIPT), str(plan), str(out), "--at-once", "2"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return [json.loads(line) for line in done.stdout.splitlines()]
