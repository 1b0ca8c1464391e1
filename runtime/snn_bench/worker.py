"""The child process that measures: `python -m snn_bench.worker TASK.json RESULT.json`.

One process a thread count, pinned to as many cores before any engine counts them; one more for
each figure of memory, because a process has only one peak.
"""

import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from snn_bench.contenders import Contender, Ready, batches, cyclic, named, on_gpu
from snn_bench.dense_engines import open_dense
from snn_bench.hardware import bandwidths, peak
from snn_bench.joules import Meter, find
from snn_bench.metering import spend
from snn_bench.resident import growth, peak_memory
from snn_bench.timing import Latency, Protocol, Ratio, race, ratio, summarise
from snn_runtime.errors import DeviceError, SnnError
from snn_runtime.machine.children import leave_with_parent
from snn_runtime.machine.system import System, Unknown

LOADS = 3
"""Times a model is loaded; the median counts."""
FOOTPRINT_CALLS = 3


@dataclass(frozen=True)
class Task:
    """What a child has to do."""

    folder: str
    """Scratch, for the task and its result."""
    models: dict[str, str]
    """Path of the model by contender's name."""
    inputs: dict[str, str]
    """Path of what it is given by contender's name: .npy, as `Ready` wants it."""
    contenders: list[Contender]
    threads: int
    batches: list[int]
    cores: list[int]
    protocol: Protocol
    sizes: list[int]
    """Bytes of the layers' weights, for which the cache bandwidth is wanted."""
    footprint: bool = False
    """Measure memory and load time instead: one contender, one batch."""
    variant: str = ""
    """How that one ran its batch in the race, which for a dense engine is all that is loaded."""
    energy: bool = False
    """Measure joules too, with the meters that are here."""


def main() -> int:
    """Do the task in the first file and write the result to the second."""
    threading.Thread(target=leave_with_parent, daemon=True).start()
    if not Path(sys.argv[1]).exists():
        return 1  # the parent was stopped while it started us
    task = read_task(Path(sys.argv[1]))
    try:
        os.sched_setaffinity(0, task.cores)
        result = footprint(task) if task.footprint else measure(task)
    except SnnError as error:
        failure = {"kind": type(error).__name__, "code": error.code, "message": error.message}
        result = {"error": failure}
    Path(sys.argv[2]).write_text(json.dumps(result))
    return 0


def measure(task: Task) -> dict[str, Any]:
    """Race all contenders at every batch size.

    Returns:
        `rows` (a Latency each), `ratios` of everybody to every backend, `unavailable` reasons by
        name, `bandwidth` in bytes a nanosecond by size or the reason why there is none, and `peak`
        (a Peak); with `energy` also `spent` (a Spent each) and `unmeasured` reasons by meter.
    """
    rows: list[dict[str, Any]] = []
    ratios: list[dict[str, Any]] = []
    unavailable: dict[str, str] = {}
    spent: list[dict[str, Any]] = []
    meters, unmeasured = find(System()) if task.energy else ([], {})
    for batch in task.batches:
        ready = _open(task, batch, unavailable)
        samples = race([way[1] for _, way in ready], task.protocol)
        counts = [len(_inputs(task, contender, batch)) for contender, _ in ready]
        latencies = [summarise(*each) for each in zip(samples, counts, strict=True)]
        for (contender, (variant, _)), latency in zip(ready, latencies, strict=True):
            rows.append({**_identity(contender, task, batch), "variant": variant} | asdict(latency))
        for index, (ours, _) in enumerate(ready):
            if ours.kind == "snn" and not ours.file:
                found = [
                    ratio(rounds, samples[index], (count, counts[index]))
                    for rounds, count in zip(samples, counts, strict=True)
                ]
                ratios += _ratios(ready, ours, found, latencies, task, batch)
        spent += _spent(ready, meters, unmeasured, task, batch)
    return {
        "rows": rows,
        "ratios": ratios,
        "unavailable": unavailable,
        "spent": spent,
        "unmeasured": unmeasured,
        "bandwidth": bandwidths(task.sizes),
        "peak": asdict(peak()),
    }


