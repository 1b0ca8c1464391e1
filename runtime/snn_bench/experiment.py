"""From networks to reports: files for the children, the children, and what they found."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_bench.children import run_child
from snn_bench.contenders import INT8, PRECISIONS, Contender, of_file, twins
from snn_bench.energy import estimate
from snn_bench.frontier import advantages
from snn_bench.limit import Traffic, limit_ns, traffic
from snn_bench.metering import Spent
from snn_bench.opponents import Opponent, spiking
from snn_bench.propagation import propagate
from snn_bench.rates import entering_rates
from snn_bench.results import Comparison, Energy, Network, Peak, Report, Row
from snn_bench.timing import Latency, Protocol, Ratio
from snn_bench.twin import multiply_adds, relu_twin, twin_input
from snn_bench.worker import Task
from snn_bench.workloads import Workload
from snn_runtime.errors import DeviceError
from snn_runtime.files import write_atomic
from snn_runtime.graph import SpikingGraph
from snn_runtime.graph.activations import peak as peak_of_values
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
    opponents: tuple[Opponent, ...]
    threads: tuple[int, ...]
    batches: tuple[int, ...]
    memory: bool
    energy: bool
    protocol: Protocol

    @property
    def contenders(self) -> list[Contender]:
        """Everybody in the race, ours first."""
        found = [Contender("snn", name) for name in self.backends]
        found += twins() if self.against_dnn else []
        return found + [
            contender
            for opponent in self.opponents
            for contender in of_file(opponent.network, self.backends)
        ]


def measure(workload: Workload, plan: Plan, folder: Path, say: Say) -> Report:
    """Measure one workload; `folder` is scratch, and keeps the twins for the same network."""
    rate = "" if workload.rate is None else f" at {workload.rate:.3g}"
    about = f"{workload.network}{rate}"
    say(f"{about}: writing the models")
    graph, images = workload.graph, workload.images
    layers = traffic(graph, images)
    common = _prepare(workload, plan, folder, layers)
    found = []
    for threads in plan.threads:
        task = _with_threads(common, threads)
        say(f"{about}: timing {len(task.contenders)} contenders, threads {threads}")
        found.append(run_child(task) | {"cores": task.cores})
        _check_available(plan, found[-1]["unavailable"])
    bandwidth = _bandwidth(found[0]["bandwidth"])
    limit = None if isinstance(bandwidth, str) else limit_ns(layers, bandwidth)
    peak = max((Peak(**each["peak"]) for each in found), key=lambda p: p.multiply_adds_per_ns or 0)
    networks = [replace(spiking(workload.network, graph), multiply_adds=multiply_adds(graph))]
    networks += [opponent.network for opponent in plan.opponents]
    rows = [
        _row(row, networks, limit, peak, len(result["cores"]))
        for result in found
        for row in result["rows"]
    ]
    if plan.memory:
        say(f"{about}: memory and load time, {len(rows)} processes")
        rows = [_with_footprint(row, common) for row in rows]
    report = Report(
        network=workload.network,
        networks=networks,
        rate=workload.rate,
        rates=entering_rates(graph, images),
        parameters=graph.parameters,
        activation_bytes=peak_of_values(graph.nodes, graph.readout, graph.shapes),
        images=len(images),
        cores=dict(zip(plan.threads, (result["cores"] for result in found), strict=True)),
        peak=peak,
        traffic=layers,
        bandwidth=bandwidth,
        limit_ns=limit,
        rows=rows,
        comparisons=[_comparison(item) for result in found for item in result["ratios"]],
        equal_accuracy=[],
        unavailable={n: reason for result in found for n, reason in result["unavailable"].items()},
        energy=_energy(workload, found) if plan.energy else None,
    )
    return replace(report, equal_accuracy=advantages(report))


def _energy(workload: Workload, found: list[dict[str, Any]]) -> Energy:
    return Energy(
        estimate(workload.graph, workload.images),
        [Spent(**item) for result in found for item in result["spent"]],
        {name: reason for result in found for name, reason in result["unmeasured"].items()},
    )


def _prepare(workload: Workload, plan: Plan, folder: Path, layers: Sequence[Traffic]) -> Task:
    """Write what the children read, and return what they all have to do."""
    graph, images = workload.graph, workload.images
    path = workload.path
    if path is None:
        path = folder / "model.onnx"
        write_atomic(path, to_bytes(graph, golden=_golden(graph)))
    np.save(folder / "images.npy", images)
    if plan.against_dnn:
        _write_twins(graph, images, folder)
    files = {opponent.network.name: opponent for opponent in plan.opponents}
    places = {name: folder / f"opponent{index}.npy" for index, name in enumerate(files)}
    for name, place in places.items():
        np.save(place, files[name].inputs)
    models, inputs = {}, {}
    for each in plan.contenders:
        if each.file:
            models[each.name], inputs[each.name] = files[each.file].path, places[each.file]
        elif each.kind == "dnn":
            models[each.name] = folder / f"{each.precision}.onnx"
            inputs[each.name] = folder / "inputs.npy"
        else:
            models[each.name], inputs[each.name] = path, folder / "images.npy"
    return Task(
        folder=str(folder),
        models={name: str(model) for name, model in models.items()},
        inputs={name: str(given) for name, given in inputs.items()},
        contenders=plan.contenders,
        threads=1,
        batches=list(plan.batches),
        cores=[],
        protocol=plan.protocol,
        sizes=[layer.weight_bytes for layer in layers if layer.row_bytes],
        energy=plan.energy,
    )


def _with_threads(task: Task, threads: int) -> Task:
    cores = choose_cores(threads, sorted(os.sched_getaffinity(0)))
    return replace(task, threads=threads, cores=cores)


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


def _check_available(plan: Plan, unavailable: dict[str, str]) -> None:
    ours = {f"snn {name}" for name in plan.backends}
    missing = {name: reason for name, reason in unavailable.items() if name in ours}
    if missing and (plan.required or missing.keys() == ours):
        raise DeviceError("backend_unavailable", "; ".join(missing.values()))


def _bandwidth(found: dict[str, float] | str) -> dict[int, float] | str:
    return found if isinstance(found, str) else {int(size): rate for size, rate in found.items()}


def _row(
    found: dict[str, Any], networks: Sequence[Network], limit: float | None, peak: Peak, cores: int
) -> Row:
    contender = Contender(**found["contender"])
    own = networks[0]
    network = next((each for each in networks if each.name == contender.file), own)
    latency = Latency(**{name: found[name] for name in Latency.__dataclass_fields__})
    batch = found["batch"]
    each = cores * latency.p50 / batch * 1e9  # nanoseconds a picture, of all cores
    limit_share = peak_share = None
    if limit is not None and contender.kind == "snn" and network is own:
        limit_share = limit / each
    integers = contender.kind == "dnn" and contender.precision in ("", INT8)
    if integers and network.multiply_adds and peak.multiply_adds_per_ns:
        peak_share = network.multiply_adds / peak.multiply_adds_per_ns / each
    return Row(
        network=network.name,
        kind=contender.kind,
        contender=contender.name,
        threads=found["threads"],
        batch=batch,
        variant=found["variant"],
        latency=latency,
        peak_bytes=None,
        activation_bytes=None,
        load_seconds=None,
        limit_share=limit_share,
        peak_share=peak_share,
    )


def _with_footprint(row: Row, common: Task) -> Row:
    alone = [contender for contender in common.contenders if contender.name == row.contender]
    task = replace(
        common,
        contenders=alone,
        batches=[row.batch],
        sizes=[],
        footprint=True,
        variant=row.variant,
    )
    return replace(row, **run_child(_with_threads(task, row.threads)))


def _comparison(found: dict[str, Any]) -> Comparison:
    spread = Ratio(**{name: found.pop(name) for name in Ratio.__dataclass_fields__})
    return Comparison(**found, ratio=spread)
