"""The spike-driven engine against the interpreter: every spike and every logit, bit for bit."""

import gc
import math
import platform
import subprocess
import sys
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from corner_graphs import CORNERS
from graphs import example, pictures, spiking_graphs
from growing import Growing
from hypothesis import given, settings
from hypothesis import strategies as st
from wide_graphs import wide_graphs

import event_build
from snn_runtime.engines.event import backend as event
from snn_runtime.engines.event import library as binding
from snn_runtime.engines.event.backend import EventBackend
from snn_runtime.engines.event.library import bandwidth, instruction_sets, peak
from snn_runtime.errors import DeviceError, ResourceError, UsageError
from snn_runtime.graph import (
    INPUT,
    Builder,
    Elementwise,
    Image,
    Population,
    SpikingGraph,
    reference,
)
from snn_runtime.graph.reference import channel_counts
from snn_runtime.machine import cores, processor
from snn_runtime.model import load
from snn_runtime.model_file import write

THREADS = (1, 2, 3)


def _missing() -> str:
    try:
        event_build.find_compiler()
    except event_build.BuildError as error:
        return str(error)
    return ""


# With a compiler here a missing engine is a failure, not a reason to skip.
needs_engine = pytest.mark.skipif(bool(_missing()), reason=_missing() or "a compiler is here")
pytestmark = needs_engine


def engines(graph: SpikingGraph, threads: tuple[int, ...] = THREADS) -> Iterator[EventBackend]:
    for name in instruction_sets():
        for count in threads:
            yield EventBackend(graph, threads=count, instruction_set=name)


def assert_same(
    engine: EventBackend, images: npt.NDArray[np.uint8], activity: reference.Activity
) -> None:
    """For the first images of those that the interpreter has seen."""
    count = len(images)
    spikes = engine.spikes(images)
    assert list(spikes) == list(activity.spikes)
    for name, bits in activity.spikes.items():
        np.testing.assert_array_equal(spikes[name], bits[:count], f"{name}, {engine.details}")
    logits = engine.run(images)
    counted, counts = engine.count(images)
    assert logits.dtype == np.float32 and counts.dtype == np.int64
    np.testing.assert_array_equal(counts, channel_counts(activity.spikes)[:count], engine.details)
    np.testing.assert_array_equal(counted.view(np.int32), logits.view(np.int32), engine.details)
    # Bit for bit, minus zero and all.
    expected = activity.logits[:count].view(np.int32)
    np.testing.assert_array_equal(logits.view(np.int32), expected, engine.details)


def test_the_library_is_that_of_the_sources() -> None:
    """A test of yesterday's engine proves nothing about today's."""
    stamp = event_build.SOURCES / event_build.STAMP
    before = stamp.read_text() if stamp.is_file() else "no library"
    event_build.build_in_place()
    assert stamp.read_text() == before, "run `make engine` before the tests"


@given(spiking_graphs())
@settings(max_examples=100)
def test_small_graphs(graph: SpikingGraph) -> None:
    images = pictures(graph.image, 4)
    activity = reference.run(graph, images)
    for engine in engines(graph):
        assert_same(engine, images, activity)


@given(wide_graphs(), st.sampled_from([(1, 2), (1, 3), (2, 7)]))
@settings(max_examples=50)
def test_wide_graphs(graph: SpikingGraph, threads: tuple[int, ...]) -> None:
    images = pictures(graph.image, 4)
    activity = reference.run(graph, images)
    for engine in engines(graph, threads):
        assert_same(engine, images, activity)


@pytest.mark.parametrize("name", CORNERS)
def test_corners(name: str) -> None:
    graph = CORNERS[name]()
    images = pictures(graph.image, 3)
    activity = reference.run(graph, images)
    for engine in engines(graph):
        assert_same(engine, images, activity)
        assert_same(engine, images[:1], activity)


@given(spiking_graphs())
@settings(max_examples=15)
def test_batches_of_any_size_one_after_the_other(graph: SpikingGraph) -> None:
    """Nothing of one batch may stay for the next, and no image may see its neighbour."""
    images = pictures(graph.image, 17)
    activity = reference.run(graph, images)
    for engine in engines(graph):
        for count in (5, 0, 17, 1, 3, 2, 17):
            assert_same(engine, images[:count], activity)


