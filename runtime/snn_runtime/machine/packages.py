"""Packages on which answers and figures depend, and the versions that are installed."""

import re
import sys
from importlib.metadata import distributions

from snn_runtime.machine.system import System
from snn_runtime.machine.wheels import ORT_WHEELS

PACKAGES = (
    "iir-snn",
    "numpy",
    "onnx",
    *ORT_WHEELS,
    "pillow",
    "openvino",
    "ai-edge-litert",
    "tensorrt",
    "tensorrt-cu12",
    "tensorrt-cu13",
)


def installed(system: System) -> dict[str, str]:
    """Version by name, of those of `PACKAGES` that are installed."""
    where = sys.path if system.packages is None else [str(path) for path in system.packages]
    versions = {
        _normal(found.metadata["Name"]): found.version
        for found in reversed([*distributions(path=where)])
        if found.metadata["Name"]
    }
    return {name: versions[name] for name in PACKAGES if name in versions}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
