"""The dense twin against ReLU networks by hand, and its INT8 form in ONNX Runtime."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from graphs import example, pictures, spiking_graphs
from hypothesis import given, settings
from onnx import ModelProto, numpy_helper

from snn_bench.topology import Design, build
from snn_bench.twin import is_identity, multiply_adds, relu_twin, twin_input
from snn_runtime.graph import (
    INPUT,
    Elementwise,
    FloatArray,
    Numbers,
    Population,
    Projection,
    SpikingGraph,
)
from snn_runtime.image.scenes import random_scenes
from snn_runtime.onnx_build.int8 import quantise


def evaluated(graph: SpikingGraph, model: ModelProto, inputs: np.ndarray) -> np.ndarray:
    """ReLU(scale · Σ w ∗ x + b) in float64, the biases alone taken from the model."""
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    sent: dict[str, Numbers] = {INPUT: inputs.astype(np.float64)}
    for node in graph.nodes:
        if isinstance(node, Population):
            sent[node.name] = responded(node, sent, tensors[f"{node.name}/0/bias"])
        elif isinstance(node, Elementwise):
            x, y = sent[node.first], sent[node.second]
            gated = np.minimum(x, y) if node.kind == "and" else np.maximum(x - y, 0)
            sent[node.name] = x + y if node.kind == "add" else gated
        else:
            sent[node.name] = node.compute(sent) / (node.kernel**2 if node.kind == "sum" else 1)
    readout = graph.readout
    weight = readout.weight.astype(np.float64)
    norm = np.maximum(np.linalg.norm(weight, axis=1), 1)
    source = sent[readout.source].reshape(len(inputs), -1)
    return np.asarray(source @ weight.T / norm)


def responded(node: Population, sent: dict[str, Numbers], bias: np.ndarray) -> np.ndarray:
    dense = [replace(p, weight=less_mean(p)) for p in node.projections if not is_identity(p)]
    square = sum((p.weight.astype(float).reshape(len(bias), -1) ** 2).sum(axis=1) for p in dense)
    scale = np.sqrt(2 / np.maximum(square, 1))
    current = Population(node.name, tuple(dense), node.threshold).compute(sent)
    column = (1, -1, *(1,) * (current.ndim - 2))
    result = current * scale.reshape(column) + bias.reshape(column)
    for projection in node.projections:
        if is_identity(projection):
            result = result + sent[projection.source]
    return np.asarray(np.maximum(result, 0))


def less_mean(projection: Projection) -> FloatArray:
    rows = [kernel - kernel.mean() for kernel in projection.weight.astype(np.float64)]
    return np.stack(rows).astype(np.float32)


def session(model: ModelProto | Path, optimised: Path | None = None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if optimised:
        options.optimized_model_filepath = str(optimised)
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def agrees(graph: SpikingGraph, inputs: np.ndarray) -> None:
    model = relu_twin(graph)
    onnx.checker.check_model(model, full_check=True)
    logits = session(model).run(None, {INPUT: inputs})[0]
    np.testing.assert_allclose(logits, evaluated(graph, model, inputs), rtol=1e-3, atol=1e-3)


@given(spiking_graphs())
@settings(max_examples=30)
def test_the_twin_is_the_same_topology_with_relu(graph: SpikingGraph) -> None:
    if any(len(p) == 0 for p in spiking_only(graph)):
        return
    agrees(graph, twin_input(graph, pictures(graph.image, 3)))


def spiking_only(graph: SpikingGraph) -> list[list[object]]:
    """The projections that have weights: a population of identities alone is no layer."""
    return [[p for p in node.projections if not is_identity(p)] for node in graph.populations]


@pytest.mark.parametrize("exact", [True, False])
def test_groups_strides_residuals_and_pools(exact: bool) -> None:
    graph = example(exact)
    agrees(graph, twin_input(graph, pictures(graph.image, 4)))


def test_identity_shortcuts_are_additions() -> None:
    graph = build(Design("resnet20", width=0.06), 0.1)
    agrees(graph, twin_input(graph, random_scenes(graph.image.height, graph.image.width, 2)))
    operators = Counter(node.op_type for node in relu_twin(graph).graph.node)
    assert operators["Add"] == 8
    assert operators["Conv"] == 19 + 3  # three shortcuts change the shape


@given(spiking_graphs())
@settings(max_examples=20)
def test_multiply_adds_leave_padding_out(graph: SpikingGraph) -> None:
    ones = {INPUT: np.ones((1, *graph.shapes[INPUT]), np.float64)}
    ones |= {node.name: np.ones((1, *graph.shapes[node.name])) for node in graph.nodes}
    total = graph.readout.weight.size
    for node in graph.populations:
        kernels = [replace(p, weight=np.ones(p.weight.shape, np.float32))
                   for p in node.projections if not is_identity(p)]  # fmt: skip
        if kernels:
            total += int(Population(node.name, tuple(kernels), node.threshold).compute(ones).sum())
    assert multiply_adds(graph) == total


def test_int8_runs_as_integers(tmp_path: Path) -> None:
    graph = build(Design("resnet20", "average", hidden=64, width=0.06), 0.1)
    inputs = twin_input(graph, random_scenes(graph.image.height, graph.image.width, 4))
    twin = relu_twin(graph)
    optimised = tmp_path / "optimised.onnx"
    whole = session(twin).run(None, {INPUT: inputs})[0]
    small = session(quantise(twin, [inputs]), optimised).run(None, {INPUT: inputs})[0]
    assert np.corrcoef(whole.ravel(), small.ravel())[0, 1] > 0.98
    operators = Counter(node.op_type for node in onnx.load(str(optimised)).graph.node)
    assert operators["QLinearConv"] == 22 and not operators["Conv"]
    assert operators["QGemm"] == 3 and not operators["Gemm"]


def test_weights_are_int8_per_channel() -> None:
    graph = example()
    inputs = twin_input(graph, pictures(graph.image, 4))
    model = quantise(relu_twin(graph), [inputs[:1], inputs[1:]])
    tensors = {t.name: t for t in model.graph.initializer}
    assert tensors["conv1/0/weight_quantized"].data_type == onnx.TensorProto.INT8
    assert list(tensors["conv1/0/weight_scale"].dims) == [4]
