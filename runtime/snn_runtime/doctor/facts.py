"""Which facts there are. Their names are part of the JSON form and do not change."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from snn_runtime.doctor import software
from snn_runtime.machine import gpu, jetson, packages, processor
from snn_runtime.machine.system import System, Unknown

Value: TypeAlias = (
    str
    | int
    | float
    | bool
    | list[str]
    | list[dict[str, str]]
    | dict[str, str]
    | dict[str, int]
    | dict[str, float]
    | None
)
Probe: TypeAlias = Callable[[System], Value]

ALWAYS: dict[str, dict[str, Probe]] = {
    "system": {
        "os": software.operating_system,
        "kernel": software.kernel,
        "machine": software.machine,
        "libc": software.libc,
        "container": software.container,
        "python": software.python,
    },
    "cpu": {
        "model": processor.model,
        "instruction_sets": processor.instruction_sets,
        "cores": processor.cores,
        "usable_cores": processor.usable_cores,
        "core_limit": processor.core_limit,
        "governor": processor.governor,
        "megahertz": processor.megahertz,
    },
    "memory": {
        "total_bytes": processor.total_memory,
        "available_bytes": processor.available_memory,
        "limit_bytes": processor.memory_limit,
    },
    "software": {
        "packages": packages.installed,
        "event_engine": software.event_engine,
        "onnxruntime_wheel": software.wheel,
        "onnxruntime_providers": software.providers,
    },
    "gpu": {
        "present": gpu.present,
        "cards": gpu.cards,
        "cuda": gpu.cuda,
        "cuda_libraries": gpu.cuda_libraries,
        "tensorrt_libraries": gpu.tensorrt_libraries,
    },
}
ON_A_JETSON: dict[str, dict[str, Probe]] = {
    "jetson": {
        "board": jetson.board,
        "l4t": jetson.l4t,
        "jetpack": jetson.jetpack,
        "power_mode": jetson.power_mode,
        "gpu_megahertz": jetson.gpu_megahertz,
        "celsius": jetson.celsius,
    },
}


@dataclass(frozen=True)
class Facts:
    """What is here."""

    values: dict[str, dict[str, Value]]
    """By group and name; None where the reason is in `unknown`, or where there is no limit."""
    unknown: dict[str, str]
    """Why, by `group.name`."""

    @property
    def on_jetson(self) -> bool:
        return "jetson" in self.values


def gather(system: System) -> Facts:
    """Ask for every fact; one that cannot be had says why and does not disturb the others."""
    groups = ALWAYS | (ON_A_JETSON if jetson.here(system) else {})
    values: dict[str, dict[str, Value]] = {group: {} for group in groups}
    unknown = {}
    for group, probes in groups.items():
        for name, probe in probes.items():
            try:
                values[group][name] = probe(system)
            except Unknown as why:
                values[group][name] = None
                unknown[f"{group}.{name}"] = str(why)
            except (ValueError, OSError) as error:  # a file that holds something else
                values[group][name] = None
                unknown[f"{group}.{name}"] = f"not understood: {error!s:.100}"
    return Facts(values, unknown)