@pytest.mark.parametrize("shift", [-1, 0])
def test_currents_right_at_the_threshold(shift: int) -> None:
    """The integer just below θ stays silent and the one just above fires, in every layer."""
    grown = Growing(5, 6)
    for name, source, out in [("a", INPUT, 65), ("b", "a", 130), ("c", "b", 3)]:
        grown.convolve(name, source, out, (3, 3), padding=(1, 1))
        node = grown.nodes[-1]
        assert isinstance(node, Population)
        current = node.compute(grown.sent)
        node.threshold[:] = current[0, :, 0, 0] + shift + 0.5
        grown.sent[name] = node.send(current)
        assert (grown.sent[name][0, :, 0, 0] == (shift < 0)).all()
    graph, images = grown.graph(), pictures(grown.image, 4)
    activity = reference.run(graph, images)
    for engine in engines(graph):
        assert_same(engine, images, activity)


def test_images_in_any_memory_order() -> None:
    graph = example()
    images = pictures(graph.image, 8)
    for engine in engines(graph):
        expected = engine.run(images)
        np.testing.assert_array_equal(engine.run(np.asfortranarray(images)[::-1]), expected[::-1])
        np.testing.assert_array_equal(engine.run(images[::3]), expected[::3])
        spikes, some = engine.spikes(images), engine.spikes(images[1::2])
        for name, bits in some.items():
            np.testing.assert_array_equal(bits, spikes[name][1::2])


def test_an_empty_batch() -> None:
    engine = EventBackend(example())
    assert engine.run(pictures(example().image, 0)).shape == (0, 3)
    shapes = {
        name: bits.shape for name, bits in engine.spikes(pictures(example().image, 0)).items()
    }
    assert shapes["conv3"] == (0, 6, 4, 4)
    assert shapes["fc2"] == (0, 5)


def test_spikes_come_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = example()
    images = pictures(graph.image, 7)
    monkeypatch.setattr(event, "SPIKE_BYTES", 2 * 700)  # of 621 neurons
    assert_same(EventBackend(graph), images, reference.run(graph, images))


def test_callers_in_several_threads() -> None:
    """On one engine and on several at once."""
    graph = example()
    images = pictures(graph.image, 64)
    expected = reference.run(graph, images).logits
    shared = EventBackend(graph, threads=2)

    def call(number: int) -> bool:
        engine = shared if number % 3 else EventBackend(graph, threads=1 + number % 4)
        first, count = number % 50, 1 + number % 13
        got = engine.run(images[first : first + count])
        return np.array_equal(got, expected[first : first + count])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(200)))


def test_a_forked_process_has_an_engine_of_its_own() -> None:
    program = """
import os, sys, warnings
import numpy as np
from graphs import example, pictures
from snn_runtime.graph import reference
from snn_runtime.engines.event.backend import EventBackend
warnings.simplefilter("ignore")
graph = example()
images = pictures(graph.image, 9)
expected = reference.run(graph, images).logits
engine = EventBackend(graph, threads=3)
assert (engine.run(images) == expected).all()
child = os.fork()
right = (engine.run(images) == expected).all()
if child == 0:
    os._exit(0 if right else 1)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status) or (0 if right else 1))
"""
    tests = Path(__file__).parents[3]
    path = f"{tests}:{Path(event.__file__).parents[3]}"
    subprocess.run(
        [sys.executable, "-c", program], check=True, env={"PYTHONPATH": path}, timeout=60
    )


def test_what_runs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in instruction_sets():
        engine = EventBackend(example(), threads=2, instruction_set=name)
        assert (engine.name, engine.instruction_set, engine.threads) == ("event", name, 2)
        assert engine.details == f"{name}, 2 threads"
        monkeypatch.setenv("SNN_EVENT_ISA", name)
        assert EventBackend(example(), threads=1).details == f"{name}, 1 thread"
    monkeypatch.delenv("SNN_EVENT_ISA")
    assert EventBackend(example()).instruction_set == instruction_sets()[0]
    assert bandwidth(2**14) > 0.1


