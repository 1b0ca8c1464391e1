"""Operations against a count tap by tap, meters against trees of files, and what is printed.

The trees of RAPL and INA3221 and the answers of nvidia-smi were not recorded: they were put
together from public documentation. What they prove is that such files and texts are understood.
"""

import csv
import io
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from graphs import example, pictures, spiking_graphs
from hypothesis import given, settings

from snn_bench import cli, experiment, joules, metering, worker
from snn_bench.energy import COSTS, Operations, count, estimate, price
from snn_bench.joules import Meter, Rapl, Sampled, Zone, find, rails, rapl
from snn_bench.metering import ROUNDS, spend
from snn_bench.propagation import propagate
from snn_bench.topology import Design, build
from snn_bench.twin import is_identity
from snn_runtime import model_file as onnx_file
from snn_runtime.graph import INPUT, Node, Pool, Population, Projection, SpikingGraph
from snn_runtime.machine.system import System, Unknown
from snn_train.layout import plan

Values = npt.NDArray[np.float32]


def taps(
    projection: Projection, sent: Values, shape: Sequence[int]
) -> Iterator[tuple[int, float, int]]:
    """(weights, sum of the values they meet, weights that meet padding) at every output and tap."""
    weight = projection.weight
    if weight.ndim == 2:
        yield weight.size * len(sent), float(sent.sum()) * len(weight), 0
        return
    out, inputs, height, width = weight.shape
    share = out // projection.groups
    for group in range(projection.groups):
        part = sent[:, group * inputs : (group + 1) * inputs]
        for row, column, y, x in np.ndindex(*shape[1:], height, width):
            at = (
                row * projection.stride[0] + y - projection.padding[0],
                column * projection.stride[1] + x - projection.padding[1],
            )
            weights = share * inputs * len(sent)
            inside = 0 <= at[0] < sent.shape[2] and 0 <= at[1] < sent.shape[3]
            met = float(part[:, :, at[0], at[1]].sum()) if inside else 0.0
            yield weights, met * share, 0 if inside else weights


def by_hand(graph: SpikingGraph, node: Population, sent: dict[str, Values]) -> list[float]:
    """MACs, additions and padding of the SNN, then of the DNN, for all pictures."""
    snn, dnn = np.zeros(3), np.zeros(3)
    for projection in node.projections:
        found = taps(projection, sent[projection.source], graph.shapes[node.name])
        weights, met, padding = np.array(list(found)).sum(axis=0)
        pixels = projection.source == INPUT
        snn += (weights, 0, padding) if pixels else (0, met, 0)
        dnn += (0, weights, 0) if is_identity(projection) else (weights, 0, padding)
    return [*snn, *dnn]


