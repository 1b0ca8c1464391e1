"""Engines built in real child processes: what kills a builder, and what it leaves behind."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from fake_gpu import FAKES, FakeGpu, golden
from graphs import example, pictures

from snn_runtime.engines.tensorrt import build as build_module
from snn_runtime.engines.tensorrt.backend import TensorRtBackend
from snn_runtime.engines.tensorrt.build import Unbuilt, build, workspace
from snn_runtime.engines.tensorrt.library import Request
from snn_runtime.engines.tensorrt.lowering import lower
from snn_runtime.errors import DeviceError
from snn_runtime.files import MARK
from snn_runtime.graph import reference

GRAPH = example()
NETWORK = lower(GRAPH, "int8")
MODEL = NETWORK.op.model(NETWORK.sums()).SerializeToString()
REQUEST = Request("int8", (8, 8), usual=1, largest=4, workspace=2**28)
PROGRAM = f"""
import sys
sys.path[:0] = [{str(FAKES)!r}, {str(FAKES.parent)!r}]
from fake_gpu import golden
from graphs import example, pictures
from snn_runtime.engines.tensorrt.backend import TensorRtBackend
graph = example()
engine = TensorRtBackend(graph, golden=golden(graph), precision="int8")
print(engine.run(pictures(graph.image, 3)).tobytes().hex())
"""


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeGpu:
    return FakeGpu(monkeypatch, tmp_path)


def program() -> "subprocess.Popen[str]":
    """A process that labels pictures; what it prints are logits."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=pipe,
        stderr=pipe,
        text=True,
        # A shell starts background jobs with SIGINT ignored, and their children inherit that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def test_an_engine_comes_through_the_pipe(gpu: FakeGpu) -> None:
    engine = build("tensorrt", 0, MODEL, REQUEST)
    facts, _, model = engine.partition(b"\n")
    assert model == MODEL and json.loads(facts)["form"] == "int8"


def test_eight_processes_build_once(gpu: FakeGpu) -> None:
    expected = reference.run(GRAPH, pictures(GRAPH.image, 3)).logits.tobytes().hex()
    crowd = [program() for _ in range(8)]
    answers = [process.communicate(timeout=120) for process in crowd]
    assert [out.strip() for out, _ in answers] == [expected] * 8, answers
    assert len(gpu.built()) == 2  # the engine and its debug engine


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("kill", "ended by SIGKILL, as when memory runs out"),
        ("segv", "ended by SIGSEGV"),
        ("none", "TensorRT 10.3 builds no engine: nothing comes to mind"),
        ("cut", "cut short"),
    ],
)
def test_builders_that_die_get_a_second_chance(
    gpu: FakeGpu, fault: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.become(fault=fault)
    with pytest.raises(Unbuilt, match=f"{why}.*, also with half the workspace"):
        build("tensorrt", 0, MODEL, REQUEST)
    assert caplog.text.count("again with half the workspace") == 1


def test_half_the_workspace_may_do(gpu: FakeGpu) -> None:
    gpu.become(fault=f"none-above:{2**27}")
    assert build("tensorrt", 0, MODEL, REQUEST)
    assert [facts["workspace"] for facts in gpu.built()] == [2**27]


def test_what_is_refused_is_not_tried_again(gpu: FakeGpu, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Unbuilt, match="does not parse the network: not ONNX"):
        build("tensorrt", 0, b"\xff", REQUEST)
    assert "again" not in caplog.text


def test_builders_that_hang_are_ended(
    gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.become(fault="hang")
    monkeypatch.setattr(build_module, "PATIENCE", 6.0)
    monkeypatch.setattr(build_module, "PROGRESS", 1.0)
    caplog.set_level(logging.INFO, "snn_runtime")
    with pytest.raises(Unbuilt, match="not done after 6 s"):
        build("tensorrt", 0, MODEL, REQUEST)
    assert caplog.messages[0] == "building the TensorRT engine, int8, 1 s"
    assert len(caplog.messages) >= 4
    assert not _alive(_hanging(gpu))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_builder_ends_with_its_parent(gpu: FakeGpu, number: signal.Signals) -> None:
    gpu.become(fault="hang")
    with program() as process:
        child = _hanging(gpu)
        process.send_signal(number)
        process.communicate(timeout=30)
    deadline = time.monotonic() + 30
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(child)
    assert not list(gpu.cache.glob("*.engine")) and not list(gpu.cache.glob(f"{MARK}*"))


def test_a_dead_builder_is_a_device_error(gpu: FakeGpu) -> None:
    gpu.become(fault="segv")
    with pytest.raises(DeviceError, match="int8: the builder was ended by SIGSEGV") as caught:
        TensorRtBackend(GRAPH, golden=golden(GRAPH), precision="int8")
    assert caught.value.exit_code == 6
    assert not list(gpu.cache.glob("*.engine"))


def test_strangers_in_the_working_folder_are_not_imported(
    gpu: FakeGpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnx.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(tmp_path)
    assert build("tensorrt", 0, MODEL, REQUEST)


def test_the_workspace_is_a_quarter_and_no_more_than_a_gigabyte() -> None:
    assert workspace(2**31) == 2**29 and workspace(2**36) == 2**30


def _hanging(gpu: FakeGpu) -> int:
    """The process that hangs in the builder, as soon as it does."""
    deadline = time.monotonic() + 60
    while not gpu.log.exists() or not gpu.log.read_text().endswith("\n"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(gpu.log.read_text().split()[-1])


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