def test_the_peak_is_of_instructions_that_are_here() -> None:
    """Of the ways to multiply bytes that this processor has, the one that does most."""
    name, rate = peak()
    known = {
        "x86_64": ("avx512vnni", "avx512", "avxvnni", "avx2"),
        "aarch64": ("i8mm", "dotprod", "neon"),
    }.get(platform.machine(), ())
    flags = processor.flags()
    written = {"avxvnni": "avx_vnni", "avx512vnni": "avx512_vnni", "avx512": "avx512bw",
               "dotprod": "asimddp", "neon": "asimd"}  # fmt: skip
    here = [way for way in known if written.get(way, way) in flags]
    assert name in here if here else name == ""
    assert rate > 0 if here else rate == 0


def test_an_instruction_set_is_obeyed_or_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = ", ".join(instruction_sets())
    with pytest.raises(UsageError, match=f"instruction set is 'mmx', this machine runs {here}"):
        EventBackend(example(), instruction_set="mmx")
    monkeypatch.setenv("SNN_EVENT_ISA", "sse9")
    write(example(), tmp_path / "model.onnx")
    for backend in ("event", "auto"):  # `auto` too: a demand is not met by another engine
        with pytest.raises(UsageError, match=f"SNN_EVENT_ISA is 'sse9', this machine runs {here}"):
            load(tmp_path / "model.onnx", backend=backend)


def test_floats_go_to_another_engine(tmp_path: Path) -> None:
    write(example(exact=False), tmp_path / "model.onnx")
    with pytest.raises(DeviceError, match="event takes int8 weights and this network has float32"):
        load(tmp_path / "model.onnx", backend="event")
    assert load(tmp_path / "model.onnx").backend.name == "onnxruntime"


def test_auto_is_the_event_engine(tmp_path: Path) -> None:
    write(example(), tmp_path / "model.onnx")
    model = load(tmp_path / "model.onnx", threads=2)
    assert model.engine == f"event, {instruction_sets()[0]}, 2 threads"
    model.self_test()
    load(tmp_path / "model.onnx", backend="event").self_test()


@pytest.mark.parametrize(
    ("side", "kernel"), [(224, 0), (160, 160), (602, 600)], ids=["dense", "whole", "nine"]
)
def test_the_weights_bound_a_current_and_not_their_number(side: int, kernel: int) -> None:
    """Most read nothing; of the last one the patches of all nine positions are much memory."""
    shape = (3, 3, kernel, kernel) if kernel else (3, 3 * side * side)
    rng = np.random.default_rng(0)
    weight = rng.choice(np.array([-2, 0, 1], np.int8), shape, p=[0.01, 0.98, 0.01])
    net = Builder(Image(side, side, (127, 128, 120)))
    net.neurons("c", weight, np.full(3, 100.5, np.float32))
    numbers = np.ones(2, np.float32)
    out = math.prod(net.shape)
    graph = net.graph(np.ones((2, out), np.int8), numbers, numbers, ["a", "b"])
    images = pictures(graph.image, 2)
    activity = reference.run(graph, images)
    for engine in engines(graph, (2,)):
        assert_same(engine, images, activity)


