"""Meters: what this machine itself says that it spends, where it says anything.

RAPL     counters of the processor's packages, and of DRAM where there are any; mostly root's
NVML     the power of NVIDIA's cards, by asking nvidia-smi again and again
INA3221  the rails of a Jetson: volts times amperes, again and again

Each measures everything that runs behind it, not one process.
"""

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from snn_runtime.machine.gpu import SMI
from snn_runtime.machine.system import System, Unknown

Reading: TypeAlias = dict[str, float]
"""Joules by part, such as `package` or `VDD_IN`."""

RAPL_ZONES = "sys/class/powercap/intel-rapl:*"
"""AMD's processors are found under this name too."""
RAIL_LABELS = "sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in*_label"
UNLOCK = "chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"


class Meter(Protocol):
    """One way to measure."""

    @property
    def name(self) -> str: ...

    @property
    def least(self) -> float:
        """Seconds that a turn must last for its reading to mean something."""
        ...

    def watch(self) -> AbstractContextManager[Reading]:
        """Measure what is inside; the reading is filled in at the end.

        Raises:
            Unknown: It could not be read.
        """
        ...


def find(system: System) -> tuple[list[Meter], dict[str, str]]:
    """Return the meters that can be read here, and by name why the others cannot."""
    makers: dict[str, Callable[[System], Meter]] = {"RAPL": rapl, "NVML": cards, "INA3221": rails}
    meters, reasons = [], {}
    for name, make in makers.items():
        try:
            meters.append(make(system))
        except Unknown as why:
            reasons[name] = str(why)
    return meters, reasons


@dataclass(frozen=True)
class Zone:
    """One counter of RAPL."""

    part: str
    path: str
    """File that holds the counter, in microjoules."""
    span: int
    """The largest count, after which it begins again at 0."""


@dataclass(frozen=True)
class Rapl:
    """Counters read before and after; parts of several sockets are added up."""

    system: System
    zones: tuple[Zone, ...]
    name: str = "RAPL"
    least: float = 0.5
    """Counters move once a millisecond."""

    @contextmanager
    def watch(self) -> Iterator[Reading]:
        reading: Reading = {}
        before = self.counts()
        yield reading
        for zone, start, end in zip(self.zones, before, self.counts(), strict=True):
            if start == end:
                raise Unknown(f"/{zone.path} stands still at {end}: nothing is behind it")
            spent = end - start if end > start else end - start + zone.span
            reading[zone.part] = reading.get(zone.part, 0.0) + spent * 1e-6

    def counts(self) -> list[int]:
        return [_whole(self.system, zone.path) for zone in self.zones]


def rapl(system: System) -> Rapl:
    """The processor's own counters.

    Raises:
        Unknown: There are none, or they may not be read.
    """
    zones = []
    for folder in system.glob(RAPL_ZONES):
        path = _inside(system, folder)
        kind = system.read(f"{path}/name").split("-")[0]
        if kind in ("package", "dram"):  # cores are in the package, which is in psys
            span = _whole(system, f"{path}/max_energy_range_uj")
            zones.append(Zone(kind, f"{path}/energy_uj", span))
    if not zones:
        raise Unknown(
            f"no package in /{RAPL_ZONES} (a virtual machine or container, or no such processor)"
        )
    meter = Rapl(system, tuple(zones))
    try:
        meter.counts()
    except Unknown as why:
        raise Unknown(f"{why}; mostly root's: {UNLOCK}") from why
    return meter


@dataclass(frozen=True)
class Sampled:
    """A power read again and again in a thread: its mean times the seconds."""

    name: str
    watts: Callable[[], dict[str, float]]
    least: float
    period: float
    """Seconds from one sample to the next."""
    settle: float
    """Seconds that count for nothing, because the power is a mean over as many."""

    @contextmanager
    def watch(self) -> Iterator[Reading]:
        reading: Reading = {}
        done = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            sampling = pool.submit(self._sample, done)
            start = time.perf_counter()
            try:
                yield reading
            finally:
                seconds = time.perf_counter() - start
                done.set()
        samples = sampling.result()
        for part in samples[0]:
            reading[part] = seconds * statistics.fmean(sample[part] for sample in samples)

    def _sample(self, done: threading.Event) -> list[dict[str, float]]:
        done.wait(self.settle)
        samples = [self.watts()]
        while not done.wait(self.period):
            samples.append(self.watts())
        return samples


def cards(system: System) -> Sampled:
    """NVIDIA's cards, each one a part; newer ones give the mean over the last second.

    Raises:
        Unknown: nvidia-smi is not here, or gives no power, as on a Jetson.
    """

    def watts() -> dict[str, float]:
        text = system.run((*SMI, "--query-gpu=index,power.draw")).strip()
        try:
            pairs = [line.split(",") for line in text.splitlines()]
            found = {f"GPU {index.strip()}": float(power) for index, power in pairs}
        except ValueError as error:
            raise Unknown(f"nvidia-smi gives {text[:60]!r} as index and power") from error
        if not found:
            raise Unknown("nvidia-smi lists no card")
        return found

    watts()
    return Sampled("NVML", watts, least=4.0, period=0.2, settle=1.5)


def rails(system: System) -> Sampled:
    """A Jetson's rails, each one a part; they are not added up: VDD_IN feeds the others.

    Raises:
        Unknown: There are none, or they may not be read.
    """
    paths = {}
    for label in system.glob(RAIL_LABELS):
        folder = _inside(system, label.parent)
        number = label.name.removeprefix("in").removesuffix("_label")
        current = f"{folder}/curr{number}_input"
        if system.exists(current):  # the chip's sum of shunt voltages has a label and no current
            name = system.read(f"{folder}/{label.name}")
            paths[name] = (f"{folder}/in{number}_input", current)
    if not paths:
        raise Unknown(f"no rail in /{RAIL_LABELS} (only Jetson boards have it)")

    def watts() -> dict[str, float]:
        return {  # millivolts and milliamperes
            name: 1e-6 * _whole(system, voltage) * _whole(system, current)
            for name, (voltage, current) in paths.items()
        }

    watts()
    return Sampled("INA3221", watts, least=1.0, period=0.05, settle=0.1)


def _inside(system: System, path: Path) -> str:
    return str(path.relative_to(system.root))


def _whole(system: System, path: str) -> int:
    text = system.read(path)
    try:
        return int(text)
    except ValueError as error:
        raise Unknown(f"/{path} says {text[:40]!r}, expected a whole number") from error