def pooled_by_hand(node: Pool, sent: Values) -> list[float]:
    added = places = 0.0
    for row, column in np.ndindex(*(side // node.kernel for side in sent.shape[2:])):
        window = sent[:, :, row * node.kernel :, column * node.kernel :]
        window = window[:, :, : node.kernel, : node.kernel]
        added, places = added + float(window.sum()), places + window.size
    return [0, added, 0, 0, places, 0] if node.kind == "sum" else [0] * 6


def flat(snn: Operations, dnn: Operations) -> list[float]:
    return [v for side in (snn, dnn) for v in (side.macs, side.additions, side.padding)]


@given(spiking_graphs())
@settings(max_examples=30)
def test_operations_are_those_of_a_count_tap_by_tap(graph: SpikingGraph) -> None:
    images = pictures(graph.image, 3)
    sent = {INPUT: np.zeros((3, *graph.shapes[INPUT]), np.float32)}
    sent |= {node.name: values for node, values in propagate(graph, images)}
    *layers, readout = count(graph, images)
    for node, layer in zip(graph.nodes, layers, strict=True):
        if isinstance(node, Pool):
            expected = pooled_by_hand(node, sent[node.source])
        elif isinstance(node, Population):
            expected = by_hand(graph, node, sent)
        else:
            added = float(sum(sent[source].sum() for source in node.sources))
            values = 2 * 3 * math.prod(graph.shapes[node.name])
            expected = [0, added, 0, 0, values, 0] if node.kind == "add" else [0] * 6
        assert np.multiply(flat(layer.snn, layer.dnn), 3) == pytest.approx(expected)
    spikes = float(sent[graph.readout.source].sum()) * len(graph.labels) / 3
    assert flat(readout.snn, Operations())[:3] == pytest.approx([len(graph.labels), spikes, 0])
    assert readout.dnn == Operations(graph.readout.weight.size)


def test_comparisons_are_of_thresholds_and_of_max_pools() -> None:
    found = {layer.layer: layer.comparisons for layer in count(example(), pictures_of(example()))}
    assert found == {
        "conv1": 4 * 64,
        "conv2": 4 * 64,
        "pool2": 4 * 16 * 3,
        "conv3": 6 * 16,
        "pool3": 0,
        "fc1": 8,
        "fc2": 5,
        "readout": 0,
    }


def pictures_of(graph: SpikingGraph) -> npt.NDArray[np.uint8]:
    return pictures(graph.image, 2)


def test_silence_costs_the_first_layer_and_the_readout_s_scale() -> None:
    graph = example()
    silent = replace(graph, nodes=tuple(map(without_spikes, graph.nodes)))
    found = estimate(silent, pictures_of(graph))
    assert found.snn == Operations(4 * 64 * 27 + 3, 0, found.layers[0].dnn.padding)


def without_spikes(node: Node) -> Node:
    if not isinstance(node, Population):
        return node
    return replace(node, threshold=np.full_like(node.threshold, 1e6 + 0.5))


@pytest.mark.parametrize(
    ("design", "millions"),
    [(Design("vgg16", "average"), 338.4), (Design("resnet20"), 215.7)],
)
def test_macs_are_those_published_and_those_of_the_trainer(design: Design, millions: float) -> None:
    graph = build(design, 0.1)
    found = estimate(graph, np.zeros((1, 32, 32, 3), np.uint8))
    assert round(found.dnn.macs / 1e6, 1) == millions
    layers = plan(design.topology, 1.0, design.units, (32, 32))
    macs = sum(macs for layer in layers for _, macs in layer.costs())
    assert macs + graph.readout.weight.size == found.dnn.macs


def test_prices_are_the_published_ones() -> None:
    assert [(c.precision, c.mac, c.addition) for c in COSTS] == [
        ("fp32", 4.6, 0.9),
        ("fp16", 1.5, 0.4),
        ("int8", 0.23, 0.03),
    ]
    found = price(COSTS[0], Operations(2e6, 10e6, 1e6), Operations(100e6, 0, 20e6))
    assert (found.snn_uj, found.dnn_uj) == pytest.approx((18.2, 460))
    assert found.ratio == pytest.approx(460 / 18.2)
    assert found.ratio_unpadded == pytest.approx(368 / 13.6)


def tree(root: Path, files: dict[str, str]) -> System:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return System(root, run=no_command)


def no_command(command: Sequence[str]) -> str:
    raise Unknown(f"{command[0]} is not here")


def zone(name: str, part: str, count: int, span: int = 262143328850) -> dict[str, str]:
    folder = f"sys/class/powercap/intel-rapl:{name}"
    return {
        f"{folder}/name": part,
        f"{folder}/energy_uj": str(count),
        f"{folder}/max_energy_range_uj": str(span),
    }


SERVER = {
    **zone("0", "package-0", 5_000_000),
    **zone("0:0", "core", 1),
    **zone("0:1", "dram", 700_000, 65_712_999_613),
    **zone("1", "package-1", 262143_000000),
    **zone("2", "psys", 1),
}
ENERGY = "sys/class/powercap/intel-rapl:{}/energy_uj"


def test_rapl_adds_up_packages_and_wraps_around(tmp_path: Path) -> None:
    meter = rapl(tree(tmp_path, SERVER))
    with meter.watch() as reading:
        tree(tmp_path, {ENERGY.format("0"): "8500000", ENERGY.format("0:1"): "950000"})
        tree(tmp_path, {ENERGY.format("1"): "671150"})  # began again: 1 J later
    assert reading == pytest.approx({"package": 3.5 + 1.0, "dram": 0.25})


def test_a_counter_that_stands_still_is_no_meter(tmp_path: Path) -> None:
    with (
        pytest.raises(Unknown, match="stands still at 5000000"),
        rapl(tree(tmp_path, zone("0", "package-0", 5_000_000))).watch(),
    ):
        pass


def test_rapl_that_only_root_may_read_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_text

    def refuse(path: Path, *arguments: str) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read(path, *arguments)

    monkeypatch.setattr(Path, "read_text", refuse)
    meters, reasons = find(tree(tmp_path, SERVER))
    assert not meters
    assert reasons["RAPL"].startswith(f"/{ENERGY.format('0')}: Permission denied; ")
    assert "chmod a+r /sys/class/powercap/" in reasons["RAPL"]


def test_where_nothing_can_be_read_every_meter_says_why(tmp_path: Path) -> None:
    meters, reasons = find(tree(tmp_path, {}))
    assert not meters
    assert "no package in /sys/class/powercap/intel-rapl:*" in reasons["RAPL"]
    assert reasons["NVML"] == "nvidia-smi is not here"
    assert "only Jetson boards" in reasons["INA3221"]


def test_a_counter_that_is_no_number_says_so(tmp_path: Path) -> None:
    broken = tree(tmp_path, {**SERVER, ENERGY.format("0"): "much"})
    assert "says 'much', expected a whole number" in find(broken)[1]["RAPL"]


RAILS = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
ORIN = {
    f"{RAILS}/in1_label": "VDD_IN",
    f"{RAILS}/in1_input": "5000",
    f"{RAILS}/curr1_input": "1200",
    f"{RAILS}/in2_label": "VDD_CPU_GPU_CV",
    f"{RAILS}/in2_input": "4992",
    f"{RAILS}/curr2_input": "500",
    f"{RAILS}/in7_label": "sum of shunt voltages",
    f"{RAILS}/in7_input": "3",
}


def test_rails_of_a_jetson_are_volts_times_amperes(tmp_path: Path) -> None:
    meter = rails(tree(tmp_path, ORIN))
    assert meter.watts() == pytest.approx({"VDD_IN": 6.0, "VDD_CPU_GPU_CV": 2.496})
    start = time.perf_counter()
    with replace(meter, settle=0.01, period=0.01).watch() as reading:
        time.sleep(0.05)
    seconds = time.perf_counter() - start
    assert 6 * 0.05 <= reading["VDD_IN"] <= 6 * seconds
    assert reading["VDD_CPU_GPU_CV"] / reading["VDD_IN"] == pytest.approx(2.496 / 6)


def test_a_rail_that_goes_away_is_noticed(tmp_path: Path) -> None:
    meter, noticed = rails(tree(tmp_path, ORIN)), Event()

    def watts() -> dict[str, float]:
        try:
            return meter.watts()
        except Unknown:
            noticed.set()
            raise

    often = replace(meter, watts=watts, settle=0.0, period=0.01)
    with pytest.raises(Unknown, match="there is no /sys.*/curr2_input"), often.watch():
        (tmp_path / RAILS / "curr2_input").unlink()
        assert noticed.wait(60)


def answering(text: str) -> Callable[[Sequence[str]], str]:
    def run(command: Sequence[str]) -> str:
        assert command[0] == "nvidia-smi" and "--query-gpu=index,power.draw" in command
        return text

    return run


def test_cards_are_asked_for_their_power() -> None:
    meter = joules.cards(System(run=answering("0, 68.21\n1, 310.00\n")))
    assert meter.watts() == {"GPU 0": 68.21, "GPU 1": 310.0}
    assert meter.least > meter.settle >= 1  # newer cards give the mean over a second


@pytest.mark.parametrize(
    ("text", "said"),
    [("0, [N/A]\n", "gives '0, [N/A]' as"), ("\n", "lists no card"), ("power!", "gives 'power!'")],
)
def test_cards_that_tell_no_power(text: str, said: str) -> None:
    with pytest.raises(Unknown, match=said.replace("[", r"\[")):
        joules.cards(System(run=answering(text)))


def test_the_mean_power_leaves_out_what_it_settles_from() -> None:
    start = time.perf_counter()

    def watts() -> dict[str, float]:
        return {"rail": 2.0 if time.perf_counter() - start > 0.02 else 1e6}

    with Sampled("fake", watts, least=0.0, period=0.005, settle=0.03).watch() as reading:
        time.sleep(0.05)
    assert 2 * 0.05 <= reading["rail"] < 1e3


@dataclass
class Clock:
    """Time that passes only by sleeping and working, and a meter of what that costs."""

    now: float = 0.0
    spent: float = 0.0
    name: str = "fake"
    least: float = 0.4
    order: list[str] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    """Batches of the contender `a`."""

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pass_by(seconds, 10)

    def pass_by(self, seconds: float, watts: float) -> None:
        self.now += seconds
        self.spent += seconds * watts

    def works(self, name: str, seconds: float, watts: float) -> Callable[[int], None]:
        def call(number: int) -> None:
            if self.order[-1:] != [name]:
                self.order.append(name)
            if name == "a":
                self.asked.append(number)
            self.pass_by(seconds, watts)

        return call

    @contextmanager
    def watch(self) -> Iterator[dict[str, float]]:
        before, reading = self.spent, dict[str, float]()
        yield reading
        reading["package"] = self.spent - before


def test_joules_a_picture_whole_and_above_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(metering, "time", clock)
    calls = {"a": clock.works("a", 0.25, 30), "b": clock.works("b", 0.125, 50)}
    a, b = spend(clock, calls, duration=3.0, threads=2, batch=4)
    assert (a.contender, a.threads, a.batch, a.meter, a.part) == ("a", 2, 4, "fake", "package")
    assert a.pictures == ROUNDS * 4 * 4 and b.pictures == ROUNDS * 8 * 4
    assert (a.watts, b.watts, a.idle_watts) == pytest.approx((30, 50, 10))
    assert (a.joules, a.joules_min, a.joules_max) == pytest.approx((30 * 0.25 / 4,) * 3)
    assert (a.above_idle, b.above_idle) == pytest.approx((20 * 0.25 / 4, 40 * 0.125 / 4))
    assert clock.order == ["a", "b", "a", "b"]  # a b, b a, a b
    assert clock.asked == [-1, 0, 1, 2, 3, 3, 4, 5, 6, 7, 7, 8, 9, 10, 11]  # three turns of four
    assert spend(clock, calls, 0.001, 1, 1)[0].pictures == ROUNDS * 2  # the meter wants 0.4 s


QUICK = ["--rounds", "2", "--duration", "0.02", "--warm-up", "1", "--backends", "onnxruntime"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("energy") / "example.onnx"
    onnx_file.write(example(), path)
    return path


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    flags = [*QUICK, "--energy", "--no-memory", *arguments]
    assert cli.run(cli.parse_args(flags)) == 0
    return capsys.readouterr().out


def test_the_command_says_what_is_not_measured(
    capsys: pytest.CaptureFixture[str], model: Path
) -> None:
    """Through the real child, on whatever machine this is."""
    out = bench(capsys, "--model", str(model))
    lines = out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("energy, an estimate"))
    assert "45 nm, M. Horowitz, ISSCC 2014" in lines[start]
    rows = [line.split() for line in lines[start + 3 : start + 6]]
    assert [row[:3] for row in rows] == [
        ["fp32", "4.6", "0.9"],
        ["fp16", "1.5", "0.4"],
        ["int8", "0.23", "0.03"],
    ]
    assert "not in it: moving weights, spikes and pictures" in out
    meters, reasons = find(System())
    for name, reason in reasons.items():
        assert f"{name}: not measured: {reason}" in lines
    assert ("energy, measured: not measured" in lines) == (not meters)


@pytest.fixture
def fake_meters(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, with one meter that works and one that fails while it is read."""

    def watts() -> dict[str, float]:
        return {"VDD_IN": 6.0, "VDD_SOC": 1.5}

    broken = Rapl(System(Path("/nowhere")), (Zone("package", "gone", 10),))
    meters: list[Meter] = [Sampled("INA3221", watts, 0.02, 0.005, 0.0), broken]
    monkeypatch.setattr(worker, "find", lambda system: (list(meters), {"NVML": "no card"}))
    monkeypatch.setattr(experiment, "run_child", worker.measure)


@pytest.mark.usefixtures("fake_meters")
def test_joules_stand_beside_the_estimate(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    lines = bench(capsys, "--model", str(model), "--batch", "1,2").splitlines()
    measured = [line.split() for line in lines if "snn onnxruntime  INA3221" in line]
    assert [row[:2] + row[4:6] for row in measured] == [
        [batch, size, "INA3221", rail]
        for batch, size in (("1", "1"), ("1", "2"))
        for rail in ("VDD_IN", "VDD_SOC")
    ]
    for row, watts in zip(measured, [6, 1.5] * 2, strict=True):
        assert float(row[6]) > 0
        assert [float(cell) for cell in row[-2:]] == pytest.approx([watts] * 2, rel=0.05)
    assert "NVML: not measured: no card" in lines
    assert "RAPL: not measured: there is no /gone" in lines


@pytest.mark.usefixtures("fake_meters")
def test_energy_in_json_and_csv_of_synthetic_networks(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--topology", "vgg16", "--width", "0.05", "--rates", "10,30"]
    reports = json.loads(bench(capsys, *flags, "--format", "json"))["reports"]
    ratios = [[row["ratio"] for row in r["energy"]["estimate"]["priced"]] for r in reports]
    assert all(fewer > more for fewer, more in zip(*ratios, strict=True))
    first: dict[str, Any] = reports[0]["energy"]
    assert first["unmeasured"]["NVML"] == "no card" and len(first["measured"]) == 2
    assert first["estimate"]["layers"][0]["layer"] == "conv1"
    rows = list(csv.DictReader(io.StringIO(bench(capsys, *flags, "--format", "csv"))))
    assert len(rows) == 2 and rows[0]["measured"] == "INA3221"
    assert float(rows[0]["INA3221 VDD_IN mj"]) > 0
    assert float(rows[0]["estimate_fp32_uj"]) < float(rows[1]["estimate_fp32_uj"])


@pytest.mark.usefixtures("fake_meters")
def test_an_estimate_is_of_one_network_and_joules_of_each(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.onnx"
    onnx_file.write(example(), other)
    flags = ["--model", str(model), "--against", str(other), "--format", "csv"]
    own, file = csv.DictReader(io.StringIO(bench(capsys, *flags)))
    assert (own["network"], file["network"]) == (str(model), str(other))
    assert float(own["estimate_int8_uj"]) > 0 and file["estimate_int8_uj"] == ""
    assert float(own["INA3221 VDD_IN mj"]) > 0 and float(file["INA3221 VDD_IN mj"]) > 0


def test_csv_says_not_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    monkeypatch.setattr(worker, "find", lambda system: ([], {"RAPL": "none"}))
    monkeypatch.setattr(experiment, "run_child", worker.measure)
    (row,) = csv.DictReader(io.StringIO(bench(capsys, "--model", str(model), "--format", "csv")))
    assert row["measured"] == "not measured" and float(row["estimate_int8_uj"]) > 0
