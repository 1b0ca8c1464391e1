"""Model: what people call, and the self-test that guards it."""

import copy
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from graphs import example, pictures

import snn_runtime
from snn_bench.topology import Design, build
from snn_runtime import image
from snn_runtime import model as model_module
from snn_runtime.calibration import Numbers
from snn_runtime.engines import Backend
from snn_runtime.engines.choice import BACKENDS, BackendName, Choice
from snn_runtime.errors import DeviceError, InputError, ModelError, UsageError, VerifyError
from snn_runtime.graph import Node, Population, SpikingGraph, reference
from snn_runtime.graph.reference import Counts, Spikes
from snn_runtime.model import Model, load
from snn_runtime.model_file import to_bytes, write
from snn_runtime.proof import golden


@pytest.fixture(params=[True, False], ids=["int8", "float32"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write(example(request.param), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_load_and_predict(path: Path) -> None:
    model = load(path, threads=1)
    images = pictures(model.graph.image, 5)
    expected = reference.run(model.graph, images).logits
    if model.graph.exact:
        np.testing.assert_array_equal(model.logits(images), expected)
    assert model.logits(images).shape == (5, 3)
    assert model.labels == ("cat", "ship", "Straße")
    assert model.backend.name in ("event", "onnxruntime")
    assert model.engine.startswith(f"{model.backend.name}, ")
    model.self_test()


def test_the_package_exports_verbs(path: Path) -> None:
    assert snn_runtime.load(str(path)).labels == load(path).labels
    assert snn_runtime.Model is Model
    assert snn_runtime.__version__[0].isdigit()
    verbs = {"Answer", "Model", "Prediction", "__version__", "load", "read_image"}
    assert set(snn_runtime.__all__) == verbs == set(dir(snn_runtime))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        snn_runtime.nothing  # noqa: B018  # looking it up is the test


def test_importing_a_part_imports_no_engine() -> None:
    code = (
        "import sys, snn_runtime.graph;print({'onnx', 'onnxruntime', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("set()\n", "")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([[1]], "images are list, expected a numpy array of uint8"),
        (np.zeros((1, 8, 8, 3), np.float32), "images are float32, expected"),
        (np.zeros((8, 8, 3), np.uint8), "shape .8, 8, 3., expected .N, 8, 8, 3."),
        (np.zeros((1, 3, 8, 8), np.uint8), "shape .1, 3, 8, 8., expected .N, 8, 8, 3."),
        (np.zeros((1, 8, 8, 4), np.uint8), "shape .1, 8, 8, 4., expected .N, 8, 8, 3."),
        (np.zeros((2, 9, 8, 3), np.uint8), "shape .2, 9, 8, 3., expected .N, 8, 8, 3."),
    ],
)
def test_only_decoded_pixels_are_taken(images: Any, message: str, path: Path) -> None:
    with pytest.raises(InputError, match=message):
        load(path).logits(images)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"backend": "tpu"}, "backend is 'tpu', expected one of auto, event, onnx"),
        ({"device": "tpu"}, "device is 'tpu', expected auto, cpu, cuda"),
        ({"device": "cuda:x"}, "device is 'cuda:x', expected auto, cpu, cuda"),
        ({"precision": "int4"}, "precision is 'int4', expected one of auto, int8"),
        ({"threads": 0}, "threads is 0, expected a whole number from 1 to 1024"),
        ({"threads": -1}, "threads is -1, expected a whole number from 1 to 1024"),
        ({"threads": 1025}, "threads is 1025, expected a whole number from 1 to 1024"),
        # 1 and 2 in the 32 bits that an engine takes.
        ({"threads": 2**32 + 1}, "threads is 4294967297, expected a whole number"),
        ({"threads": 2**32 + 2, "backend": "onnxruntime"}, "threads is 4294967298, expected"),
        ({"threads": 2.0}, "threads is 2.0, expected a whole number"),
        ({"threads": "2"}, "threads is '2', expected a whole number"),
        ({"backend": "event", "device": "cuda"}, "backend event does not run on device cuda"),
        ({"backend": "tensorrt", "device": "cpu"}, "backend tensorrt does not run on device cpu"),
        ({"precision": "fp16"}, "precision fp16 is for --backend tensorrt only"),
    ],
)
def test_choices_that_make_no_sense(choice: dict[str, Any], message: str, path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        load(path, **choice)


@pytest.mark.parametrize(
    ("choice", "engines"),
    [
        (Choice(), "event cpu, onnxruntime cpu"),
        (Choice(device="cpu"), "event cpu, onnxruntime cpu"),
        (Choice(device="cuda:1"), "tensorrt cuda, onnxruntime cuda"),
        (Choice(device="tensorrt"), "onnxruntime tensorrt"),
        (Choice("event"), "event cpu"),
        (Choice("onnxruntime"), "onnxruntime cpu"),
        (Choice("onnxruntime", "cuda"), "onnxruntime cuda"),
        (Choice("tensorrt"), "tensorrt cuda"),
        (Choice("tensorrt", precision="fp16"), "tensorrt cuda"),
    ],
)
def test_what_a_choice_allows_best_first(choice: Choice, engines: str) -> None:
    assert ", ".join(map(" ".join, choice.candidates)) == engines


def test_the_number_of_the_gpu() -> None:
    assert [Choice(device=d).index for d in ("auto", "cuda", "cuda:1")] == [0, 0, 1]


def test_a_missing_file(path: Path) -> None:
    with pytest.raises(ModelError, match="missing.onnx: no such file"):
        load(path.parent / "missing.onnx")


def test_a_backend_that_is_not_installed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = ("snn_runtime.engines.npu", "Npu")
    monkeypatch.setitem(BACKENDS, ("event", "cpu"), nowhere)
    with pytest.raises(DeviceError, match="backend event is not installed here"):
        load(path, backend="event")
    assert load(path).backend.name == "onnxruntime"
    monkeypatch.setitem(BACKENDS, ("onnxruntime", "cpu"), nowhere)
    with pytest.raises(DeviceError, match="event is not installed.*; backend onnxruntime is not"):
        load(path)


def test_an_installation_without_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_module, "BUNDLED", "models/no.onnx")
    with pytest.raises(ModelError, match="no bundled model"):
        load()