def test_threads_are_those_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their scratch memory has a limit: of counts beyond what a network of use has, few fit."""
    net = Builder(Image(1, 1, (0, 0, 0)))
    net.neurons("on", np.zeros((64, 3, 1, 1), np.int8), np.full(64, -0.5, np.float32))
    for number in range(17):
        net.add(Elementwise(f"d{number}", "add", net.last, net.last))
    net.neurons("c", np.eye(64, dtype=np.int8), np.full(64, 0.5, np.float32))
    numbers = np.ones(2, np.float32)
    graph = net.graph(np.ones((2, 64), np.int8), numbers, numbers, ["a", "b"])
    monkeypatch.setattr(cores, "usable", lambda: 64)
    before = len(list(Path("/proc/self/task").iterdir()))
    engine = EventBackend(graph)
    made = len(list(Path("/proc/self/task").iterdir())) - before + 1
    assert 1 < made < 64
    assert engine.threads == made and engine.details.endswith(f", {made} threads")
    with pytest.raises(UsageError, match=f"threads is 64, .* {made} for .*: name {made} or fewer"):
        EventBackend(graph, threads=64)
    assert EventBackend(graph, threads=made).threads == made


def test_a_call_holds_its_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = EventBackend(example())
    gone = weakref.ref(engine._engine)
    held: list[bool] = []

    def run(*_: object) -> int:
        engine._forked()
        gc.collect()
        held.append(gone() is not None)
        return 0

    slow = Library(snn_event_run=run)
    monkeypatch.setattr(event, "library", lambda: slow)
    engine.run(pictures(example().image, 4))
    assert held == [True] and gone() is None


def test_a_network_it_does_not_take(tmp_path: Path) -> None:
    grown = Growing(1, 1)
    grown.convolve("a", INPUT, 65_536)
    refusal = "backend event refuses the network: a: has no channels or more than 65535"
    with pytest.raises(DeviceError, match=refusal) as caught:
        EventBackend(grown.graph())
    assert caught.value.code == "backend_failed"
    write(grown.graph(), tmp_path / "model.onnx")
    assert load(tmp_path / "model.onnx").backend.name == "onnxruntime"


def test_a_readout_that_it_does_not_take() -> None:
    net = Builder(Image(4096, 1, (0, 0, 0)))
    thresholds = np.full(1, 0.5, np.float32)
    net.neurons("tall", np.zeros((1, 3, 61_500, 1), np.int8), thresholds, padding=(61_499, 0))
    net.neurons("b", np.zeros((1, 1, 1, 1), np.int8), thresholds)
    one = np.ones(1, np.float32)
    graph = net.graph(np.ones((1, net.shape[1]), np.int8), one, one, ["a"])
    refusal = "readout: a kernel .one that reads all: its source., stride or number of groups is"
    with pytest.raises(DeviceError, match=refusal):
        EventBackend(graph)


class Library:
    """The real one, but for the functions named."""

    def __init__(self, **other: object) -> None:
        self._real = binding.library()
        self.__dict__.update(other)

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


def test_memory_that_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = EventBackend(example())
    short = Library(snn_event_run=lambda *_: 1)
    monkeypatch.setattr(event, "library", lambda: short)
    with pytest.raises(ResourceError, match="ran out of memory on a batch of 4"):
        engine.run(pictures(example().image, 4))


def test_memory_that_runs_out_while_it_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    short = Library(snn_event_create=lambda *_: None)
    monkeypatch.setattr(event, "library", lambda: short)
    with pytest.raises(ResourceError, match="ran out of memory when it opened") as caught:
        EventBackend(example())
    assert caught.value.code == "out_of_memory"


@pytest.fixture
def installation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Where this installation's library would be, and is not."""
    monkeypatch.setattr(binding, "LIBRARY", tmp_path / "libsnn_event.so")
    binding.library.cache_clear()
    yield tmp_path / "libsnn_event.so"
    binding.library.cache_clear()


def test_an_installation_without_the_engine(installation: Path, tmp_path: Path) -> None:
    write(example(), tmp_path / "model.onnx")
    with pytest.raises(DeviceError, match="without it: no C.. compiler, one that failed, or"):
        load(tmp_path / "model.onnx", backend="event")
    assert load(tmp_path / "model.onnx").backend.name == "onnxruntime"


def test_a_library_that_does_not_belong_here(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.write_bytes(b"no library")
    with pytest.raises(DeviceError, match="its library does not load: .*libsnn_event.so"):
        EventBackend(example())
    installation.write_bytes((event_build.SOURCES / event_build.LIBRARY).read_bytes())
    refusal = f"has interface {binding.ABI}, this package expects 77; reinstall"
    monkeypatch.setattr(binding, "ABI", 77)
    with pytest.raises(DeviceError, match=refusal):
        EventBackend(example())
