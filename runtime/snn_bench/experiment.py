"""From networks to reports: files for the children, the children, and what they found."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_bench.children import run_child
from snn_bench.contenders import PRECISIONS, Contender, twins
from snn_bench.energy import estimate
from snn_bench.limit import Traffic, limit_ns, traffic
from snn_bench.metering import Spent
from snn_bench.propagation import propagate
from snn_bench.rates import entering_rates
from snn_bench.results import Comparison, Energy, Report, Row
from snn_bench.timing import Latency, Protocol, Ratio
from snn_bench.twin import relu_twin, twin_input
from snn_bench.worker import Task
from snn_bench.workloads import Workload
from snn_runtime.errors import DeviceError
from snn_runtime.files import write_atomic
from snn_runtime.graph import SpikingGraph
from snn_runtime.graph.activations import peak
from snn_runtime.machine.describe import choose_cores
from snn_runtime.model_file import to_bytes
from snn_runtime.onnx_build.int8 import quantise
from snn_runtime.proof.golden import golden_hash, golden_images

Say = Callable[[str], None]
CALIBRATION_IMAGES = 8
"""For a twin, of which only the time is wanted."""


@dataclass(frozen=True)
class Plan:
    """What to measure of every workload."""

    backends: tuple[str, ...]
    required: bool
    """Whether a backend that is not here is an error: it was asked for by name."""
    against_dnn: bool
    threads: tuple[int, ...]
    batches: tuple[int, ...]
    memory: bool
    energy: bool
    protocol: Protocol


def measure(workload: Workload, plan: Plan, folder: Path, say: Say) -> Report:
    """Measure one workload; `folder` is scratch, and keeps the twins for the same network."""
    rate = "" if workload.rate is None else f" at {workload.rate:.3g}"
    about = f"{workload.network}{rate}"
    say(f"{about}: writing the models")
    models = _prepare(workload, plan, folder)
    layers = traffic(workload.graph, workload.images)
    found = []
    for threads in plan.threads:
        task = _task(plan, folder, models, layers, threads)
        say(f"{about}: timing {len(task.contenders)} contenders, threads {threads}")
        found.append(run_child(task))
        _check_available(plan, found[-1]["unavailable"])
    bandwidth = _bandwidth(found[0]["bandwidth"])
    limit = None if isinstance(bandwidth, str) else limit_ns(layers, bandwidth)
    rows = [_row(row, limit) for result in found for row in result["rows"]]
    if plan.memory:
        say(f"{about}: memory and load time, {len(rows)} processes")
        rows = [_with_footprint(row, plan, folder, models) for row in rows]
    return Report(
        workload.network,
        workload.rate,
        entering_rates(workload.graph, workload.images),
        workload.graph.parameters,
        peak(workload.graph.nodes, workload.graph.readout, workload.graph.shapes),
        len(workload.images),
        layers,
        bandwidth,
        limit,
        rows,
        [_comparison(item) for result in found for item in result["ratios"]],
        {name: reason for result in found for name, reason in result["unavailable"].items()},
        _energy(workload, found) if plan.energy else None,
    )


def _energy(workload: Workload, found: list[dict[str, Any]]) -> Energy:
    return Energy(
        estimate(workload.graph, workload.images),
        [Spent(**item) for result in found for item in result["spent"]],
        {name: reason for result in found for name, reason in result["unmeasured"].items()},
    )


def _prepare(workload: Workload, plan: Plan, folder: Path) -> dict[str, str]:
    """Write what the children read, and return each contender's model."""
    graph, images = workload.graph, workload.images
    path = workload.path
    if path is None:
        path = folder / "model.onnx"
        write_atomic(path, to_bytes(graph, golden=_golden(graph)))
    np.save(folder / "images.npy", images)
    models = {c.name: str(path) for c in _contenders(plan) if c.kind == "snn"}
    if plan.against_dnn:
        _write_twins(graph, images, folder)
        models |= {c.name: str(folder / f"{c.precision}.onnx") for c in twins()}
    return models


def _write_twins(graph: SpikingGraph, images: npt.NDArray[np.uint8], folder: Path) -> None:
    inputs = twin_input(graph, images)
    np.save(folder / "inputs.npy", inputs)
    fp32, int8 = (folder / f"{precision}.onnx" for precision in PRECISIONS)
    if not int8.exists():  # another rate is the same topology, and costs a dense engine the same
        twin = relu_twin(graph)
        fp32.write_bytes(twin.SerializeToString())
        int8.write_bytes(quantise(twin, [inputs[:CALIBRATION_IMAGES]]).SerializeToString())


def _golden(graph: SpikingGraph) -> str:
    sent = propagate(graph, golden_images(graph.image))
    return golden_hash({node.name: bits.astype(np.uint8) for node, bits in sent if node.fires})


def _contenders(plan: Plan) -> list[Contender]:
    ours = [Contender("snn", name) for name in plan.backends]
    return ours + (twins() if plan.against_dnn else [])


def _task(
    plan: Plan, folder: Path, models: dict[str, str], layers: Sequence[Traffic], threads: int
) -> Task:
    return Task(
        folder=str(folder),
        models=models,
        contenders=_contenders(plan),
        threads=threads,
        batches=list(plan.batches),
        cores=choose_cores(threads, sorted(os.sched_getaffinity(0))),
        protocol=plan.protocol,
        sizes=[layer.weight_bytes for layer in layers if layer.row_bytes],
        energy=plan.energy,
    )


def _check_available(plan: Plan, unavailable: dict[str, str]) -> None:
    ours = {f"snn {name}" for name in plan.backends}
    missing = {name: reason for name, reason in unavailable.items() if name in ours}
    if missing and (plan.required or missing.keys() == ours):
        raise DeviceError("backend_unavailable", "; ".join(missing.values()))


def _bandwidth(found: dict[str, float] | str) -> dict[int, float] | str:
    return found if isinstance(found, str) else {int(size): rate for size, rate in found.items()}


def _row(found: dict[str, Any], limit: float | None) -> Row:
    contender = Contender(**found["contender"])
    latency = Latency(**{name: found[name] for name in Latency.__dataclass_fields__})
    share = None
    if limit is not None and contender.kind == "snn":
        share = limit * 1e-9 * found["batch"] / found["threads"] / latency.p50
    return Row(
        contender.name,
        found["threads"],
        found["batch"],
        found["variant"],
        latency,
        None,
        None,
        None,
        share,
    )


def _with_footprint(row: Row, plan: Plan, folder: Path, models: dict[str, str]) -> Row:
    task = _task(plan, folder, models, (), row.threads)
    alone = [contender for contender in task.contenders if contender.name == row.contender]
    task = replace(task, contenders=alone, batches=[row.batch], footprint=True)
    return replace(row, **run_child(task))


def _comparison(found: dict[str, Any]) -> Comparison:
    spread = Ratio(**{name: found.pop(name) for name in Ratio.__dataclass_fields__})
    return Comparison(**found, ratio=spread)
