"""Processor and memory, and how much of them this process is given."""

import re

from snn_runtime.machine.control_groups import folders
from snn_runtime.machine.cores import quota, usable
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
TELLING = (
    "avx2 avx_vnni avx512f avx512bw avx512_vnni avx512_bf16 amx_int8 asimd asimddp i8mm sve"
).split()
"""Instruction sets that decide how fast small integers are multiplied and added."""


def model(system: System) -> str:
    """Its name; behind that of an ARM core the board, where the kernel tells it (Raspberry Pi)."""
    info = system.read("proc/cpuinfo")
    name = entry(info, "model name")
    if name:
        return name
    part = f"{entry(info, 'CPU implementer')} {entry(info, 'CPU part')}"
    if not part.strip():
        raise Unknown("/proc/cpuinfo names no processor")
    core = ARM_PARTS.get(part, f"ARM, implementer and part {part}")
    return ", ".join(filter(None, (core, entry(info, "Model"))))


def instruction_sets(system: System) -> list[str]:
    """Those of `TELLING` that are here."""
    found = flags(system)
    if not found:
        raise Unknown("/proc/cpuinfo lists no instruction sets")
    return [name for name in TELLING if name in found]


def flags(system: System | None = None) -> frozenset[str]:
    """What the processor says it can do; empty where the system does not tell."""
    try:
        info = (system or System()).read("proc/cpuinfo")
    except Unknown:
        return frozenset()
    return frozenset((entry(info, "flags") or entry(info, "Features")).split())


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
    value = entry(system.read("proc/meminfo"), key)
    if not value:
        raise Unknown(f"/proc/meminfo has no {key}")
    return int(value.split()[0]) * KIB


def entry(text: str, key: str) -> str:
    """What the first line that begins with `key` says; empty where there is none."""
    found = re.search(rf"^{key}\s*: *(.*)$", text, re.MULTILINE)
    return found[1].strip() if found else ""
