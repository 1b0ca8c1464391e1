"""The slow, exact interpreter: the definition of the right answer.

    sent_image = x − m                                    current_n = Σ_p W_p ∗ sent_source(p)
    sent_n     = [current_n > θ_n]  (population)          logit_c   = a_c · (Σ_i v_ci sent_i) + b_c

x are pixels, m the colour offsets, W and v weights, ∗ a convolution or a product, θ thresholds (one
a channel, or where the picture is read one a position), [·] is 1 where true. With int8 weights
everything before the logits is int64: no floats, no rounding. A logit is one multiplication and one
addition, each rounded once to float32. With float32 weights the sums are float64, which stands for
exact: see `agreement` for what engines owe it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snn_runtime.graph.activations import last_reads
from snn_runtime.graph.graph import SpikingGraph
from snn_runtime.graph.nodes import INPUT, FloatArray, Pool, Population, Projection

Numbers: TypeAlias = npt.NDArray[Any]
"""int64 where weights are int8, float64 where they are float32."""
Spikes: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Activity:
    """What a network did with a batch of pictures."""

    spikes: dict[str, npt.NDArray[np.uint8]]
    """`[N, C, H, W]` or `[N, O]` of 0 and 1 for every population, in graph order."""
    currents: dict[str, Numbers]
    """What the thresholds were compared with, same shapes; empty unless asked for."""
    logits: FloatArray
    """`[N, classes]`"""


def run(
    graph: SpikingGraph, images: npt.NDArray[np.uint8], *, keep_currents: bool = False
) -> Activity:
    """Interpret the graph on uint8 `[N, H, W, 3]`, holding the spikes of all populations, and of
    what they are computed from only what is still needed."""
    sent = {INPUT: centred(graph, images)}
    spikes: dict[str, npt.NDArray[np.uint8]] = {}
    currents: dict[str, Numbers] = {}
    for node, dead in zip(graph.nodes, last_reads(graph.nodes, graph.readout), strict=True):
        if isinstance(node, Pool):
            sent[node.name] = pool(node, sent[node.source])
        else:
            current = total(node, sent)
            spikes[node.name] = fired(node, current)
            sent[node.name] = spikes[node.name].astype(current.dtype)
            if keep_currents:
                currents[node.name] = current
        for name in dead:
            del sent[name]
    return Activity(spikes, currents, read_out(graph, sent[graph.readout.source]))


def centred(graph: SpikingGraph, images: npt.NDArray[np.uint8]) -> Numbers:
    """What the picture sends: `x − m` as `[N, 3, H, W]`."""
    number = np.int64 if graph.exact else np.float64
    planes = images.transpose(0, 3, 1, 2).astype(number)
    return planes - np.array(graph.image.offset, number).reshape(1, 3, 1, 1)


def total(population: Population, sent: Mapping[str, Numbers]) -> Numbers:
    """The current: all projections summed."""
    current, *others = (_project(p, sent[p.source]) for p in population.projections)
    for other in others:
        current = current + other
    return current


def fired(population: Population, current: Numbers) -> npt.NDArray[np.uint8]:
    """`[current > θ]`, strictly."""
    theta = population.comparand.astype(np.float64)
    if current.dtype == np.int64:
        # θ = k + ½, so current > θ exactly where current > k: the comparison is of integers too.
        theta = np.floor(theta).astype(np.int64)
    return (current > theta).astype(np.uint8)


def pool(node: Pool, sent: Numbers) -> Numbers:
    """OR or count of each k×k window; what the last full window leaves over is dropped."""
    n, c, h, w = sent.shape
    k = node.kernel
    rows, columns = h // k, w // k
    windows = sent[:, :, : rows * k, : columns * k].reshape(n, c, rows, k, columns, k)
    pooled = windows.max(axis=(3, 5)) if node.kind == "max" else windows.sum(axis=(3, 5))
    return np.asarray(pooled)


def read_out(graph: SpikingGraph, sent: Numbers) -> FloatArray:
    """`a · Σ v s + b`: the product of two 24-bit numbers is exact in float64, so it rounds once."""
    readout = graph.readout
    sums = _dense(readout.weight.astype(sent.dtype), sent)
    scaled = (readout.scale.astype(np.float64) * sums).astype(np.float32)
    return scaled + readout.bias


def _project(projection: Projection, sent: Numbers) -> Numbers:
    weight = projection.weight.astype(sent.dtype)
    return _dense(weight, sent) if weight.ndim == 2 else _convolve(projection, weight, sent)


def _dense(weight: Numbers, sent: Numbers) -> Numbers:
    return np.asarray(sent.reshape(len(sent), weight.shape[1]) @ weight.T)


def _convolve(projection: Projection, weight: Numbers, sent: Numbers) -> Numbers:
    out, inputs, *kernel = weight.shape
    groups, (step_y, step_x), (pad_y, pad_x) = (
        projection.groups,
        projection.stride,
        projection.padding,
    )
    padded = np.pad(sent, ((0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(2, 3))
    windows = windows[:, :, ::step_y, ::step_x]  # (N, C, rows, columns, kh, kw)
    rows, columns = windows.shape[2:4]
    kernels = weight.reshape(groups, out // groups, -1)  # (G, O/G, I/G·kh·kw)
    current = np.empty((len(sent), out, rows, columns), weight.dtype)
    for example, view in zip(current, windows, strict=True):  # one at a time: patches are large
        patches = view.reshape(groups, inputs, rows * columns, -1).transpose(0, 2, 1, 3)
        patches = patches.reshape(groups, rows * columns, -1)  # (G, rows·columns, I/G·kh·kw)
        example[:] = (kernels @ patches.transpose(0, 2, 1)).reshape(out, rows, columns)
    return current
