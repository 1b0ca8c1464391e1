"""The backend on a GPU of ordinary memory and a TensorRT that really computes."""

import copy
import gc
import importlib
import importlib.util
import os
import pickle
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_gpu import VERSIONS, FakeGpu, golden
from graphs import example, pictures

from snn_runtime import load
from snn_runtime.engines.tensorrt import choice, spec
from snn_runtime.engines.tensorrt.backend import TensorRtBackend
from snn_runtime.engines.tensorrt.device import MODULES
from snn_runtime.errors import DeviceError, ResourceError, UsageError
from snn_runtime.graph import SpikingGraph, reference
from snn_runtime.machine.wheels import install_line
from snn_runtime.model import Model
from snn_runtime.proof.golden import golden_hash, golden_images

GRAPH = example()
IMAGES = pictures(GRAPH.image, 5)
EXPECTED = reference.run(GRAPH, IMAGES)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeGpu:
    fake = FakeGpu(monkeypatch, tmp_path)
    fake.build_here()
    monkeypatch.setattr(choice, "TIMED_RUNS", 5)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # slow, and no power is cut here
    return fake


def backend(precision: str = "int8", graph: SpikingGraph = GRAPH) -> TensorRtBackend:
    return TensorRtBackend(graph, golden=golden(graph), precision=precision)


def assert_right(engine: TensorRtBackend) -> None:
    np.testing.assert_array_equal(engine.run(IMAGES), EXPECTED.logits)
    for name, bits in engine.spikes(IMAGES).items():
        np.testing.assert_array_equal(bits, EXPECTED.spikes[name], err_msg=name)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("precision", ["int8", "fp16", "fp32"])
def test_every_version_and_precision(gpu: FakeGpu, version: str, precision: str) -> None:
    """The fakes refuse what the version lacks and what it would not build rightly."""
    gpu.become(version=version)
    engine = backend(precision)
    assert_right(engine)
    short = ".".join(version.split(".")[:2])
    assert engine.details == f"{precision}, TensorRT {short}, Orin"
    assert {facts["form"] for facts in gpu.built()} == {precision}


@pytest.mark.parametrize("version", ["8.5.2", "7.1.3"])
def test_old_versions_are_named(gpu: FakeGpu, version: str) -> None:
    gpu.become(version=version)
    with pytest.raises(DeviceError, match=f"TensorRT is {version}, .* 8.6 or later"):
        backend()


@pytest.mark.parametrize(("slow", "fast"), [("int8", "fp16"), ("fp16", "int8")])
def test_auto_takes_the_fastest_and_remembers(gpu: FakeGpu, slow: str, fast: str) -> None:
    gpu.become(slow=slow)
    assert backend("auto").details.startswith(fast)
    built = len(gpu.built())
    assert built == 4  # an engine and its debug engine, twice
    gpu.become(slow=fast)
    again = backend("auto")
    assert again.details.startswith(fast) and len(gpu.built()) == built
    assert_right(again)


@pytest.mark.parametrize("wrong", ["wrong:int8", "sums:int8"])
def test_auto_passes_over_a_form_that_is_wrong(
    gpu: FakeGpu, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.become(fault=wrong, slow="fp16")
    engine = backend("auto")
    assert engine.details.startswith("fp16")
    assert_right(engine)
    said = caplog.text
    assert "TensorRT's int8: the golden images cause other" in said and said.count("\n") == 1


def test_nothing_wrong_is_kept(gpu: FakeGpu) -> None:
    gpu.become(fault="wrong:int8")
    with pytest.raises(DeviceError, match="int8: the golden images cause other spikes"):
        backend("int8")
    assert not list(gpu.cache.glob("*.engine"))


def test_nothing_right_is_an_error(gpu: FakeGpu) -> None:
    gpu.become(fault="wrong")
    with pytest.raises(DeviceError, match="int8: .*; fp16: .*; fp32: ") as caught:
        backend("auto")
    assert caught.value.exit_code == 6


def test_float32_networks(gpu: FakeGpu) -> None:
    graph = example(exact=False)
    engine = backend("auto", graph)
    assert engine.details.startswith("fp32") and len(gpu.built()) == 1
    Model(graph, golden(graph), engine).self_test()
    np.testing.assert_allclose(
        engine.run(IMAGES), reference.run(graph, IMAGES).logits, rtol=1e-4, atol=1e-4
    )
    gpu.become()
    assert len(gpu.built()) == 1 and backend("fp32", graph).details.startswith("fp32")
    for precision in ("int8", "fp16"):
        with pytest.raises(UsageError, match="float32 weights: expected fp32"):
            backend(precision, graph)


def test_a_float32_network_of_wrong_spikes_is_refused(gpu: FakeGpu) -> None:
    gpu.become(fault="wrong")
    with pytest.raises(DeviceError, match="population conv1 does not spike"):
        backend("auto", example(exact=False))


def test_the_self_test_runs_what_serves_and_what_it_watches(gpu: FakeGpu) -> None:
    engine = backend()
    Model(GRAPH, golden(GRAPH), engine).self_test()
    assert golden_hash(engine.spikes(golden_images(GRAPH.image))) == golden(GRAPH)


def test_another_golden_hash_is_another_engine(gpu: FakeGpu) -> None:
    backend()
    with pytest.raises(DeviceError, match="other spikes"):
        TensorRtBackend(GRAPH, golden="0" * 64, precision="int8")


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 21])
def test_batches_are_cut(gpu: FakeGpu, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spec, "LARGEST_BATCH", 8)
    engine = backend()
    images = pictures(GRAPH.image, count)
    expected = reference.run(GRAPH, images)
    np.testing.assert_array_equal(engine.run(images), expected.logits)
    for name, bits in engine.spikes(images).items():
        np.testing.assert_array_equal(bits, expected.spikes[name])


