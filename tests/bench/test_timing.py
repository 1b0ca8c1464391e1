"""The arithmetic of the clock: rounds, percentiles, ratios, cores, bandwidths, children."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from graphs import example, pictures

import snn_bench
from snn_bench import children, dense_engines, experiment, hardware, resident, timing, worker
from snn_bench.contenders import Contender, batches, cyclic
from snn_bench.dense_engines import fastest, open_dense
from snn_bench.results import Peak, Row
from snn_bench.timing import Protocol, race, ratio, summarise
from snn_bench.twin import relu_twin, twin_input
from snn_bench.worker import Task
from snn_runtime import model_file as onnx_file
from snn_runtime.doctor import facts
from snn_runtime.errors import DeviceError, ModelError, ResourceError
from snn_runtime.machine import describe as machine
from snn_runtime.machine import processor
from snn_runtime.machine.system import System


def test_percentiles_are_over_all_calls_of_all_rounds() -> None:
    samples = [np.arange(0, 50) / 1000, np.arange(50, 101) / 1000]
    latency = summarise(samples, 2)
    assert (latency.p50, latency.p90, latency.p99) == pytest.approx((0.05, 0.09, 0.099))
    assert (latency.mean, latency.calls) == pytest.approx((0.05, 101))


def test_a_quiet_call_is_each_batch_s_fastest() -> None:
    """Three batches in turn, over two rounds: 1, 7, 5, 2 and 6, 3, 9. The second batch is slow."""
    samples = [np.array([1.0, 7.0, 5.0, 2.0]), np.array([6.0, 3.0, 9.0])]
    assert summarise(samples, 3).quiet == pytest.approx((1 + 6 + 3) / 3)
    assert summarise(samples, 100).quiet == pytest.approx(33 / 7)  # most were never called
    assert summarise(samples, 2).calls_a_batch == 3.5
    assert ratio([np.full(3, 8.0)] * 2, samples, (3, 3)).quiet == pytest.approx(8 * 3 / 10)
    assert ratio(samples, [np.ones(3)] * 2, (2, 3)).quiet == pytest.approx((1 + 2) / 2)


def test_ratios_are_of_medians_round_by_round() -> None:
    ours = [np.array([1.0, 2.0, 900.0]), np.array([4.0]), np.array([1.0])]
    others = [np.array([6.0]), np.array([4.0, 4.0, 70.0]), np.array([2.0])]
    found = ratio(others, ours, (5, 5))  # 3, 1, 2: the outliers count for nothing
    assert (found.median, found.min, found.max, found.rounds) == (2, 1, 3, 3)
    assert (found.p10, found.p90) == pytest.approx((1.2, 2.8))


def test_every_round_has_everybody_and_another_first(monkeypatch: pytest.MonkeyPatch) -> None:
    now, order = 0.0, list[int]()

    def contender(who: int, seconds: float) -> timing.Call:
        def call(number: int) -> None:
            nonlocal now
            now += seconds
            order.append(who)

        return call

    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: now))
    protocol = Protocol(rounds=4, duration=4.0, warm_up=2)  # a second a contender and round
    samples = race([contender(0, 0.25), contender(1, 0.5), contender(2, 3.0)], protocol)
    assert [[len(r) for r in rounds] for rounds in samples] == [[4] * 4, [2] * 4, [1] * 4]
    assert samples[1][2].tolist() == [0.5, 0.5]
    turns = order[6:]  # after the warm-up; one more call a turn is not counted
    assert Counter(turns) == {0: 20, 1: 12, 2: 8}
    firsts = [turns[10 * index] for index in range(4)]
    assert firsts == [0, 1, 2, 0]


def test_what_is_timed_was_not_just_seen() -> None:
    """A call a round: the one before it, which does not count, has another picture."""
    asked: list[int] = []
    race([asked.append], Protocol(rounds=3, duration=1e-9, warm_up=2))
    assert asked[2:] == [-1, 0, 0, 1, 1, 2]


def test_batches_go_round() -> None:
    images = np.arange(5)[:, None]
    assert [b.ravel().tolist() for b in batches(images, 2)] == [[0, 1], [2, 3], [4, 0]]
    assert [b.ravel().tolist() for b in batches(images, 7)] == [[0, 1, 2, 3, 4, 0, 1]]
    seen: list[int] = []
    call = cyclic(seen.append, [7, 8])
    for number in range(-1, 3):
        call(number)
    assert seen == [8, 7, 8, 7]


def test_a_baseline_runs_its_fastest_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_engines, "warm_up", lambda call, times: call(0))
    ways = {"slow": lambda: lambda number: 2.0, "fast": lambda: lambda number: 1.0}
    assert fastest(ways)[0] == "fast"
    assert fastest(ways, "slow")[0] == "slow"


def test_of_a_way_that_has_won_no_other_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its load and its memory would be those of all that were tried."""
    opened, asked = list[int](), list[int]()
    session, warm_up = dense_engines._ort_session, timing.warm_up

    def counted(model: Path, threads: int, batch: int) -> Any:
        opened.append(batch)
        return session(model, threads, batch)

    def tried(call: timing.Call, times: int) -> float:
        asked.append(times)
        return warm_up(call, times)

    monkeypatch.setattr(dense_engines, "_ort_session", counted)
    monkeypatch.setattr(dense_engines, "warm_up", tried)
    path = tmp_path / "twin.onnx"
    path.write_bytes(relu_twin(example()).SerializeToString())
    inputs = batches(twin_input(example(), pictures(example().image, 4)), 2)
    dense = Contender("dnn", "onnxruntime", "fp32")
    name, _ = open_dense(dense, path, 1, inputs)
    assert name in ("one batch", "one batch, bound", "one by one")
    assert (opened, len(asked)) == ([2, 1], 3)  # the two ways with a whole batch share a session
    for variant, batch in (("one batch", 2), ("one batch, bound", 2), ("one by one", 1)):
        opened.clear()
        name, call = open_dense(dense, path, 1, inputs, variant)
        call(0)
        assert (name, opened, len(asked)) == (variant, [batch], 3)


