"""Races of files: what is known of them, the frontiers, and the ratio at equal accuracy."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from graphs import example
from hypothesis import given
from hypothesis import strategies as st
from pages import run

from snn_bench import cli, contenders, plot
from snn_bench.frontier import Point, advantages, around, frontier
from snn_bench.opponents import read_opponent, spiking
from snn_bench.results import Network, Peak, Report, Row
from snn_bench.timing import Latency
from snn_runtime import model_file
from snn_runtime.errors import ModelError

QUICK = ["--rounds", "2", "--duration", "0.02", "--warm-up", "1", "--backends", "onnxruntime"]
TINY = """train-snn --data digits --network vgg5 --timesteps 1 --epochs 1,1 --rate-limits 0,1
--largest-drop 1 --threads 1 --batch-size 64"""


def point(name: str, accuracy: float, milliseconds: float) -> Point:
    return Point(name, f"dnn x {name}", accuracy, milliseconds)


def race(*networks: tuple[Literal["snn", "dnn"], str, float | None, float]) -> Report:
    """A report of (kind, name, accuracy, milliseconds of the median), one engine and a slow one."""
    known, rows = [], []
    for kind, name, accuracy, milliseconds in networks:
        known.append(Network(name, kind, accuracy, 100, None))
        for slower in (3.0, 1.0):
            median = slower * milliseconds / 1e3
            latency = Latency(median, median, median, median / 2 / slower, median, 160, 10.0)
            contender = f"{kind} engine{slower} {name}"
            rows.append(Row(name, kind, contender, 1, 1, "", latency, None, None, None, None, None))
    peak = Peak("avx2", 100.0)
    return Report(
        networks[0][1], known, None, {"a": 0.1}, 1, 1, 16, {1: [0]}, peak, [], {}, None, rows,
        [], [], {},
    )  # fmt: skip


def test_a_frontier_leaves_out_what_another_beats() -> None:
    a, b, c = point("a", 0.7, 1.0), point("b", 0.8, 2.0), point("c", 0.9, 8.0)
    beaten = [point("slow", 0.8, 3.0), point("both", 0.75, 2.5), point("same", 0.7, 1.5)]
    assert frontier([c, *beaten, a, b]) == [a, b, c]
    assert around([a, b, c], 0.85) == [b, c] and around([a, b, c], 0.8) == [b]
    assert around([a, b, c], 0.69) == around([a, b, c], 0.91) == []


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(1e-3, 1e3)), min_size=1))
def test_nothing_beats_a_frontier(numbers: list[tuple[float, float]]) -> None:
    points = [point(str(i), *each) for i, each in enumerate(numbers)]
    edge = frontier(points)
    for each in points:
        assert any(
            p.accuracy >= each.accuracy and p.milliseconds <= each.milliseconds for p in edge
        )
    for low, high in zip(edge, edge[1:], strict=False):
        assert low.accuracy < high.accuracy and low.milliseconds < high.milliseconds


def test_the_ratio_at_equal_accuracy_is_interpolated() -> None:
    """Half-way in accuracy between 1 and 4 ms lie 2 ms, its logarithm being half-way."""
    found = advantages(
        race(
            ("snn", "ours", 0.85, 0.5),
            ("dnn", "small", 0.8, 1.0),
            ("dnn", "large", 0.9, 4.0),
            ("dnn", "poor", 0.8, 2.0),
            ("dnn", "unknown", None, 0.1),
            ("snn", "alike", 0.9, 2.0),
            ("snn", "better", 0.95, 1.0),
            ("snn", "worse", 0.7, 1.0),
        )
    )
    assert [item.network for item in found] == ["ours", "alike", "better", "worse"]
    ours, alike, better, worse = found
    assert ours.contender == "snn engine1.0 ours" and ours.between == ["small", "large"]
    assert ours.ratio == pytest.approx(4.0) and ours.quiet == pytest.approx(4.0)
    assert (alike.between, alike.ratio) == (["large"], 2.0)
    for outside in (better, worse):
        assert (outside.between, outside.ratio, outside.quiet) == ([], None, None)


def test_quiet_times_have_a_frontier_of_their_own() -> None:
    """`late` is on the frontier of the medians only: undisturbed, `large` is faster than it."""
    report = race(
        ("snn", "ours", 0.85, 0.5),
        ("dnn", "small", 0.8, 1.0),
        ("dnn", "late", 0.85, 2.0),
        ("dnn", "large", 0.9, 4.0),
    )
    quiet = {"ours": 0.25e-3, "small": 0.5e-3, "late": 1.1e-3, "large": 1e-3}
    rows = [
        replace(row, latency=replace(row.latency, quiet=quiet[row.network])) for row in report.rows
    ]
    (ours,) = advantages(replace(report, rows=rows))
    assert (ours.between, ours.ratio) == (["late"], 4.0)
    assert ours.quiet == pytest.approx((0.5 * 1.0) ** 0.5 / 0.25)  # between small and large


def test_without_a_dense_file_of_known_accuracy_nothing_is_said() -> None:
    assert advantages(race(("snn", "ours", 0.85, 0.5), ("dnn", "small", None, 1.0))) == []


def test_what_is_known_of_a_file(tmp_path: Path) -> None:
    graph = example()
    assert spiking("m", graph) == Network("m", "snn", None, None, None)
    provenance = json.dumps({"accuracy": 0.5, "test_images": 7})
    assert spiking("m", replace(graph, provenance=provenance)).accuracy == 0.5
    odd = json.dumps({"accuracy": "much", "test_images": 7})
    assert spiking("m", replace(graph, provenance=odd)).accuracy is None
    path = tmp_path / "m.onnx"
    model_file.write(graph, path)
    opponent = read_opponent(path, None)
    assert opponent.inputs.shape == (16, graph.image.height, graph.image.width, 3)
    with pytest.raises(ModelError, match=r"missing\.onnx: no such file"):
        read_opponent(tmp_path / "missing.onnx", None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks that saw the digits once: their ANNs in INT8, and at T = 1."""
    folder = tmp_path_factory.mktemp("trained")
    for name, width in (("narrow", 0.05), ("wide", 0.2)):
        run(f"{TINY} --width {width} --out {folder}/{name}")
        run(f"export-snn {folder}/{name}/t1.pt {folder}/{name}.onnx --data digits")
        run(f"export-snn --dense {folder}/{name}/ann.pt {folder}/{name}-dense.onnx")
    return folder


