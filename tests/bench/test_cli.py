"""The command `snn-bench`, end to end on small networks, and what it prints."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from bad_inputs.pictures import encoded
from graphs import example
from PIL import Image as Picture

from snn_bench import cli, contenders, experiment, flags, plot, tables, workloads
from snn_bench.contenders import Contender, checked_backend, usual_backends
from snn_bench.dense_engines import openvino
from snn_bench.limit import Traffic
from snn_bench.results import Advantage, Benchmark, Comparison, Network, Peak, Report, Row
from snn_bench.timing import Latency, Protocol, Ratio
from snn_runtime import model_file as onnx_file
from snn_runtime.errors import DeviceError, UsageError
from snn_runtime.graph import Image
from snn_runtime.machine import describe
from snn_runtime.machine.describe import this_machine
from snn_runtime.machine.system import System

SHORT = ["--rounds", "2", "--duration", "0.02", "--warm-up", "1"]
QUICK = [*SHORT, "--backends", "onnxruntime"]
TINY = ["--topology", "vgg16", "--width", "0.05"]


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    usual = SHORT if "--backends" in arguments else QUICK
    assert cli.run(cli.parse_args([*usual, *arguments])) == 0
    captured = capsys.readouterr()
    return captured.out, captured.err


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "example.onnx"
    onnx_file.write(example(), path)
    return path


def test_table_of_a_model(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    out, err = bench(capsys, "--model", str(model), "--batch", "1,3")
    lines = out.splitlines()
    assert this_machine().processor in lines[0]
    assert lines[3].startswith(f"{model}: 0.0 M parameters; spikes entering the layers ")
    (heading,) = [i for i, line in enumerate(lines) if line.startswith("threads")]
    rows = [line.split() for line in lines[heading + 1 : heading + 3]]
    assert [row[:4] for row in rows] == [
        ["1", "1", "snn", "onnxruntime"],
        ["1", "3", "snn", "onnxruntime"],
    ]
    assert "peak MB" in lines[heading] and "load s" in lines[heading]
    assert "snn-bench: " in err and "memory and load time" in err


def test_json_of_a_race_with_dense_twins(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("openvino")
    flags = ["--rates", "20", "--against", "dnn", "--no-memory", "--format", "json"]
    out, _ = bench(capsys, *TINY, *flags, "--threads", "1,2", "--batch", "2")
    found = json.loads(out)
    (report,) = found["reports"]
    assert report["network"] == "vgg16, max pooling, width 0.05" and report["rate"] == 0.2
    names = {row["contender"] for row in report["rows"]}
    twins = {contender.name for contender in contenders.twins()}
    assert names == {"snn onnxruntime"} | twins
    assert len(report["rows"]) == len(names) * 2 and not report["unavailable"]
    for row in report["rows"]:
        latency = row["latency"]
        assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"]
        assert 0 < latency["quiet"] <= latency["mean"] * (1 + 1e-9)
        assert row["images_per_s"] == pytest.approx(row["batch"] / latency["mean"])
    best = [item for item in report["comparisons"] if item["best_twin"]]
    assert len(report["comparisons"]) == 2 * len(twins) and len(best) == 2
    for item in best:
        spread = item["ratio"]
        assert spread["min"] <= spread["p10"] <= spread["median"] <= spread["p90"] <= spread["max"]
        assert item["against"] in twins
    assert found["protocol"] == {"rounds": 2, "duration": 0.02, "warm_up": 1}
    assert found["machine"]["packages"]["openvino"] and found["method"]["dnn input"]


def test_csv_of_two_rates(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--rates", "10,30", "--pooling", "average", "--hidden", "64", "--no-memory"]
    flags += ["--weight-bits", "4"]
    out, _ = bench(capsys, *TINY, *flags, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["rate"] for row in rows] == ["0.1", "0.3"]
    assert [float(row["measured_rate"]) for row in rows] == pytest.approx([0.1, 0.3], abs=0.02)
    assert {row["network"] for row in rows} == {
        "vgg16, average pooling, 3 hidden units, width 0.05, 4-bit weights"
    }
    assert float(rows[0]["p50_ms"]) > 0 and rows[0]["peak_mb"] == ""


def test_pictures_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    graph = example()
    found = workloads.pictures(graph.image, None)
    assert len(np.unique(found.reshape(len(found), -1), axis=0)) == len(found) == 256
    assert len(workloads.pictures(Image(224, 224, (0, 0, 0)), None)) == 4


def test_more_threads_than_cores_are_warned_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: Path
) -> None:
    few = replace(this_machine(), cores=1)
    monkeypatch.setattr(describe, "this_machine", lambda: few)
    _, err = bench(capsys, "--model", str(model), "--threads", "1,2", "--no-memory")
    assert "warning: --threads 2: cores here: 1" in err
    assert "--threads 1:" not in err


def test_shares_are_of_the_cores_that_there_are() -> None:
    """Eight threads on two cores: a picture has the time of two."""
    latency = asdict(Latency(2e-3, 2e-3, 2e-3, 2e-3, 2e-3, 9, 1.0))
    known = [Network("net", "snn", None, None, 8 * 10**6)]

    def row(contender: Contender) -> Row:
        who = {"contender": asdict(contender), "threads": 8, "batch": 4, "variant": ""}
        return experiment._row({**who, **latency}, known, 1e5, Peak("avx2", 100.0), 2)

    assert row(Contender("snn", "event")).limit_share == pytest.approx(0.1)
    assert row(Contender("dnn", "openvino", "int8")).peak_share == pytest.approx(0.08)
    assert row(Contender("snn", "event")).threads == 8
    crowded = replace(report(), cores={1: [7], 2: [7]}, rows=report().rows[1:2])
    assert plot.curves([crowded])["snn, physical limit"][0][1] == pytest.approx(0.4)


def test_pictures_of_a_folder(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    for index, colour in enumerate(("red", "blue", "green")):
        picture = Picture.new("RGB", (9, 9), colour)
        (tmp_path / f"{index}.png").write_bytes(encoded(picture, "PNG"))
    flags = ["--model", str(model), "--images", str(tmp_path), "--no-memory"]
    assert "on 3 pictures" in bench(capsys, *flags)[0]


def test_a_sweep_is_drawn(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "sweep.png"
    bench(capsys, *TINY, "--rates", "10,20", "--no-memory", "--plot", str(path))
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--topology", "vgg17"], "'vgg17' is none of vgg16, resnet20, vgg16-224"),
        (["--topology", "vgg16", "--rates", "0"], "'0' is not a number over 0 to 50"),
        (["--topology", "vgg16", "--rates", "5,much"], "'much' is not a number"),
        (["--topology", "vgg16", "--model", "m.onnx"], "choose one"),
        (["--rates", "5"], "--rates is for synthetic networks"),
        (["--hidden", "0"], "--hidden is for synthetic networks"),
        (["--weight-bits", "4"], "--weight-bits is for synthetic networks"),
        (["--topology", "vgg16", "--weight-bits", "5"], "choose from 8, 6, 4"),
        (["--plot", "x.png"], "add --topology"),
        (["--threads", "1,0"], "whole number from 1"),
        (["--duration", "0"], "not a number over 0"),
        (["--against", "dnn", "--plot", "x.png"], "or files to --against"),
        (["--topology", "vgg16", "--against", "a.onnx", "--plot", "x.png"], "leave out one"),
        (["--model", "./a.onnx", "--against", "b.onnx", "a.onnx"], "the file of --model"),
    ],
)
def test_flags_that_cannot_be_obeyed(arguments: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        cli.parse_args(arguments)


def test_a_file_races_once() -> None:
    args = cli.parse_args(["--against", "a.onnx", "dnn", "./a.onnx", "b.onnx", "a.onnx"])
    assert flags.files(args) == [Path("a.onnx"), Path("b.onnx")]


def test_unknown_backends_are_refused() -> None:
    with pytest.raises(UsageError, match="'cuda' is none of"):
        cli.run(cli.parse_args(["--backends", "cuda"]))


def test_a_backend_may_name_its_device(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    args = cli.parse_args(["--backends", "event,onnxruntime@cuda,tensorrt"])
    assert args.backends == ("event", "onnxruntime@cuda", "tensorrt")
    flags = ["--model", str(model), "--backends", "onnxruntime@cpu", "--no-memory"]
    assert "  snn onnxruntime@cpu  " in bench(capsys, *flags)[0]
    with pytest.raises(UsageError, match="backend event does not run on device cuda"):
        cli.run(cli.parse_args(["--backends", "event@cuda"]))
    with pytest.raises(UsageError, match="device is 'tpu', expected"):
        cli.run(cli.parse_args(["--backends", "onnxruntime@tpu"]))


def test_a_device_that_is_not_here_is_an_error_if_it_was_named(model: Path) -> None:
    """With the real onnxruntime for CPUs, through the child that measures."""
    flags = ["--model", str(model), "--backends", "onnxruntime,onnxruntime@cuda"]
    with pytest.raises(DeviceError, match="no CUDAExecutionProvider here"):
        cli.run(cli.parse_args([*SHORT, *flags]))


def test_without_a_list_a_gpu_s_backends_are_measured_where_there_is_one(tmp_path: Path) -> None:
    system = System(tmp_path)
    assert usual_backends(system) == ("event", "onnxruntime")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidia0").touch()
    gpu = ("tensorrt", "onnxruntime@cuda", "onnxruntime@tensorrt")
    assert usual_backends(system) == ("event", "onnxruntime", *gpu)
    for name in usual_backends(system):
        assert checked_backend(name) == name


def test_a_backend_asked_for_by_name_must_be_here(
    monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    from snn_bench import experiment

    found = {"unavailable": {"snn onnxruntime": "no such library"}, "rows": [], "ratios": []}
    monkeypatch.setattr(experiment, "run_child", lambda task: {**found, "bandwidth": "none"})
    with pytest.raises(DeviceError, match="no such library"):
        cli.run(cli.parse_args([*QUICK, "--model", str(model)]))


def test_what_the_extra_brings_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(DeviceError, match=r"iir-snn\[bench\]"):
        openvino()
    with pytest.raises(UsageError, match=r"iir-snn\[bench\]"):
        cli.run(cli.parse_args([*QUICK, *TINY, "--plot", "sweep.png"]))


COMMAND = [sys.executable, "-m", "snn_bench.cli"]


def test_help_has_examples_and_comes_quickly() -> None:
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "--against dnn" in done.stdout and "exit codes" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_and_its_children_and_leave_nothing(tmp_path: Path, number: int) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    arguments = [*TINY, "--duration", "600", "--rounds", "2", "--backends", "onnxruntime"]
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch)},
        # A shell starts its background jobs with SIGINT ignored, which a child would inherit.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    with process:
        assert process.stderr is not None
        for line in process.stderr:
            if "timing" in line:
                break
        deadline = time.monotonic() + 30
        while not (children := children_of(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        rest = process.stderr.read()
    assert process.returncode == 128 + number
    assert "Traceback" not in rest
    while any(map(runs, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert children and not any(map(runs, children))
    assert not list(scratch.iterdir())


def runs(pid: str) -> bool:
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def report(share: float | None = 0.5) -> Report:
    latency = Latency(2e-3, 3e-3, 4e-3, 1e-3, 2e-3, 160, 10.0)
    rows = [
        Row("net", "snn", "snn event", threads, 4, "avx512", latency, 50_000_000, 5_500_000, 0.25,
            share, None)
        for threads in (1, 2)
    ]  # fmt: skip
    twin, file = "dnn int8 openvino", "dnn openvino d.onnx"
    rows.append(Row("net", "dnn", twin, 1, 4, "one batch", latency, None, None, None, None, 0.25))
    rows.append(Row("d.onnx", "dnn", file, 1, 4, "one batch", latency, None, None, None, None, 0.5))
    ratio = Ratio(2.5, 2.0, 3.0, 1.5, 3.5, 20, 2.25)
    return Report(
        network="net",
        networks=[
            Network("net", "snn", 0.75, 1000, 10**6),
            Network("d.onnx", "dnn", 0.875, 900, 2 * 10**6),
        ],
        rate=0.1,
        rates={"a": 0.1, "b": 0.3},
        parameters=10**6,
        activation_bytes=12_800_000,
        images=16,
        cores={1: [7], 2: [6, 7]},
        peak=Peak("avx2", 100.0),
        traffic=[Traffic("a", 2e6, 100, 0)],
        bandwidth="not measured: no engine" if share is None else {100: 20.0},
        limit_ns=None if share is None else 1e5,
        rows=rows,
        comparisons=[
            Comparison("snn event", twin, True, False, 1, 4, ratio),
            Comparison("snn event", file, False, True, 1, 4, ratio),
        ],
        equal_accuracy=[
            Advantage("net", "snn event", 1, 4, 0.75, ["c.onnx", "d.onnx"], 3.0, 2.75),
            Advantage("net", "snn event", 2, 4, 0.75, [], None, None),
        ],
        unavailable={"dnn int8 onnxruntime": "gone"},
    )


def benchmark(share: float | None = 0.5) -> Benchmark:
    return Benchmark(this_machine(), Protocol(), [report(share)])


def test_a_table_says_what_follows() -> None:
    text = tables.as_table(benchmark())
    assert "2.50 x as fast as the best dense twin, dnn int8 openvino (2.00 to 3.00" in text
    assert "2.50 x as fast as dnn openvino d.onnx (2.00 to 3.00 in eight of ten rounds" in text
    assert "quiet 2.25)" in text
    assert "pinned: threads 1 on core 7; threads 2 on cores 6, 7; peak of a core with" in text
    assert "100 G multiply-adds a second (avx2)" in text
    assert "3.00 x as fast as a dense network of equal accuracy (c.onnx and d.onnx; quiet" in text
    assert "threads 2, batch 4: no ratio, beyond the accuracies of the dense networks" in text
    assert "warning: accuracies are of 900 and 1000 test pictures" in text
    assert "spikes entering the layers 20.00% (10.00% to 30.00%)" in text
    assert "2.00 MB a picture; at the measured cache bandwidth 0.100 ms" in text
    assert "values of a picture that are needed at once, in float32: 12.8 MB" in text
    assert "threads 2 1.00 x as fast as threads 1" in text
    assert "dnn int8 onnxruntime: not available: gone" in text
    row = next(line for line in text.splitlines() if "snn event" in line)
    assert row.split() == "1 4 snn event 2.000 1.000 3.000 4.000 2000.0 50 5.5 0.250 50%".split()
    row = next(line for line in text.splitlines() if "  dnn openvino d.onnx  " in line)
    assert row.split()[-2:] == ["2000.0", "50%"]


def test_quiet_times_of_few_calls_are_warned_of() -> None:
    assert "quiet times of" not in tables.as_table(benchmark())
    *others, last = report().rows
    few = replace(last, latency=replace(last.latency, calls=12, calls_a_batch=0.75))
    rare = replace(benchmark(), reports=[replace(report(), rows=[*others, few])])
    assert (
        "warning: dnn openvino d.onnx, threads 1, batch 4: 0.8 calls with each batch of pictures; "
        "quiet times of fewer than 10 are too long" in tables.as_table(rare)
    )
    *_, row = csv.DictReader(io.StringIO(tables.as_csv(rare)))
    assert (row["calls"], row["calls_a_batch"]) == ("12", "0.75")


def test_without_bandwidth_the_table_says_why() -> None:
    text = tables.as_table(benchmark(None))
    assert "cache bandwidth not measured: no engine" in text and "of limit" not in text


def test_a_ratio_without_one_of_quiet_times_is_said() -> None:
    only = Advantage("net", "snn event", 1, 4, 0.75, ["c.onnx", "d.onnx"], 3.0, None)
    text = tables.as_table(replace(benchmark(), reports=[replace(report(), equal_accuracy=[only])]))
    assert (
        "3.00 x as fast as a dense network of equal accuracy (c.onnx and d.onnx; quiet unk" in text
    )
    assert "no ratio" not in text


def test_what_a_terminal_would_obey_is_shown() -> None:
    named = replace(report(), network="m\x1b]0;owned\x07.onnx")
    text = tables.as_table(replace(benchmark(), reports=[named]))
    assert "m\\x1b]0;owned\\x07.onnx at 0.1: " in text and "\x1b" not in text


def test_csv_has_the_ratio_to_the_best_twin() -> None:
    first, *_ = csv.DictReader(io.StringIO(tables.as_csv(benchmark())))
    assert (first["against"], first["ratio"], first["ratio_p10"]) == (
        "dnn int8 openvino",
        "2.5",
        "2.0",
    )
    assert (first["p50_ms"], first["peak_mb"], first["load_s"]) == ("2.0", "50.0", "0.25")
    assert first["activation_mb"] == "5.5"
    assert (first["accuracy"], first["ratio_quiet"], first["peak_share"]) == ("0.75", "2.25", "")
    *_, twin, file = csv.DictReader(io.StringIO(tables.as_csv(benchmark())))
    assert (twin["network"], twin["rate"], twin["accuracy"]) == ("net", "0.1", "")
    assert (file["network"], file["rate"], file["accuracy"]) == ("d.onnx", "", "0.875")
    assert (file["peak_share"], file["against"]) == ("0.5", "")


def test_json_is_ascii_whatever_a_network_is_called() -> None:
    named = replace(benchmark(), reports=[replace(report(), network="m\udcff µ")])
    text = tables.as_json(named)
    assert text.isascii() and json.loads(text)["reports"][0]["network"] == "m\udcff µ"


def test_curves_are_of_the_first_setting_and_have_the_limit() -> None:
    found = plot.curves([report()])
    ((rate, milliseconds),) = found["snn event"]
    assert (rate, milliseconds) == pytest.approx((20.0, 2.0))
    assert found["snn, physical limit"][0] == pytest.approx((20.0, 0.4))


def test_a_plot_in_no_known_form_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(UsageError, match="--plot"):
        plot.draw([report()], tmp_path / "sweep.xyz", "a machine")
    assert not list(tmp_path.iterdir())
