"""INT8 networks in LiteRT: the integers that ONNX Runtime computes, and what is refused."""

from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime as ort
import pytest

from snn_bench import contenders, dense_engines
from snn_bench.contenders import Contender
from snn_bench.dense_engines import open_dense
from snn_bench.litert import open_litert, to_litert
from snn_bench.topology import Design, build
from snn_bench.twin import relu_twin, twin_input
from snn_runtime.errors import DeviceError
from snn_runtime.image.scenes import random_scenes
from snn_runtime.onnx_build import ModelProto
from snn_runtime.onnx_build.int8 import quantise


@pytest.fixture(scope="module")
def litert() -> ModuleType:
    module: ModuleType = pytest.importorskip("ai_edge_litert.interpreter")
    return module


def quantised(design: Design) -> tuple[ModelProto, np.ndarray]:
    graph = build(design, 0.1)
    inputs = twin_input(graph, random_scenes(graph.image.height, graph.image.width, 12))
    return quantise(relu_twin(graph), [inputs]), inputs


def logits(model: ModelProto, inputs: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": inputs})[0])


@pytest.mark.parametrize(
    "design",
    [
        Design("vgg16", width=0.1),
        Design("vgg16", "average", hidden=64, width=0.1),
        Design("resnet20", width=0.1),
    ],
    ids=lambda design: design.name,
)
def test_it_computes_what_onnxruntime_does(design: Design, litert: ModuleType) -> None:
    """Strides and their padding, sums, both pools, a flattened map, dense layers; bytes may differ
    by one, as the two round products differently."""
    model, inputs = quantised(design)
    expected = logits(model, inputs)
    run = open_litert(to_litert(model, 3, float(np.abs(expected).max())), threads=1)
    maps = np.ascontiguousarray(inputs.transpose(0, 2, 3, 1))
    found = np.concatenate([run(maps[i : i + 3]) for i in range(0, len(maps), 3)])
    assert found.dtype == np.int8 and np.abs(found.astype(int)).max() > 100
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.995


def test_it_answers_batches_either_way(
    tmp_path: Path, litert: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ONNX Runtime, which would be in its memory and in its time to load."""
    monkeypatch.setattr(dense_engines, "_ort_session", None)
    model, inputs = quantised(Design("vgg16", width=0.05))
    path = tmp_path / "int8.onnx"
    path.write_bytes(model.SerializeToString())
    name, call = open_dense(Contender("dnn", "litert", "int8"), path, 1, [inputs[:4], inputs[4:8]])
    assert name in ("one batch", "one by one")
    first, second, again = (call(number) for number in range(3))
    assert isinstance(first, list) and isinstance(second, list) and isinstance(again, list)
    np.testing.assert_array_equal(np.concatenate(first), np.concatenate(again))
    assert (np.concatenate(first) != np.concatenate(second)).any()


def test_what_it_does_not_know_is_refused(litert: ModuleType) -> None:
    model, _ = quantised(Design("vgg16", width=0.05))
    whole = model.SerializeToString()

    def refused(says: str) -> None:
        with pytest.raises(DeviceError, match=f"litert: not an INT8 network as .*{says}"):
            to_litert(model, 1, 1.0)
        model.ParseFromString(whole)

    convolution = next(node for node in model.graph.node if node.op_type == "Conv")
    next(each for each in convolution.attribute if each.name == "group").i = 2
    refused("a convolution has groups")
    pool = next(node for node in model.graph.node if node.op_type == "MaxPool")
    pool.attribute.add(name="ceil_mode", i=1)
    refused("a MaxPool with ceil_mode")
    model.graph.node[-1].op_type = "Softmax"
    refused("Softmax")
    graph = build(Design("vgg16", width=0.05), 0.1)
    model = relu_twin(graph)
    refused("image")


def test_it_is_raced_in_int8_and_only_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contenders, "installed", lambda: True)
    names = [contender.name for contender in contenders.twins()]
    assert [name for name in names if "litert" in name] == ["dnn int8 litert"]
    monkeypatch.setattr(contenders, "installed", lambda: False)
    assert not any("litert" in contender.name for contender in contenders.twins())