def test_a_footprint_is_of_the_way_that_won(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Task] = []

    def child(order: Task) -> dict[str, Any]:
        asked.append(order)
        return {"peak_bytes": 2, "activation_bytes": 1, "load_seconds": 0.5}

    monkeypatch.setattr(experiment, "run_child", child)
    dense, latency = Contender("dnn", "openvino", "int8"), summarise([np.ones(2)], 1)
    won = Row("n", "dnn", dense.name, 1, 2, "one by one", latency, None, None, None, None, None)
    row = experiment._with_footprint(won, task(tmp_path, ORT, dense))
    assert (row.peak_bytes, row.activation_bytes, row.load_seconds) == (2, 1, 0.5)
    (order,) = asked
    assert (order.contenders, order.variant, order.footprint) == ([dense], "one by one", True)


def test_what_measures_memory_holds_no_engine_but_its_own() -> None:
    program = "import sys, snn_bench.worker; assert 'onnxruntime' not in sys.modules"
    path = str(Path(snn_bench.__file__).parents[1])
    subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": path}, check=True)


@pytest.mark.parametrize(
    ("threads", "expected"), [(1, [3]), (2, [2, 3]), (3, [1, 2, 3]), (9, [0, 1, 2, 3])]
)
def test_cores_before_their_halves(
    monkeypatch: pytest.MonkeyPatch, threads: int, expected: list[int]
) -> None:
    pairs = {0: "0,2", 2: "0,2", 1: "1,3", 3: "1,3"}
    monkeypatch.setattr(machine, "_siblings", lambda core: pairs[core])
    assert machine.choose_cores(threads, [0, 1, 2, 3]) == sorted(expected)


def test_the_machine_is_named() -> None:
    found = machine.this_machine()
    assert found.processor and found.cores and "onnxruntime" in found.packages
    assert found.processor in found.describe()


def test_its_family_and_caches_are_named(tmp_path: Path) -> None:
    """A virtual machine's processor has a name that fits a dozen kinds of it."""
    info = "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n"
    cpu_info = tmp_path / "proc" / "cpuinfo"
    cpu_info.parent.mkdir()
    cpu_info.write_text(f"{info}stepping\t: 3\nflags\t\t: fpu avx2\n")
    for index, cache in enumerate(("1 Data 48K", "1 Instruction 32K", "2 Unified 1024K", "3 Odd")):
        folder = tmp_path / machine.CORES / "cpu0" / "cache" / f"index{index}"
        folder.mkdir(parents=True)
        for name, value in zip(("level", "type", "size"), cache.split(), strict=False):
            (folder / name).write_text(f"{value}\n")
    found = machine.this_machine(System(tmp_path))
    assert found.processor == "AMD EPYC"
    assert found.family == "AuthenticAMD cpu family 25 model 1 stepping 3"
    assert found.caches == {"L1d": 48 << 10, "L1i": 32 << 10, "L2": 1 << 20}
    assert f"AMD EPYC ({found.family}; L1d 48 KiB, L1i 32 KiB, L2 1024 KiB), " in found.describe()
    cpu_info.write_text("processor\t: 0\n")
    found = machine.this_machine(System(tmp_path, machine="riscv64"))
    assert (found.processor, found.family, found.instruction_sets) == ("riscv64", "", ())


