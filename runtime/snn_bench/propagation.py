"""The values of all nodes, in float32 through ONNX Runtime and BLAS: the interpreter, but fast.

Integers below 2²⁴, and no others occur with int8 weights, are exact in float32: the spikes are the
interpreter's. With float32 weights a current on the edge may fall either way, which no rate shows.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from snn_runtime.graph import INPUT, FloatArray, Node, Projection, Shape, SpikingGraph
from snn_runtime.graph.activations import last_reads
from snn_runtime.graph.values import Numbers, dense
from snn_runtime.onnx_build.operators import Operators, Pair

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Session: TypeAlias = "InferenceSession"


def propagate(
    graph: SpikingGraph, images: npt.NDArray[np.uint8]
) -> Iterator[tuple[Node, FloatArray]]:
    """Yield every node with what it sends for uint8 `[N, H, W, 3]`: 0 and 1, or counts."""
    sent = {INPUT: graph.image.centred(images, np.float32)}
    for node, dead in zip(graph.nodes, last_reads(graph.nodes, graph.readout), strict=True):
        sent[node.name] = node.respond(sent, current)
        yield node, sent[node.name]
        for name in dead:
            del sent[name]


def current(projection: Projection, sent: Numbers) -> FloatArray:
    """`W ∗ s`, `[N, O, H, W]` or `[N, O]`, in float32."""
    weight = projection.weight.astype(np.float32)
    if weight.ndim == 2:
        return dense(weight, sent)
    session = _convolution(
        weight.shape, sent.shape[1:], projection.stride, projection.padding, projection.groups
    )
    images = np.ascontiguousarray(sent)
    parts = [session.run(None, {"x": images[i : i + 1], "w": weight})[0] for i in range(len(sent))]
    return np.concatenate(parts)


@lru_cache(maxsize=64)
def _convolution(weight: Shape, sent: Shape, stride: Pair, padding: Pair, groups: int) -> Session:
    """`w ∗ x` of one example, for whatever weights."""
    # Here: processes that measure what other engines take import this module too.
    import onnxruntime as ort

    op = Operators("convolution")
    x, w = op.input("x", np.float32, (1, *sent)), op.input("w", np.float32, weight)
    y = op.conv("y", x, w, stride=stride, pads=padding * 2, groups=groups)
    options = ort.SessionOptions()
    # Each session has threads of its own, and those that spin take the cores from the next one's.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = op.model(y).SerializeToString()
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