def test_the_bundled_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Wherever the package keeps it: here a stand-in."""
    (tmp_path / "small.onnx").write_bytes(to_bytes(example()))
    monkeypatch.setattr(model_module, "BUNDLED", str(tmp_path / "small.onnx"))
    assert load().graph.digest() == example().digest()


class Lying:
    """An engine that gets one spike, or one logit, wrong."""

    name = "lying"
    details = "as ever"

    def __init__(self, honest: Backend, population: str | None) -> None:
        self._honest = honest
        self._population = population

    def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        logits = self._honest.run(images)
        if self._population is None:
            logits[-1, -1] = np.nextafter(logits[-1, -1], np.float32(np.inf))
        return logits

    def observe(
        self, images: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], Numbers | None]:
        return self._honest.observe(images)

    def count(self, images: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], Counts]:
        return self._honest.count(images)

    def spikes(self, images: npt.NDArray[np.uint8]) -> dict[str, Spikes]:
        spikes = self._honest.spikes(images)
        if self._population is not None:
            spikes[self._population] = spikes[self._population].copy()
            spikes[self._population].flat[-1] ^= True
        return spikes


@pytest.mark.parametrize("population", ["conv1", "conv3", "fc2"])
def test_one_wrong_spike_fails_the_self_test(path: Path, population: str) -> None:
    model = load(path)
    lying = replace(model, backend=Lying(model.backend, population))
    with pytest.raises(VerifyError, match=f"failed on lying, as ever: population {population}"):
        lying.self_test()


def test_one_wrong_logit_fails_the_self_test(tmp_path: Path) -> None:
    write(example(), tmp_path / "model.onnx")
    model = load(tmp_path / "model.onnx")
    lying = replace(model, backend=Lying(model.backend, None))
    with pytest.raises(VerifyError, match="the logits do not follow from the spikes"):
        lying.self_test()


def test_wrong_logits_of_a_float32_network_fail_the_self_test(tmp_path: Path) -> None:
    write(example(exact=False), tmp_path / "model.onnx")
    model = load(tmp_path / "model.onnx", backend="onnxruntime")
    model.self_test()

    class Reversed(Lying):
        def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            return self._honest.run(images)[:, ::-1]

    lying = replace(model, backend=Reversed(model.backend, None))
    with pytest.raises(VerifyError, match="the logits do not follow from the spikes"):
        lying.self_test()


def test_a_false_golden_hash_fails_the_self_test(tmp_path: Path) -> None:
    write(example(), tmp_path / "model.onnx")
    model = replace(load(tmp_path / "model.onnx"), golden="0" * 64)
    with pytest.raises(VerifyError, match="golden hash in the file belongs to other spikes"):
        model.self_test()


@pytest.mark.parametrize("backend", ["auto", "onnxruntime"])
def test_loading_refuses_a_false_golden_hash(backend: BackendName, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(to_bytes(example(), golden="0" * 64))
    with pytest.raises(VerifyError, match="golden hash in the file belongs to other") as caught:
        load(tmp_path / "model.onnx", backend=backend)
    assert (caught.value.code, caught.value.exit_code) == ("golden_hash", 9)


def test_loading_says_whether_the_engine_proved_itself(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(path).self_tested
    monkeypatch.setattr(golden, "CHEAP", 0)
    model = load(path)
    assert not model.self_tested
    model.self_test()


def test_a_copy_proves_itself_as_the_first_did(path: Path) -> None:
    model = load(path)
    assert copy.deepcopy(model).self_tested
    assert not copy.copy(replace(model, self_tested=False)).self_tested
    forged = replace(model, golden="0" * 64)
    if forged.graph.exact:
        with pytest.raises(VerifyError, match="golden hash"):
            pickle.loads(pickle.dumps(forged))


def test_what_is_cheap() -> None:
    """15 million parameters at 32 pixels are, a picture of 224 is not, nor many floats."""
    assert golden.is_cheap(model_module.read_model_file(None).graph)
    assert golden.is_cheap(build(Design("vgg16"), 0.1))
    assert not golden.is_cheap(build(Design("vgg16-224", width=0.25), 0.1))
    assert golden.is_cheap(example(exact=False))
    assert not golden.is_cheap(in_floats(model_module.read_model_file(None).graph))


def in_floats(graph: SpikingGraph) -> SpikingGraph:
    def floats(node: Node) -> Node:
        if not isinstance(node, Population):
            return node
        projections = (replace(p, weight=p.weight.astype(np.float32)) for p in node.projections)
        return replace(node, projections=tuple(projections))

    readout = replace(graph.readout, weight=graph.readout.weight.astype(np.float32))
    return replace(graph, nodes=tuple(map(floats, graph.nodes)), readout=readout, packed=False)


def test_the_bundled_model_labels_the_bundled_photographs() -> None:
    """The card's own examples, through the package data as it is installed."""
    bundled = model_module.load()
    bundled.self_test()
    photographs = Path(__file__).parents[2] / "runtime" / "photos"
    size = bundled.graph.image
    for name, label in {"cat": "cat", "dog": "dog", "moose": "deer"}.items():
        pixels, _ = image.prepare(photographs / f"{name}.jpg", size.height, size.width, size.fit)
        assert bundled.labels[int(bundled.logits(pixels[None]).argmax())] == label