def test_what_is_raced_is_named_with_its_version_and_its_card(tmp_path: Path) -> None:
    """The wheel of onnxruntime for GPUs, TensorRT and the card, beside what is raced everywhere."""
    versions = {"onnxruntime_gpu": "1.31.1", "tensorrt_cu13": "10.1", "openvino": "2026.1"}
    for name, version in versions.items():
        folder = tmp_path / "packages" / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidia0").touch()
    cards = "NVIDIA H200, 580.1, 143771, 9.0, 700.00\n"
    system = System(tmp_path, lambda command: cards, packages=(tmp_path / "packages",))
    found = machine.this_machine(system)
    assert found.gpus == ("NVIDIA H200",) and ", NVIDIA H200, " in found.describe()
    known = {name.replace("_", "-"): version for name, version in versions.items()}
    assert found.packages == known
    assert facts.ALWAYS["software"]["packages"](system) == known
    unknown = replace(system, run=lambda command: "no card")
    assert machine.this_machine(unknown).gpus == ()


@pytest.mark.parametrize(
    ("board", "expected"),
    [
        ("", "Cortex-A72"),
        ("Model\t\t: Raspberry Pi 4 Model B\n", "Cortex-A72, Raspberry Pi 4 Model B"),
    ],
)
def test_a_core_of_arm_has_the_name_that_the_doctor_gives_it(
    board: str, expected: str, tmp_path: Path
) -> None:
    (tmp_path / "proc").mkdir()
    core = "CPU implementer\t: 0x41\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n"
    (tmp_path / "proc" / "cpuinfo").write_text(f"Features\t: asimd\n{core}{board}")
    system = System(tmp_path, machine="aarch64")
    found = machine.this_machine(system)
    assert found.processor == expected == processor.model(system)
    assert found.family == "0x41 CPU part 0xd08 CPU variant 0x0 CPU revision 3"
    assert found.instruction_sets == ("asimd",)


def task(folder: Path, *contenders: Contender, batch: int = 2) -> Task:
    graph = example()
    images = pictures(graph.image, 4)
    onnx_file.write(graph, folder / "model.onnx")
    np.save(folder / "images.npy", images)
    np.save(folder / "inputs.npy", twin_input(graph, images))
    return Task(
        folder=str(folder),
        models={c.name: str(folder / "model.onnx") for c in contenders},
        inputs={
            c.name: str(folder / ("images.npy" if c.kind == "snn" else "inputs.npy"))
            for c in contenders
        },
        contenders=list(contenders),
        threads=1,
        batches=[batch],
        cores=machine.choose_cores(1, sorted(os.sched_getaffinity(0))),
        protocol=Protocol(rounds=2, duration=0.01),
        sizes=[1000, 2000],
    )


ORT = Contender("snn", "onnxruntime")


def test_what_is_not_installed_is_named_with_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    found = worker.measure(task(tmp_path, ORT, Contender("dnn", "openvino", "int8")))
    assert [row["contender"]["engine"] for row in found["rows"]] == ["onnxruntime"]
    assert "iir-snn[bench]" in found["unavailable"]["dnn int8 openvino"]