def test_large_pictures_come_in_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    assert spec.largest_batch(GRAPH, False) == 32
    monkeypatch.setattr(spec, "BATCH_VALUES", 256 * 3)
    assert spec.largest_batch(GRAPH, False) == 3
    monkeypatch.setattr(spec, "WATCHED_VALUES", 1)
    assert spec.largest_batch(GRAPH, True) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_sizes_that_come_again_are_replayed(gpu: FakeGpu, version: str) -> None:
    gpu.become(version=version)
    engine = backend()
    calls = gpu.cuda.calls
    calls.clear()
    launched = []
    for count in (3, 5, 3, 3, 5, 4, 4, 3):
        images = pictures(GRAPH.image, count, seed=count)
        np.testing.assert_array_equal(engine.run(images), reference.run(GRAPH, images).logits)
        launched.append(calls["cudaGraphLaunch"])
    # The third size that comes again finds no room; what is recorded goes on being replayed.
    assert launched == [0, 0, 1, 2, 3, 3, 3, 4]


def test_a_context_that_takes_no_shape_is_not_recorded(gpu: FakeGpu) -> None:
    """As in 8.6 without shared profiles."""
    engine = backend()
    contexts = importlib.import_module("tensorrt").Engine
    contexts.create_execution_context = lambda self: None
    for _ in range(3):
        np.testing.assert_array_equal(engine.run(IMAGES), EXPECTED.logits)
    assert gpu.cuda.calls["cudaGraphLaunch"] == 0


@pytest.mark.parametrize(
    "function",
    ["cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiateWithFlags"],
)
def test_what_cannot_be_recorded_runs_as_before(gpu: FakeGpu, function: str) -> None:
    engine = backend()
    gpu.cuda.faults[function] = gpu.cuda.cudaError_t.cudaErrorStreamCaptureUnsupported
    for _ in range(4):
        np.testing.assert_array_equal(engine.run(IMAGES), EXPECTED.logits)
    assert gpu.cuda.calls["cudaGraphLaunch"] == 0


def test_a_broken_gpu_stays_broken(gpu: FakeGpu) -> None:
    engine = backend()
    cuda = gpu.cuda
    cuda.faults["cudaStreamSynchronize"] = cuda.cudaError_t.cudaErrorIllegalAddress
    with pytest.raises(DeviceError, match="the GPU failed .*700.*start this program again"):
        engine.run(IMAGES)
    cuda.faults.clear()
    for attempt in (lambda: engine.run(IMAGES), lambda: engine.spikes(IMAGES)):
        with pytest.raises(DeviceError, match="start this program again") as caught:
            attempt()
        assert caught.value.code == "device_lost"


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_a_copy_is_opened_from_the_graph(gpu: FakeGpu, way: Callable[[Any], Any]) -> None:
    first = backend("fp16")
    built = len(gpu.built())
    again = way(first)
    del first
    gc.collect()
    assert_right(again)
    assert again.details == "fp16, TensorRT 10.3, Orin"
    assert len(gpu.built()) == built  # the cache has the engines


