"""ONNX Runtime's GPU providers: refusals for real, sessions played by the CPU's kernels.

No GPU computes here. `Played` is a real session of the CPU wheel that claims to be on a GPU: what
it proves is the graph, the binding, the chunks and the placement check, not CUDA's arithmetic.
"""

import copy
import ctypes
import math
import os
import pickle
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from graphs import example, pictures, spiking_graphs
from hypothesis import given, settings

from snn_runtime.engines import Backend
from snn_runtime.engines.choice import Choice
from snn_runtime.engines.onnxruntime import (
    backend as ort,
)
from snn_runtime.engines.onnxruntime import (
    gpu as ort_gpu,
)
from snn_runtime.engines.onnxruntime import (
    providers as ort_providers,
)
from snn_runtime.engines.onnxruntime.gpu import OrtCudaBackend, OrtTensorRtBackend
from snn_runtime.engines.onnxruntime.providers import CPU, CUDA, TENSORRT
from snn_runtime.errors import DeviceError, ResourceError, VerifyError
from snn_runtime.graph import SpikingGraph, reference
from snn_runtime.machine import jetson, wheels
from snn_runtime.machine.system import System
from snn_runtime.model import Model, load
from snn_runtime.model_file import to_bytes
from snn_runtime.proof import golden
from snn_runtime.proof.agreement import logits_of, unexplained

ROOT = Path(__file__).parents[4]
REAL = onnxruntime.InferenceSession
BACKENDS = [OrtCudaBackend, OrtTensorRtBackend]


@dataclass
class Part:
    ep_name: str
    nodes: list[Any]

    def get_nodes(self) -> list[Any]:
        return self.nodes


class Binding:
    """The CPU's memory under the name of the GPU's."""

    def __init__(self, real: Any, log: list[Any]) -> None:
        self._real, self._log = real, log

    def bind_cpu_input(self, name: str, array: Any) -> None:
        self._log.append((name, array.dtype.name, array.shape))
        self._real.bind_cpu_input(name, array)

    def bind_output(self, name: str, device: str, index: int) -> None:
        assert (device, index) == ("cuda", 1)
        self._real.bind_output(name, "cpu")

    def copy_outputs_to_cpu(self) -> Any:
        return self._real.copy_outputs_to_cpu()


class Played:
    """A session that says its nodes are where it was told to put them."""

    bound: list[Any] = []
    options: list[Any] = []
    elsewhere: tuple[str, ...] = ()
    """Operators that it says are on the CPU."""
    taken = True
    """Whether the provider asked for comes up."""
    failure: str = ""

    def __init__(self, model: bytes, options: Any, providers: Any, enable_fallback: int) -> None:
        assert enable_fallback == 0
        if self.failure:
            raise RuntimeError(self.failure)
        assert options.get_session_config_entry("session.record_ep_graph_assignment_info") == "1"
        Played.options.append(providers)
        self._real = REAL(model, options, providers=[CPU])
        self._names = [name for name, _ in providers]

    def get_providers(self) -> list[str]:
        return [*self._names, CPU] if self.taken else [CPU]

    def get_provider_graph_assignment_info(self) -> list[Part]:
        nodes = [n for p in self._real.get_provider_graph_assignment_info() for n in p.get_nodes()]
        last = self._names[-1]
        parts = [
            Part(
                self._names[0],
                [n for n in nodes if n.op_type not in ("Transpose", *self.elsewhere)],
            ),
            Part(last, [n for n in nodes if n.op_type == "Transpose"]),
            Part(CPU, [n for n in nodes if n.op_type in self.elsewhere]),
        ]
        return [part for part in parts if part.nodes]

    def io_binding(self) -> Binding:
        return Binding(self._real.io_binding(), Played.bound)

    def run_with_iobinding(self, binding: Binding) -> None:
        self._real.run_with_iobinding(binding._real)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Played]]:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Played)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load libcudnn"))
    monkeypatch.setenv("IIR_SNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    for name, value in {"bound": [], "options": [], "elsewhere": (), "taken": True}.items():
        monkeypatch.setattr(Played, name, value)
    monkeypatch.setattr(Played, "failure", "")
    yield Played


def assert_same(engine: Backend, graph: SpikingGraph, count: int) -> None:
    images = pictures(graph.image, count)
    expected = reference.run(graph, images)
    for name, bits in engine.spikes(images).items():
        np.testing.assert_array_equal(bits, expected.spikes[name], err_msg=name)
    logits = engine.run(images)
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits.view(np.int32), expected.logits.view(np.int32))