def test_quiet_times_are_of_each_contender_s_own_pictures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file whose eight pictures take 1 to 8 ms, beside a network that has two."""
    file = Contender("snn", "onnxruntime", file="large.onnx")
    order, graph = task(tmp_path, ORT, file, batch=1), example()
    for contender, count in ((ORT, 2), (file, 8)):
        order.inputs[contender.name] = str(tmp_path / f"{count}.npy")
        np.save(order.inputs[contender.name], pictures(graph.image, count))
    seconds = [[np.full(8, 1e-3)], [np.arange(1, 9) / 1e3]]
    monkeypatch.setattr(worker, "race", lambda calls, protocol: seconds)
    found = worker.measure(order)
    assert [row["quiet"] for row in found["rows"]] == pytest.approx([1e-3, 4.5e-3])
    assert [row["calls_a_batch"] for row in found["rows"]] == [4, 1]
    assert found["ratios"][0]["quiet"] == pytest.approx(4.5)


def test_bandwidth_is_the_best_of_its_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = iter([1.0, 3.0, 2.0, 9.0, 8.0, 7.0])
    engine = SimpleNamespace(bandwidth=lambda size: next(speeds))
    monkeypatch.setitem(sys.modules, "snn_runtime.engines.event.library", engine)
    assert hardware.bandwidths([20, 10, 20]) == {"10": 3.0, "20": 9.0}


def test_the_peak_is_the_library_s(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SimpleNamespace(peak=lambda: ("avx2", 99.0))
    monkeypatch.setitem(sys.modules, "snn_runtime.engines.event.library", engine)
    assert hardware.peak() == Peak("avx2", 99.0)
    engine.peak = lambda: ("", 0.0)
    assert hardware.peak() == Peak("not measured: no way known here", None)


@pytest.mark.parametrize("missing", ["module", "library"])
def test_without_the_engine_there_is_no_bandwidth(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    def refuse(*_: int) -> float:
        raise DeviceError("backend_unavailable", "no compiler was here")

    engine = None if missing == "module" else SimpleNamespace(bandwidth=refuse, peak=refuse)
    monkeypatch.setitem(sys.modules, "snn_runtime.engines.event.library", engine)
    assert "not measured" in hardware.bandwidths([10])
    assert hardware.peak().multiply_adds_per_ns is None
    assert hardware.peak().instructions.startswith("not measured: ")


@pytest.mark.parametrize("contender", [ORT, Contender("dnn", "onnxruntime", "fp32")])
def test_a_child_measures_memory_of_its_own(tmp_path: Path, contender: Contender) -> None:
    ballast = np.ones(2**26)  # half a gigabyte of ours, which must not be charged to the child
    order = task(tmp_path, contender)
    if contender.kind == "dnn":
        (tmp_path / "model.onnx").write_bytes(relu_twin(example()).SerializeToString())
    found = children.run_child(Task(**{**vars(order), "footprint": True}))
    assert 2e7 < found["peak_bytes"] < ballast.nbytes
    assert found["load_seconds"] > 0
    assert 0 <= found["activation_bytes"] < found["peak_bytes"]


PEAKS = """
import mmap
from snn_bench import resident

def filled(size):
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for start in range(0, size, mmap.PAGESIZE):
        pages[start] = 1
    return pages

before = filled(2**26)  # 64 MB, which are gone when the clock starts anew
assert resident.peak_memory() >= 2**26, resident.peak_memory()
before.close()
loaded = resident.begin_peak_anew()
assert loaded is not None and resident.peak_memory() - loaded < 2**23, loaded
during = filled(2**25 + 2**20)  # 33 MB: of what was there before, pages may be given back
assert 2**25 <= resident.peak_memory() - loaded < 2**26, (resident.peak_memory(), loaded)
"""
"""Its pages are new: memory of malloc may be resident from what the process did before."""


def test_what_calls_take_is_told_from_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(Path(snn_bench.__file__).parents[1])
    subprocess.run([sys.executable, "-c", PEAKS], env={"PYTHONPATH": path}, check=True, timeout=60)
    monkeypatch.setattr(resident, "RESET", Path("/proc/self/no such file"))
    assert resident.begin_peak_anew() is None


def test_errors_of_a_child_are_raised_here(tmp_path: Path) -> None:
    order = task(tmp_path, ORT)
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match="no ONNX file"):
        children.run_child(order)


def test_a_killed_child_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = "import os; os.kill(os.getpid(), 9)"
    monkeypatch.setattr(children, "COMMAND", (sys.executable, "-c", program))
    with pytest.raises(ResourceError, match="snn onnxruntime ended with code -9"):
        children.run_child(task(tmp_path, ORT))


def test_an_interrupted_wait_ends_the_child(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = "import time; time.sleep(60)"
    monkeypatch.setattr(children, "COMMAND", (sys.executable, "-c", program))
    started: list[Any] = []
    wait = subprocess.Popen.wait

    def interrupted(self: Any, timeout: float | None = None) -> Any:
        if self not in started:
            started.append(self)
            raise KeyboardInterrupt
        return wait(self, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        children.run_child(task(tmp_path, ORT))
    assert started[0].returncode == -15


def test_tasks_survive_their_file(tmp_path: Path) -> None:
    order = task(tmp_path, ORT)
    path = tmp_path / "order.json"
    path.write_text(json.dumps(asdict(order)))
    assert worker.read_task(path) == order