def footprint(task: Task) -> dict[str, Any]:
    """Return `peak_bytes` after loading and a few calls, the `activation_bytes` that such calls
    add, and `load_seconds`.

    What calls add is measured of an engine made before, which is gone then. The modules are
    imported before the clock starts; the file is warm in the system's cache.
    """
    (contender,), (batch,) = task.contenders, task.batches
    inputs = _inputs(task, contender, batch)
    load = _loader(task, contender, inputs)
    activations = growth(_loader(task, contender, inputs, prove=False)()[1], FOOTPRINT_CALLS)
    start = time.perf_counter()
    _, call = load()
    seconds = [time.perf_counter() - start]
    for number in range(FOOTPRINT_CALLS):
        call(number)
    largest = peak_memory()
    for _ in range(LOADS - 1):
        start = time.perf_counter()
        load()
        seconds.append(time.perf_counter() - start)
    return {
        "peak_bytes": largest,
        "activation_bytes": activations,
        "load_seconds": statistics.median(seconds),
    }


def read_task(path: Path) -> Task:
    fields = json.loads(path.read_text())
    fields["contenders"] = [Contender(**contender) for contender in fields["contenders"]]
    fields["protocol"] = Protocol(**fields["protocol"])
    return Task(**fields)


def _open(task: Task, batch: int, unavailable: dict[str, str]) -> list[tuple[Contender, Ready]]:
    ready = []
    for contender in task.contenders:
        try:
            inputs = _inputs(task, contender, batch)
            ready.append((contender, _loader(task, contender, inputs, check=True)()))
        except DeviceError as error:
            unavailable[contender.name] = error.message
    return ready


def _inputs(task: Task, contender: Contender, batch: int) -> list[Any]:
    return batches(np.load(task.inputs[contender.name], mmap_mode="r"), batch)


def _loader(
    task: Task,
    contender: Contender,
    inputs: list[Any],
    *,
    check: bool = False,
    prove: bool = True,
) -> Callable[[], Ready]:
    """Return what makes a contender ready; `check` has an SNN prove its answers first, without
    `prove` it does not even where that is cheap."""
    path = Path(task.models[contender.name])
    if contender.kind == "dnn":
        return lambda: open_dense(contender, path, task.threads, inputs, task.variant)
    from snn_runtime.engines.choice import BackendName, Choice, make_backend
    from snn_runtime.model import load, read_model_file

    def ready() -> Ready:
        backend, device = named(contender.engine)
        threads = None if on_gpu(contender.engine) else task.threads
        if not prove:
            engine = make_backend(read_model_file(path), Choice(backend, device, threads=threads))
            return engine.details, cyclic(engine.run, inputs)
        model = load(path, backend=cast(BackendName, backend), device=device, threads=threads)
        if check and not model.self_tested:
            model.self_test()
        return model.backend.details, cyclic(model.logits, inputs)

    return ready


def _identity(contender: Contender, task: Task, batch: int) -> dict[str, Any]:
    return {"contender": asdict(contender), "threads": task.threads, "batch": batch}


def _ratios(
    ready: list[tuple[Contender, Ready]],
    ours: Contender,
    found: list[Ratio],
    latencies: list[Latency],
    task: Task,
    batch: int,
) -> Iterator[dict[str, Any]]:
    twins = [i for i, (each, _) in enumerate(ready) if each.kind == "dnn" and not each.file]
    best_twin = min(twins, key=lambda i: latencies[i].p50, default=None)
    for index, (other, _) in enumerate(ready):
        if other != ours:
            same = [i for i, (each, _) in enumerate(ready) if each.file == other.file]
            fastest = min(same, key=lambda i: latencies[i].p50)
            yield {
                "contender": ours.name,
                "against": other.name,
                "best_twin": index == best_twin,
                "best_of_file": bool(other.file) and index == fastest,
                "threads": task.threads,
                "batch": batch,
                **asdict(found[index]),
            }


def _spent(
    ready: list[tuple[Contender, Ready]],
    meters: list[Meter],
    unmeasured: dict[str, str],
    task: Task,
    batch: int,
) -> Iterator[dict[str, Any]]:
    calls = {contender.name: way[1] for contender, way in ready}
    for meter in meters if calls else []:
        try:
            found = spend(meter, calls, task.protocol.duration, task.threads, batch)
        except Unknown as why:
            unmeasured[meter.name] = str(why)
        else:
            yield from map(asdict, found)
