"""What every node sends, in float32 through ONNX Runtime and BLAS: the interpreter, but fast.

Integers below 2²⁴, and no others occur with int8 weights, are exact in float32: the spikes are the
interpreter's. With float32 weights a current on the edge may fall either way, which no rate shows.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnx import TensorProto, helper

from snn_runtime.graph import INPUT, FloatArray, Node, Pool, Population, Projection, SpikingGraph
from snn_runtime.graph.activations import last_reads
from snn_runtime.graph.reference import pool


def propagate(
    graph: SpikingGraph, images: npt.NDArray[np.uint8]
) -> Iterator[tuple[Node, FloatArray]]:
    """Yield every node with what it sends for uint8 `[N, H, W, 3]`: 0 and 1, or counts."""
    sent = {INPUT: centred(graph, images)}
    for node, dead in zip(graph.nodes, last_reads(graph.nodes, graph.readout), strict=True):
        sent[node.name] = respond(node, sent)
        yield node, sent[node.name]
        for name in dead:
            del sent[name]


def centred(graph: SpikingGraph, images: npt.NDArray[np.uint8]) -> FloatArray:
    """The picture as the first layer receives it, `[N, 3, H, W]`."""
    offset = np.array(graph.image.offset, np.float32)
    return np.asarray((images.astype(np.float32) - offset).transpose(0, 3, 1, 2))


def respond(node: Node, sent: Mapping[str, FloatArray]) -> FloatArray:
    """What one node sends, given what its sources do."""
    if isinstance(node, Pool):
        return np.asarray(pool(node, sent[node.source]), np.float32)
    current = total(node, sent)
    return (current > node.comparand).astype(np.float32)


def total(population: Population, sent: Mapping[str, FloatArray]) -> FloatArray:
    """The current of a population, `[N, C, H, W]` or `[N, O]`."""
    current, *others = (_project(p, sent[p.source]) for p in population.projections)
    for other in others:
        current += other
    return current


def _project(projection: Projection, sent: FloatArray) -> FloatArray:
    weight = projection.weight.astype(np.float32)
    if weight.ndim == 2:
        return np.asarray(sent.reshape(len(sent), -1) @ weight.T)
    session = _convolution(projection.stride, projection.padding, projection.groups)
    images = np.ascontiguousarray(sent)
    parts = [session.run(None, {"x": images[i : i + 1], "w": weight})[0] for i in range(len(sent))]
    return np.concatenate(parts)


@cache
def _convolution(stride: tuple[int, int], padding: tuple[int, int], groups: int) -> Any:
    node = helper.make_node(
        "Conv", ["x", "w"], ["y"], strides=stride, pads=padding * 2, group=groups
    )
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None] * 4) for n in "xwy"]
    graph = helper.make_graph([node], "convolution", values[:2], values[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
