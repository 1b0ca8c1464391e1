"""The machine a figure was measured on, and the cores to measure on."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass

from snn_runtime.machine import gpu, processor
from snn_runtime.machine.cores import usable
from snn_runtime.machine.packages import installed
from snn_runtime.machine.system import System, Unknown

CORES = "sys/devices/system/cpu"


@dataclass(frozen=True)
class Machine:
    """What has to stand beside a figure."""

    processor: str
    family: str
    """Vendor, family and model, as a virtual machine's name for it says little; may be empty."""
    caches: dict[str, int]
    """Bytes that one core sees, by name: `L1d`, `L1i`, `L2`, `L3`."""
    instruction_sets: tuple[str, ...]
    """Those of `processor.TELLING` that are here."""
    cores: int
    """Logical processors this process may use."""
    gpus: tuple[str, ...]
    """Names of NVIDIA's cards, as nvidia-smi says them; a Jetson's is not among them."""
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
        cards = "".join(f"{name}, " for name in self.gpus)
        return (
            f"{about}, {self.cores} cores ({' '.join(self.instruction_sets)}), {cards}"
            f"{self.system}, Python {self.python}, {packages}"
        )


def this_machine(system: System | None = None) -> Machine:
    """Describe the machine as it is now."""
    system = system or System()
    found = processor.flags(system)
    return Machine(
        processor=_processor(system),
        family=_family(system),
        caches=_caches(system),
        instruction_sets=tuple(name for name in processor.TELLING if name in found),
        cores=usable(system),
        gpus=_gpus(system),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages=installed(system),
        load=round(os.getloadavg()[0], 2),
    )


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
        return System().read(f"{CORES}/cpu{core}/topology/thread_siblings_list")
    except Unknown:
        return str(core)


def _processor(system: System) -> str:
    try:
        return processor.model(system)
    except Unknown:
        return system.machine


def _family(system: System) -> str:
    try:
        info = system.read("proc/cpuinfo")
    except Unknown:
        return ""
    x86 = ("vendor_id", "cpu family", "model", "stepping")
    arm = ("CPU implementer", "CPU part", "CPU variant", "CPU revision")
    for names in (x86, arm):
        values = [processor.entry(info, name) for name in names]
        if all(values):
            first, *rest = zip(names, values, strict=True)
            return " ".join([first[1], *(f"{name} {value}" for name, value in rest)])
    return ""


def _caches(system: System) -> dict[str, int]:
    found = {}
    for folder in system.glob(f"{CORES}/cpu0/cache/index[0-9]*"):
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


def _gpus(system: System) -> tuple[str, ...]:
    try:
        return tuple(card["name"] for card in gpu.cards(system)) if gpu.present(system) else ()
    except Unknown:
        return ()
