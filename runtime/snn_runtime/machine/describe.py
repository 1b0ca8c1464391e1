"""The machine a figure was measured on, and the cores to measure on."""

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from snn_runtime.machine.cores import usable

CPU_INFO = Path("/proc/cpuinfo")
CORES = Path("/sys/devices/system/cpu")
DEVICES = Path("/dev")
GPU_DEVICES = ("nvidia[0-9]*", "nvhost-gpu", "nvgpu")
"""Files of NVIDIA's drivers for cards and for Jetson boards."""
TELLING = (
    "avx2 avx_vnni avx512f avx512bw avx512_vnni avx512_bf16 amx_int8 asimd asimddp i8mm sve"
).split()
"""Instruction sets that decide how fast small integers are multiplied and added."""
PACKAGES = ("iir-snn", "onnxruntime", "openvino", "ai-edge-litert", "numpy")


@dataclass(frozen=True)
class Machine:
    """What has to stand beside a figure."""

    processor: str
    family: str
    """Vendor, family and model, as a virtual machine's name for it says little; may be empty."""
    caches: dict[str, int]
    """Bytes that one core sees, by name: `L1d`, `L1i`, `L2`, `L3`."""
    instruction_sets: tuple[str, ...]
    """Those of `TELLING` that are here."""
    cores: int
    """Logical processors this process may use."""
    system: str
    python: str
    packages: dict[str, str]
    """Version by name, of those installed."""
    load: float
    """Average number of processes that wanted a core in the minute before."""

    def describe(self) -> str:
        """One line for people."""
        packages = ", ".join(f"{name} {number}" for name, number in self.packages.items())
        caches = ", ".join(f"{name} {size >> 10} KiB" for name, size in self.caches.items())
        known = "; ".join(filter(None, (self.family, caches)))
        about = f"{self.processor} ({known})" if known else self.processor
        return (
            f"{about}, {self.cores} cores ({' '.join(self.instruction_sets)}), "
            f"{self.system}, Python {self.python}, {packages}"
        )


def this_machine() -> Machine:
    """Describe the machine as it is now."""
    return Machine(
        processor=_processor(),
        family=_family(),
        caches=_caches(),
        instruction_sets=tuple(name for name in TELLING if name in instruction_sets()),
        cores=usable(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages=_packages(),
        load=round(os.getloadavg()[0], 2),
    )


def instruction_sets() -> frozenset[str]:
    """What the processor says it can do; empty where the system does not tell."""
    line = _cpu_info("flags|Features")
    return frozenset(line.split())


def gpu_here() -> bool:
    """Whether an NVIDIA driver offers this system a GPU."""
    return any(True for pattern in GPU_DEVICES for _ in DEVICES.glob(pattern))


def choose_cores(threads: int, allowed: Sequence[int]) -> list[int]:
    """Return `threads` of the `allowed` cores, physical ones first; all if there are fewer.

    Two threads on the halves of one core would share its caches and its multipliers. The last
    cores are taken first, because interrupts mostly land on the first.
    """
    seen: set[str] = set()
    whole: list[int] = []
    halves: list[int] = []
    for core in sorted(allowed, reverse=True):
        siblings = _siblings(core)
        (halves if siblings in seen else whole).append(core)
        seen.add(siblings)
    return sorted([*whole, *halves][:threads])


def _siblings(core: int) -> str:
    try:
        return (CORES / f"cpu{core}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return str(core)


def _processor() -> str:
    return _cpu_info("model name|Model") or platform.processor() or platform.machine()


def _family() -> str:
    x86 = ("vendor_id", "cpu family", "model", "stepping")
    arm = ("CPU implementer", "CPU part", "CPU variant", "CPU revision")
    for names in (x86, arm):
        values = [_cpu_info(name) for name in names]
        if all(values):
            first, *rest = zip(names, values, strict=True)
            return " ".join([first[1], *(f"{name} {value}" for name, value in rest)])
    return ""


def _caches() -> dict[str, int]:
    found = {}
    for folder in sorted((CORES / "cpu0" / "cache").glob("index[0-9]*")):
        try:
            level, kind, size = (
                (folder / name).read_text().strip() for name in ("level", "type", "size")
            )
        except OSError:
            continue
        suffix = {"Data": "d", "Instruction": "i"}.get(kind, "")
        if size.endswith("K") and size[:-1].isdecimal():
            found[f"L{level}{suffix}"] = int(size[:-1]) << 10
    return found


def _cpu_info(keys: str) -> str:
    try:
        text = CPU_INFO.read_text()
    except OSError:
        return ""
    match = re.search(rf"^(?:{keys})\s*: *(.*)$", text, re.MULTILINE)
    return match[1].strip() if match else ""


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
