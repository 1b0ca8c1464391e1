"""What must not depend on what: import-linter checks the source, this the running program."""

import os
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "snn_runtime",
        "snn_runtime.infer.cli",
        "snn_runtime.model",
        "snn_bench.cli",
        "snn_serve.cli",
        "snn_serve.server",
        "snn_runtime.doctor.cli",
        "snn_runtime.doctor.probe",
    ],
)
def test_the_runtime_runs_without_torch(module: str) -> None:
    """With torch, scikit-learn and matplotlib made impossible to import."""
    program = f"""
import sys
for heavy in ("torch", "sklearn", "matplotlib", "tqdm", "snn_train", "snn_export"):
    sys.modules[heavy] = None
import {module}
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_pip_install_brings_the_runtime_only() -> None:
    needed = [line for line in requires("iir-snn") or [] if "extra ==" not in line]
    names = {line.split(">")[0].strip() for line in needed}
    assert names == {"numpy", "onnx", "onnxruntime", "pillow"}


def test_reading_pictures_loads_no_engine() -> None:
    program = """
import sys, snn_runtime.image
assert not {"onnx", "onnxruntime", "torch"} & set(sys.modules), "an engine was loaded"
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_onnxruntime_reports_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    """Its telemetry, on by default since 1.29, would write to the home and temporary folders."""
    environment = {**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    environment.pop("XDG_CACHE_HOME", None)
    program = "import snn_runtime.engines.onnxruntime.backend, time; time.sleep(1)"
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, timeout=60)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module", ["snn_bench.propagation", "snn_runtime.engines.onnxruntime.gpu"])
def test_telemetry_is_off_before_onnxruntime_is_imported(module: str) -> None:
    """ONNX Runtime looks at the setting once, when it is imported."""
    program = f"""
import os, sys
class Watch:
    def find_spec(self, name, *_):
        if name == "onnxruntime":
            print(os.environ.get("ORT_DISABLE_TELEMETRY"))
sys.meta_path.insert(0, Watch())
import {module}, onnxruntime"""
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"