@pytest.mark.parametrize("backend", BACKENDS)
@given(graph=spiking_graphs())
@settings(max_examples=15)
def test_the_float_graph_without_its_scale_equals_the_reference(
    backend: type[OrtCudaBackend], graph: SpikingGraph
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
        patch.setattr(onnxruntime, "InferenceSession", Played)
        patch.setattr(onnxruntime, "preload_dlls", lambda: None)
        patch.setattr(backend, "_kept", lambda *_, **__: {}, raising=False)
        patch.setenv("NVIDIA_TF32_OVERRIDE", "0")
        assert_same(backend(graph, index=1), graph, 4)


def test_floats_run_one_by_one_and_differ_by_rounding_only(gpu: type[Played]) -> None:
    graph = example(exact=False)
    images = pictures(graph.image, 3)
    engine = OrtCudaBackend(graph, index=1)
    spikes = engine.spikes(images)
    assert unexplained(graph, images, spikes) == dict.fromkeys(spikes, 0)
    np.testing.assert_allclose(engine.run(images), logits_of(graph, spikes), rtol=1e-4, atol=1e-4)
    assert {shape[0] for _, _, shape in gpu.bound} == {1}


@pytest.mark.parametrize("backend", BACKENDS)
def test_pictures_go_to_the_gpu_as_bytes_and_in_chunks(
    backend: type[OrtCudaBackend], gpu: type[Played], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = example()
    monkeypatch.setattr(ort_gpu, "LARGEST_BATCH", 4)
    largest = max(math.prod(shape) for shape in graph.shapes.values())
    monkeypatch.setattr(ort, "CHUNK_VALUES", 4 * largest)
    engine = backend(graph, index=1)
    gpu.bound.clear()
    assert_same(engine, graph, 11)
    assert all(dtype == "uint8" for _, dtype, _ in gpu.bound)
    assert [shape[0] for _, _, shape in gpu.bound] == [4, 4, 3] * 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_empty_batch(backend: type[OrtCudaBackend], gpu: type[Played]) -> None:
    graph = example()
    engine = backend(graph, index=1)
    assert engine.run(pictures(graph.image, 0)).shape == (0, 3)
    assert engine.spikes(pictures(graph.image, 0))["conv3"].shape == (0, 6, 4, 4)


def test_what_the_cuda_provider_is_told(gpu: type[Played]) -> None:
    engine = OrtCudaBackend(example(), index=1)
    ((name, options),) = gpu.options[0]
    assert name == CUDA
    assert options == {
        "device_id": "1",
        "use_tf32": "0",
        "cudnn_conv_algo_search": "HEURISTIC",
    }
    nodes = re.fullmatch(r"cuda:1, float32, all (\d+) nodes", engine.details)
    assert nodes and int(nodes[1]) > 10


def test_what_tensorrt_is_told(gpu: type[Played], tmp_path: Path) -> None:
    graph = example()
    engine = OrtTensorRtBackend(graph, index=1)
    engine.spikes(pictures(graph.image, 1))
    told = [dict(providers) for providers in gpu.options]
    assert [list(options) for options in told] == [[TENSORRT, CUDA]] * 2  # and never the CPU
    first, watching = (options[TENSORRT] for options in told)
    assert first["trt_fp16_enable"] == first["trt_int8_enable"] == "0"
    assert first["trt_profile_min_shapes"] == "image:1x8x8x3"
    assert first["trt_profile_max_shapes"] == "image:32x8x8x3"
    assert 0 < int(first["trt_max_workspace_size"]) <= 2**30
    assert re.fullmatch(r"tensorrt:1, float32, \d+ of \d+ nodes, others on cuda", engine.details)
    # ONNX Runtime's name of an engine leaves out the weights: a folder for every network.
    assert first["trt_engine_cache_enable"] == first["trt_timing_cache_enable"] == "1"
    folders = [Path(options["trt_engine_cache_path"]) for options in (first, watching)]
    assert len({*folders, Path(first["trt_timing_cache_path"])}) == 3
    for folder in folders:
        assert folder.is_dir() and folder.stat().st_mode & 0o777 == 0o700
        assert folder.is_relative_to(tmp_path / "cache" / "onnxruntime-tensorrt")
        assert graph.digest()[:16] in str(folder)
    for key, value in {"trt_engine_cache_enable": "1", "device_id": "1"}.items():
        assert watching[key] == value
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"


def test_tensorrt_works_where_no_cache_can_be(
    gpu: type[Played], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IIR_SNN_CACHE", str(tmp_path / "file" / "cache"))
    engine = OrtTensorRtBackend(example(), index=1)
    assert "trt_engine_cache_enable" not in dict(gpu.options[0])[TENSORRT]
    assert_same(engine, example(), 2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_node_on_the_cpu_is_refused_by_name(
    backend: type[OrtCudaBackend], gpu: type[Played], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Played, "elsewhere", ("Greater",))
    said = r"would compute \d+ nodes \(Greater conv1/fires, .*\) with CPUExecutionProvider, exp"
    with pytest.raises(DeviceError, match=said):
        backend(example(), index=1)


def test_an_onnxruntime_that_cannot_prove_where_it_computes_is_refused(
    gpu: type[Played], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Played, "get_provider_graph_assignment_info")
    with pytest.raises(DeviceError, match="is too old to say where it computes: "):
        OrtCudaBackend(example(), index=1)


def test_tensorrt_that_takes_no_node_is_refused(
    gpu: type[Played], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        ort_gpu, "placement", lambda session: {CUDA: ["Conv conv1/current", "Greater conv1/fires"]}
    )
    with pytest.raises(DeviceError, match="2 nodes .* with CUDAExecutionProvider, expected Tens"):
        OrtTensorRtBackend(example(), index=1)


def test_the_self_test_and_the_choice(gpu: type[Played], monkeypatch: pytest.MonkeyPatch) -> None:
    from snn_runtime.proof.golden import golden_hash, golden_images

    graph = example()
    golden = golden_hash(reference.run(graph, golden_images(graph.image)).spikes)
    model = Model(graph, golden, OrtCudaBackend(graph, index=1))
    model.self_test()
    assert model.engine.startswith("onnxruntime, cuda:1, float32, all ")
    assert Choice("onnxruntime", "tensorrt:1").index == 1


# Texts that onnxruntime-gpu 1.31.1 itself gave on a machine without a GPU; the failures of CUDA
# with a stand-in for the driver that says the number.
LOADER = "{}: cannot open shared object file: No such file or directory"
CUDA_FAILURE = (
    "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:154 std::conditional_t<THRW, "
    "void, onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, const char*) CUDA failure "
    "{} ; GPU=-1 ; hostname=myhost ; file=/onnxruntime_src/x.cc ; line=355 ; expr=cudaSetDevice() "
)
FELL_BACK = (
    "[ONNXRuntimeError] : 1 : FAIL : This session contains graph nodes that are assigned to the "
    "default CPU EP, but fallback to CPU EP has been explicitly disabled by the user."
)


@pytest.mark.parametrize(
    ("backend", "missing", "said"),
    [
        (OrtCudaBackend, "libcuda.so.1", r"no NVIDIA driver \(libcuda.so.1 is missing\); in a con"),
        (OrtTensorRtBackend, "libcuda.so.1", "no NVIDIA driver"),
        (
            OrtCudaBackend,
            "libcublasLt.so.13",
            r"libcublasLt.so.13 is missing: pip install 'iir-snn",
        ),
        (
            OrtCudaBackend,
            "libcudnn.so.9",
            r"libcudnn.so.9 is missing: pip install 'iir-snn\[cuda\]",
        ),
        (
            OrtTensorRtBackend,
            "libnvinfer.so.10",
            "libnvinfer.so.10 of TensorRT is missing: pip ins",
        ),
    ],
)
@pytest.mark.parametrize("how", ["raises", "is silent"])
def test_a_library_that_does_not_load_is_named(
    backend: type[OrtCudaBackend],
    missing: str,
    said: str,
    how: str,
    gpu: type[Played],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cdll(path: str) -> None:
        driver = missing == "libcuda.so.1"
        if driver == path.endswith("libcuda.so.1"):
            raise OSError(LOADER.format(missing))

    monkeypatch.setattr(jetson, "here", lambda system: False)
    monkeypatch.setattr(ctypes, "CDLL", cdll)
    monkeypatch.setattr(Played, "failure", FELL_BACK if how == "raises" else "")
    monkeypatch.setattr(Played, "taken", False)
    with pytest.raises(DeviceError, match=said) as caught:
        backend(example(), index=1)
    assert caught.value.code == "backend_unavailable" and len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ("100: no CUDA-capable device is detected", "no NVIDIA GPU is visible"),
        ("35: CUDA driver version is insufficient for CUDA runtime version", "update the driver"),
        ("101: invalid device ordinal", "there is no GPU of that number"),
        ("999: unknown error", "see nvidia-smi"),
    ],
)
def test_what_cuda_says_is_said_in_short(
    failure: str, said: str, gpu: type[Played], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Played, "failure", CUDA_FAILURE.format(failure))
    with pytest.raises(DeviceError, match=said) as caught:
        OrtCudaBackend(example(), index=1)
    assert failure.split(": ")[1] in str(caught.value)
    assert "myhost" not in str(caught.value) and "/onnxruntime_src" not in str(caught.value)


@pytest.mark.parametrize(
    ("failure", "kind", "said"),
    [
        (
            "209: no kernel image is available for execution on the device",
            DeviceError,
            "--backend t",
        ),
        ("2: out of memory", ResourceError, "ran out of memory: CUDA failure 2: out of memory$"),
    ],
)
def test_what_shows_only_in_the_first_run(
    failure: str,
    kind: type[Exception],
    said: str,
    gpu: type[Played],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(*_: object) -> None:
        raise RuntimeError(CUDA_FAILURE.format(failure))

    monkeypatch.setattr(Played, "run_with_iobinding", run)
    with pytest.raises(kind) as caught:
        OrtCudaBackend(example(), index=1)
    assert re.search(said, getattr(caught.value, "message", ""))


def test_other_failures_are_passed_on(gpu: type[Played], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda path: None)
    monkeypatch.setattr(Played, "failure", "kernel\nlost")
    with pytest.raises(DeviceError, match="no CUDAExecutionProvider here: kernel lost"):
        OrtCudaBackend(example(), index=1)
    monkeypatch.setattr(Played, "failure", "")
    monkeypatch.setattr(Played, "taken", False)
    with pytest.raises(DeviceError, match="onnxruntime does not say why"):
        OrtCudaBackend(example(), index=1)


def test_what_libraries_print_stays_out_of_the_answers(
    gpu: type[Played], capfd: pytest.CaptureFixture[str]
) -> None:
    OrtTensorRtBackend(example(), index=1)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("wheels", "said"),
    [
        ({"onnxruntime": "1.32.0"}, r"is the one for CPUs: pip install 'iir-snn\[cuda\]' && "),
        (
            {"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.31.1"},
            "onnxruntime 1.32.0 lies over onnxruntime-gpu 1.31.1, in one folder: pip install "
            "--force-reinstall --no-deps onnxruntime-gpu==1.31.1 ",
        ),
        ({"onnxruntime-gpu": "1.31.1"}, "onnxruntime-gpu 1.31.1 for .* lacks it: "),
    ],
)
def test_the_wrong_wheel(
    wheels: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort_providers, "installed_wheels", lambda: wheels)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(jetson, "here", lambda system: False)
    monkeypatch.setattr(sys, "version_info", (3, 12))
    with pytest.raises(DeviceError, match=said):
        load(backend="onnxruntime", device="cuda")


@pytest.mark.parametrize(
    ("extra", "machine", "board", "python", "said"),
    [
        ("cuda", "x86_64", False, (3, 11), "--force-reinstall --no-deps onnxruntime-gpu=="),
        ("cuda", "aarch64", False, (3, 12), "--force-reinstall --no-deps onnxruntime-gpu=="),
        (
            "cuda",
            "aarch64",
            True,
            (3, 10),
            "no onnxruntime-gpu wheel for Jetson's GPU: use --backe",
        ),
        ("cuda", "x86_64", False, (3, 10), "needs Python 3.11"),
        ("cuda", "riscv64", False, (3, 12), "no onnxruntime-gpu wheel for riscv64"),
        ("onnxruntime-tensorrt", "x86_64", False, (3, 11), "&& pip install 'tensorrt-cu13<11'"),
        (
            "onnxruntime-tensorrt",
            "aarch64",
            False,
            (3, 11),
            "no TensorRT provider: use --backend t",
        ),
    ],
)
def test_what_to_type(
    extra: str,
    machine: str,
    board: bool,
    python: tuple[int, int],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    if board:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc" / "nv_tegra_release").write_text("# R36 (release), REVISION: 4.3")
    monkeypatch.setattr(sys, "version_info", python)
    assert said in wheels.install_line(extra, System(tmp_path, machine=machine))


@pytest.mark.parametrize("extra", ["cuda", "tensorrt"])
def test_what_to_type_in_a_container_on_a_board(extra: str, tmp_path: Path) -> None:
    """There only the device tree says that it is a Jetson."""
    tree = tmp_path / "proc" / "device-tree"
    tree.mkdir(parents=True)
    system = System(tmp_path, machine="aarch64")
    assert "Jet" not in wheels.install_line(extra, system)
    (tree / "model").write_text("NVIDIA Jetson Orin Nano Developer Kit\0")
    assert "Jet" in wheels.install_line(extra, system)


def test_the_extra_pins_both_wheels_to_one_version() -> None:
    """Or the files of one would lie among those of another version."""
    extra = re.search(r"^cuda = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert extra is not None
    pins = dict(re.findall(r'"([\w-]+)(?:\[[\w,]+\])?==([\d.]+)"', extra[1]))
    assert pins == dict.fromkeys(("onnxruntime", "onnxruntime-gpu"), wheels.ORT_GPU)


@pytest.mark.parametrize(("device", "provider"), [("cuda", CUDA), ("tensorrt:1", TENSORRT)])
@pytest.mark.skipif(
    CUDA in onnxruntime.get_available_providers(), reason="this onnxruntime is one for GPUs"
)
def test_the_command_refuses_with_6_and_labels_nothing(device: str, provider: str) -> None:
    """The real command with the real CPU wheel."""
    program = "import sys; from snn_runtime.infer.cli import main; sys.exit(main())"
    arguments = ["--backend", "onnxruntime", "--device", device, str(ROOT / "runtime/photos")]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT / "runtime")},
    )
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr.startswith(f"snn-infer: error: onnxruntime has no {provider} here: ")
    assert done.stderr.endswith(" [backend_unavailable]\n") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_copy_is_opened_from_the_graph(backend: type[OrtCudaBackend], gpu: type[Played]) -> None:
    first = backend(example(), index=1)
    opened = len(gpu.options)
    for again in (copy.copy(first), copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        assert again.details == first.details
        assert_same(again, example(), 3)
    assert len(gpu.options) == opened + 6  # each with a session that serves and one that watches


@pytest.mark.parametrize("device", ["cuda:1", "tensorrt:1"])
def test_loading_proves_the_engine_always(
    device: str, gpu: type[Played], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden, "CHEAP", 0)
    path = tmp_path / "model.onnx"
    path.write_bytes(to_bytes(example()))
    assert load(path, backend="onnxruntime", device=device).self_tested
    path.write_bytes(to_bytes(example(), golden="0" * 64))
    with pytest.raises(VerifyError, match=r"golden hash .* onnxruntime, (cuda|tensorrt):1, "):
        load(path, backend="onnxruntime", device=device)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_gpu_does_not_survive_a_fork(backend: type[OrtCudaBackend], gpu: type[Played]) -> None:
    engine = backend(example(), index=1)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        images = pictures(engine._graph.image, 2)
        for attempt in (engine.run, engine.spikes):
            try:
                attempt(images)
            except DeviceError as error:
                os.write(writer, f"{error}\n".encode())
        os._exit(0)
    os.close(writer)
    assert os.waitpid(child, 0)[1] == 0
    refusal = "the GPU does not survive a fork: load the model after it [backend_failed]\n"
    assert os.read(reader, 1000).decode() == 2 * refusal
    os.close(reader)
    assert_same(engine, example(), 2)