def test_the_gpu_does_not_survive_a_fork(gpu: FakeGpu) -> None:
    engine = backend()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        calls = sum(gpu.cuda.calls.values())
        for attempt in (lambda: engine.run(IMAGES), lambda: engine.spikes(IMAGES)):
            try:
                attempt()
            except DeviceError as error:
                os.write(writer, f"{error}\n".encode())
        del engine, attempt
        gc.collect()
        os.write(writer, b"%d" % (sum(gpu.cuda.calls.values()) - calls))
        os._exit(0)
    os.close(writer)
    assert os.waitpid(child, 0)[1] == 0
    refusal = "the GPU does not survive a fork: load the model after it [backend_failed]\n"
    assert os.read(reader, 1000).decode() == 2 * refusal + "0"
    os.close(reader)
    assert_right(engine)


def test_an_engine_that_does_not_start_is_a_broken_gpu(gpu: FakeGpu) -> None:
    engine = backend()
    gpu.cuda.faults["execute"] = gpu.cuda.cudaError_t.cudaErrorIllegalAddress
    with pytest.raises(DeviceError, match="TensorRT does not execute"):
        engine.run(IMAGES)


def test_memory_that_runs_out_is_another_matter(gpu: FakeGpu) -> None:
    gpu.cuda.faults["cudaMalloc"] = gpu.cuda.cudaError_t.cudaErrorMemoryAllocation
    with pytest.raises(ResourceError, match="the GPU is MemoryAllocation"):
        backend()
    gpu.cuda.faults.clear()
    assert_right(backend())


def test_memory_is_given_back(gpu: FakeGpu) -> None:
    engine = backend()
    assert_right(engine)
    engine.run(IMAGES)
    engine.run(IMAGES)
    recorded = gpu.cuda.calls["cudaGraphInstantiateWithFlags"]
    assert gpu.cuda.held and recorded
    del engine
    assert not gpu.cuda.held and gpu.cuda.calls["cudaGraphExecDestroy"] == recorded


def test_another_thread_means_the_same_gpu(gpu: FakeGpu) -> None:
    engine = TensorRtBackend(GRAPH, golden=golden(GRAPH), index=1, precision="int8")
    gpu.cuda.used.clear()
    thread = threading.Thread(target=engine.run, args=(IMAGES,))
    thread.start()
    thread.join()
    assert gpu.cuda.used == {1}


def test_any_thread_may_ask(gpu: FakeGpu) -> None:
    engine = backend()
    wrong: list[int] = []

    def ask(seed: int) -> None:
        images = pictures(GRAPH.image, 1 + seed, seed)
        for _ in range(5):
            if (engine.run(images) != reference.run(GRAPH, images).logits).any():
                wrong.append(seed)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_no_gpu_no_driver(gpu: FakeGpu) -> None:
    cuda = gpu.cuda
    cuda.count = 0
    with pytest.raises(DeviceError, match=r"finds no NVIDIA GPU \["):
        backend()
    cuda.faults["cudaGetDeviceCount"] = cuda.cudaError_t.cudaErrorInsufficientDriver
    with pytest.raises(DeviceError, match=r"no NVIDIA GPU \(InsufficientDriver, CUDA error 35\)"):
        backend()


def test_no_tensorrt_is_told_with_how_to_get_it() -> None:
    """Without the fakes: on a machine that has it, this test has nothing to say."""
    if importlib.util.find_spec("tensorrt"):
        pytest.skip("TensorRT is installed here")
    with pytest.raises(DeviceError, match="needs TensorRT .*: .*") as caught:
        load(backend="tensorrt", precision="fp16")
    assert install_line("tensorrt") in caught.value.message


def test_no_cuda_python(gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("tensorrt")  # the fake shares the GPU's module
    for name in MODULES:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DeviceError, match="needs cuda-python: pip install"):
        backend()


def test_cuda_python_before_12(gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.cudart", gpu.cuda)
    monkeypatch.setattr(
        "snn_runtime.engines.tensorrt.device.MODULES", ("cuda.nowhere", "cuda.cudart")
    )
    assert_right(backend())


def test_as_people_ask_for_it(gpu: FakeGpu) -> None:
    model = load(backend="tensorrt", device="cuda:1", precision="int8")
    assert model.engine == "tensorrt, int8, TensorRT 10.3, Orin"
    assert model.self_tested and len(gpu.built()) == 2  # which it did by the twin that it builds
    model.self_test()


def test_a_gpu_that_is_not_there(gpu: FakeGpu) -> None:
    with pytest.raises(DeviceError, match="cuda:2, the last GPU here is cuda:1"):
        TensorRtBackend(GRAPH, golden=golden(GRAPH), index=2)


def test_errors_the_bindings_do_not_know(gpu: FakeGpu) -> None:
    engine = backend()
    gpu.cuda.faults["cudaStreamSynchronize"] = 12345
    with pytest.raises(DeviceError, match="CUDA error 12345"):
        engine.run(IMAGES)
