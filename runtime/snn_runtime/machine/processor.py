"""Processor and memory, and how much of them this process is given."""

import re

from snn_runtime.machine.control_groups import folders
from snn_runtime.machine.cores import quota, usable
from snn_runtime.machine.describe import TELLING
from snn_runtime.machine.system import System, Unknown

KIB = 1024
UNLIMITED = 2**60
"""Version 1 of control groups says the largest number there is where there is no limit."""
ARM_PARTS = {
    "0x41 0xd03": "Cortex-A53",
    "0x41 0xd07": "Cortex-A57",
    "0x41 0xd08": "Cortex-A72",
    "0x41 0xd0b": "Cortex-A76",
    "0x41 0xd0c": "Neoverse-N1",
    "0x41 0xd40": "Neoverse-V1",
    "0x41 0xd42": "Cortex-A78AE",
    "0x41 0xd4f": "Neoverse-V2",
    "0x41 0xd83": "Neoverse-V3AE",
    "0x4e 0x004": "Carmel",
}
"""ARM's kernel names processors by implementer and part only."""


def model(system: System) -> str:
    info = system.read("proc/cpuinfo")
    name = _field(info, "model name")
    if name:
        return name
    part = f"{_field(info, 'CPU implementer')} {_field(info, 'CPU part')}"
    if not part.strip():
        raise Unknown("/proc/cpuinfo names no processor")
    return ARM_PARTS.get(part, f"ARM, implementer and part {part}")


def instruction_sets(system: System) -> list[str]:
    """Those that decide how fast small integers are multiplied and added."""
    info = system.read("proc/cpuinfo")
    flags = set((_field(info, "flags") or _field(info, "Features")).split())
    if not flags:
        raise Unknown("/proc/cpuinfo lists no instruction sets")
    return [name for name in TELLING if name in flags]


def cores(system: System) -> int:
    return len(re.findall(r"^processor\s*:", system.read("proc/cpuinfo"), re.MULTILINE))


def usable_cores(system: System) -> int:
    """What `--threads` is by default."""
    return usable(system)


def core_limit(system: System) -> float | None:
    """Cores' worth of time that the control groups grant; None is all of it."""
    granted = quota(system)
    return None if granted is None else round(float(granted), 2)


def governor(system: System) -> str:
    return system.read("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def megahertz(system: System) -> dict[str, int]:
    """Lowest, present and highest frequency that the first core may have now."""
    folder = "sys/devices/system/cpu/cpu0/cpufreq"
    names = {"min": "scaling_min_freq", "now": "scaling_cur_freq", "max": "scaling_max_freq"}
    return {key: int(system.read(f"{folder}/{name}")) // 1000 for key, name in names.items()}


def total_memory(system: System) -> int:
    return _memory(system, "MemTotal")


def available_memory(system: System) -> int:
    return _memory(system, "MemAvailable")


def memory_limit(system: System) -> int | None:
    """Bytes that the control groups grant; None is all there are."""
    limits = []
    for folder in folders(system, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            if system.exists(f"{folder}/{name}"):
                limits.append(system.read(f"{folder}/{name}"))
    numbers = [int(limit) for limit in limits if limit != "max"]
    return min((limit for limit in numbers if limit < UNLIMITED), default=None)


def _memory(system: System, key: str) -> int:
    value = _field(system.read("proc/meminfo"), key)
    if not value:
        raise Unknown(f"/proc/meminfo has no {key}")
    return int(value.split()[0]) * KIB


def _field(text: str, key: str) -> str:
    found = re.search(rf"^{key}\s*: *(.*)$", text, re.MULTILINE)
    return found[1].strip() if found else ""
