"""NVIDIA's GPU, driver and libraries."""

import json
import site
import sys
from pathlib import Path

from snn_runtime.machine.system import System, Unknown

DEVICES = ("nvidia[0-9]*", "nvhost-gpu", "nvgpu")
"""Files of NVIDIA's drivers for cards and for Jetson boards."""
SMI = ("nvidia-smi", "--format=csv,noheader,nounits")
QUERIES = {
    "name": "name",
    "driver": "driver_version",
    "memory_mib": "memory.total",
    "compute_capability": "compute_cap",
    "power_limit_watts": "power.limit",
}
FOLDERS = (
    "usr/lib/*-linux-gnu",
    "usr/lib/*-linux-gnu/nvidia",
    "usr/lib/*-linux-gnu/tegra",
    "usr/lib64",
    "usr/lib/wsl/lib",
    "usr/local/cuda/lib64",
    "usr/local/cuda/targets/*/lib",
)
IN_PACKAGES = ("nvidia/*/lib", "tensorrt_libs")
"""Where pip puts them."""


def present(system: System) -> bool:
    """Whether a driver offers this system a GPU."""
    return any(system.glob(f"dev/{pattern}") for pattern in DEVICES)


def cards(system: System) -> list[dict[str, str]]:
    """What nvidia-smi says of each; a Jetson's says little or is not there."""
    text = system.run((*SMI, f"--query-gpu={','.join(QUERIES.values())}"))
    rows = [[cell.strip() for cell in line.split(",")] for line in text.strip().splitlines()]
    if not rows or any(len(row) != len(QUERIES) for row in rows):
        raise Unknown("nvidia-smi answers in an unknown form")
    return [dict(zip(QUERIES, row, strict=True)) for row in rows]


def cuda(system: System) -> str:
    """The toolkit's version."""
    try:
        version = json.loads(system.read("usr/local/cuda/version.json"))["cuda"]["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise Unknown("/usr/local/cuda/version.json names no version") from error
    return str(version)


def cuda_libraries(system: System) -> list[str]:
    return _libraries(system, "libcuda.so.*", "libcudart.so.*", "libcudnn.so.*")


def tensorrt_libraries(system: System) -> list[str]:
    return _libraries(system, "libnvinfer.so.*")


def _libraries(system: System, *patterns: str) -> list[str]:
    """Names of the files and no folders, which may hold a person's name."""
    places = [place for folder in FOLDERS for place in system.glob(folder)]
    places += [
        place for base in _packages(system) for inner in IN_PACKAGES for place in base.glob(inner)
    ]
    names = {
        found.name for place in places for pattern in patterns for found in place.glob(pattern)
    }
    if not names:
        raise Unknown(f"none of {', '.join(patterns)} in the usual folders")
    return sorted(names)


def _packages(system: System) -> list[Path]:
    if system.packages is not None:
        return list(system.packages)
    return sorted({Path(path) for path in (*sys.path, *site.getsitepackages()) if path})