def test_trained_files_are_raced(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    files = {name: str(trained / f"{name}.onnx") for name in ("wide", "narrow")}
    dense = [str(trained / f"{name}-dense.onnx") for name in ("narrow", "wide")]
    line = ["--model", files["wide"], "--against", "dnn", files["narrow"], *dense]
    line += ["--plot", str(trained / "frontier.png"), "--format", "json", "--no-memory"]
    assert cli.run(cli.parse_args([*QUICK, *line])) == 0
    (found,) = json.loads(capsys.readouterr().out)["reports"]
    networks = {each["name"]: each for each in found["networks"]}
    assert list(networks) == [*files.values(), *dense]
    assert all(0.1 < each["accuracy"] < 1 for each in networks.values())
    assert {each["test_images"] for each in networks.values()} == {364}
    rows = {row["contender"]: row for row in found["rows"]}
    twins = {contender.name for contender in contenders.twins()}
    raced = {f"dnn {engine} {file}" for engine in contenders.int8_engines() for file in dense}
    assert rows.keys() == {"snn onnxruntime", f"snn onnxruntime {files['narrow']}"} | twins | raced
    for name in raced:
        assert rows[name]["network"] == name.split()[2] and 0 < rows[name]["peak_share"] < 1
    best = [item["against"] for item in found["comparisons"] if item["best_of_file"]]
    assert sorted(name.split()[2] for name in best) == sorted([files["narrow"], *dense])
    edge = {networks[name]["accuracy"] for name in dense}
    for item in found["equal_accuracy"]:
        inside = min(edge) <= item["accuracy"] <= max(edge)
        assert item["ratio"] is None or (inside and math.isfinite(item["ratio"]))
    assert [item["network"] for item in found["equal_accuracy"]] == list(files.values())
    assert (trained / "frontier.png").read_bytes().startswith(b"\x89PNG")


def test_files_of_another_size_have_pictures_of_it(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model_file.write(example(), tmp_path / "other.onnx")
    dense = str(trained / "wide-dense.onnx")
    line = ["--model", str(tmp_path / "other.onnx"), "--against", dense, "--no-memory"]
    assert cli.run(cli.parse_args([*QUICK, *line, "--batch", "2"])) == 0
    assert f"  dnn onnxruntime {dense}  " in capsys.readouterr().out


def test_frontiers_are_drawn_from_what_is_known(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = race(("snn", "ours", 0.85, 0.5), ("dnn", "small", 0.8, 1.0), ("dnn", "odd", None, 1))
    plot.draw([found], tmp_path / "frontier.svg", "a machine")
    text = (tmp_path / "frontier.svg").read_text()
    assert "<!-- small -->" in text and "<!-- ours -->" in text and "<!-- odd -->" not in text
    plot.draw([race(("snn", "m\udcff", 0.85, 0.5))], tmp_path / "odd.svg", "a machine")
    assert "<!-- m\\udcff -->" in (tmp_path / "odd.svg").read_text()
