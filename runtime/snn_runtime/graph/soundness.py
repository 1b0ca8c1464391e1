"""What makes a SpikingGraph sound: shapes that fit, finite numbers, sums that stay exact."""

import math

import numpy as np
import numpy.typing as npt

from snn_runtime.errors import ModelError
from snn_runtime.graph.activations import check_events, check_kept, check_read_out
from snn_runtime.graph.annotations import check_name
from snn_runtime.graph.nodes import (
    INPUT,
    Image,
    Node,
    Pool,
    Population,
    Projection,
    Readout,
    Shape,
    Weights,
)
from snn_runtime.labels import check_labels

EXACT_BOUND = 2**24
"""Integers below this are exact in float32, so any order of addition gives the same sum."""
FLOAT_BOUND = float(np.finfo(np.float32).max)
"""What lies beyond is infinite in float32, and ∞ − ∞ is no number."""
MAX_SIDE = 4096
"""Pixels of an image, and the largest stride."""
MAX_VALUES = 2**27
"""Numbers that one node may send per image: half a gigabyte in float32."""
MAX_WORK = 2**38
"""Multiply-adds per image, 70 times a ResNet-50: a file that needs more is meant to stall us."""


def check(
    image: Image, nodes: tuple[Node, ...], readout: Readout, labels: tuple[str, ...]
) -> tuple[dict[str, Shape], dict[str, int]]:
    """Return the shape per example and the largest |value| of the image and of every node.

    A population's bound is that of its current; what it sends on is a bit.

    Raises:
        ModelError: `bad_graph`, naming the node and what is wrong with it.
    """
    exact = readout.weight.dtype == np.int8
    _check_image(image, exact)
    check_labels(labels)
    shapes: dict[str, Shape] = {INPUT: (3, image.height, image.width)}
    bounds = {INPUT: math.ceil(max(max(m, 255 - m) for m in image.offset))}
    sent = dict(bounds)  # the largest value a source sends: 1 for spikes, the bound for the rest
    work = 0
    for node in nodes:
        check_name(node.name)
        if node.name in shapes:
            raise _refuse(node.name, "two nodes have this name")
        if isinstance(node, Pool):
            shapes[node.name] = _pooled(node, shapes)
            window = node.kernel**2 if node.kind == "sum" else 1
            bounds[node.name] = sent[node.name] = window * sent[node.source]
        else:
            shapes[node.name] = _check_population(node, shapes, exact)
            reach = sum(_reach(p.weight) * sent[p.source] for p in node.projections)
            bounds[node.name] = _checked_bound(node.name, float(np.max(reach)), exact)
            sent[node.name] = 1
        work = _checked_work(node, shapes[node.name], work)
        check_events(node, sent)
    _check_readout(readout, len(labels), shapes, sent)
    check_kept(shapes, sent)
    return shapes, bounds


def _refuse(name: str, problem: str) -> ModelError:
    return ModelError("bad_graph", f"{name}: {problem}")


def _check_image(image: Image, exact: bool) -> None:
    if not (0 < image.height <= MAX_SIDE and 0 < image.width <= MAX_SIDE):
        size = f"{image.height}x{image.width}"
        raise _refuse(INPUT, f"size is {size}, expected 1 to {MAX_SIDE} a side")
    offset = image.offset
    if len(offset) != 3 or not all(0 <= m <= 255 for m in offset):
        raise _refuse(INPUT, f"offset is {offset}, expected 3 numbers from 0 to 255")
    if exact and any(m != int(m) for m in offset):
        raise _refuse(INPUT, f"offset is {offset}, int8 weights need whole numbers")
    if any(m != float(np.float32(m)) for m in offset):
        raise _refuse(INPUT, f"offset is {offset}, expected numbers that float32 holds")
    _check_floats(INPUT, "offset", np.array(offset, np.float32))
    if image.fit not in ("crop", "stretch"):
        raise _refuse(INPUT, f"fit is {image.fit!r}, expected crop or stretch")


def _source_shape(user: str, source: str, shapes: dict[str, Shape]) -> Shape:
    if source not in shapes:
        raise _refuse(user, f"source {source!r:.80} is not an earlier node")
    return shapes[source]


def _pooled(node: Pool, shapes: dict[str, Shape]) -> Shape:
    shape = _source_shape(node.name, node.source, shapes)
    if node.kind not in ("max", "sum"):
        raise _refuse(node.name, f"pool kind is {node.kind!r}, expected max or sum")
    if node.source == INPUT:
        raise _refuse(node.name, "pools spikes, not the image")
    if len(shape) != 3 or not 1 <= node.kernel <= min(shape[1:]):
        raise _refuse(node.name, f"window of {node.kernel} does not fit a source of shape {shape}")
    return (shape[0], shape[1] // node.kernel, shape[2] // node.kernel)


def _check_weight(name: str, weight: Weights, exact: bool) -> None:
    expected = np.int8 if exact else np.float32
    if weight.dtype != expected:
        raise _refuse(name, f"weights are {weight.dtype}, the readout's are {np.dtype(expected)}")
    if exact and weight.size and weight.min() == -128:
        raise _refuse(name, "a weight is -128, expected -127 to 127")
    if not exact:
        _check_floats(name, "weight", weight)


def _check_floats(name: str, what: str, values: npt.NDArray[np.generic]) -> None:
    if not np.isfinite(values).all():
        # `nan > θ` is false: a spike would launder the NaN, and nobody downstream could see it.
        raise _refuse(name, f"non-finite {what}")
    if ((values != 0) & (np.abs(values) < np.finfo(np.float32).tiny)).any():
        # Some engines flush these to zero and others do not.
        raise _refuse(name, f"subnormal {what}, expected 0 or at least 1.2e-38 in magnitude")


def _checked_work(node: Node, shape: Shape, work: int) -> int:
    """`work` and this node's multiply-adds."""
    values = math.prod(shape)
    if values > MAX_VALUES:
        raise _refuse(node.name, f"sends {values:,} values an image, limit is {MAX_VALUES:,}")
    if isinstance(node, Pool):
        fan_in = node.kernel**2
    else:
        fan_in = sum(p.weight.size // len(p.weight) for p in node.projections)
    work += values * fan_in
    if work > MAX_WORK:
        raise _refuse(node.name, f"{work:,} multiply-adds up to here, limit is {MAX_WORK:,}")
    return work


def _check_population(node: Population, shapes: dict[str, Shape], exact: bool) -> Shape:
    if not node.projections:
        raise _refuse(node.name, "has no projection")
    results = {_projected(node.name, p, shapes) for p in node.projections}
    if len(results) != 1:
        raise _refuse(node.name, f"projections of different shapes {sorted(results)}")
    for projection in node.projections:
        _check_weight(node.name, projection.weight, exact)
    shape = results.pop()
    _check_threshold(node, shape, exact)
    return shape


def _check_threshold(node: Population, shape: Shape, exact: bool) -> None:
    theta, expected = node.threshold, str(shape[:1])
    fits = theta.shape == shape[:1]
    # Engines compare with a threshold a channel; only what they make of pixels has positions.
    if any(p.source == INPUT for p in node.projections) and math.prod(shape[1:]) > 1:
        expected += f" or {shape}"
        fits |= theta.shape == shape
    if not fits or theta.dtype != np.float32:
        raise _refuse(node.name, f"thresholds are {theta.dtype}{theta.shape}, expected {expected}")
    _check_floats(node.name, "threshold", theta)
    if exact and (np.abs(theta) > EXACT_BOUND / 2).any():
        raise _refuse(node.name, "a threshold is beyond ±2^23, where half-integers end")
    if exact and (theta % 1 != 0.5).any():
        raise _refuse(node.name, "thresholds are not half-integers")


def _projected(name: str, projection: Projection, shapes: dict[str, Shape]) -> Shape:
    """The shape of a projection's current."""
    source = _source_shape(name, projection.source, shapes)
    weight = projection.weight
    if 0 in weight.shape:
        raise _refuse(name, f"weights of shape {weight.shape} are empty")
    if weight.ndim == 2:
        if weight.shape[1] != math.prod(source):
            raise _refuse(name, f"weights {weight.shape} do not fit a source of shape {source}")
        return (weight.shape[0],)
    if weight.ndim != 4 or len(source) != 3:
        raise _refuse(name, f"weights {weight.shape} do not fit a source of shape {source}")
    out, inputs, *kernel = weight.shape
    groups = projection.groups
    if groups < 1 or out % groups or inputs * groups != source[0]:
        raise _refuse(name, f"weights {weight.shape} in {groups} groups do not fit {source}")
    if not all(1 <= step <= MAX_SIDE for step in projection.stride):
        raise _refuse(name, f"stride is {projection.stride}, expected 1 to {MAX_SIDE}")
    if min(projection.padding) < 0:
        raise _refuse(name, f"padding {projection.padding} is negative")
    if any(p >= k for p, k in zip(projection.padding, kernel, strict=True)):
        raise _refuse(name, f"padding {projection.padding} reaches past the kernel {tuple(kernel)}")
    spatial = tuple(
        (size + 2 * pad - k) // step + 1
        for size, pad, k, step in zip(
            source[1:], projection.padding, kernel, projection.stride, strict=True
        )
    )
    if min(spatial) < 1:
        raise _refuse(name, f"kernel {tuple(kernel)} does not fit a source of shape {source}")
    return (out, *spatial)


def _reach(weight: Weights) -> npt.NDArray[np.float64]:
    """`[O]`: Σ|w| of each neuron, the largest |current| per unit of input."""
    magnitudes = np.abs(weight.reshape(len(weight), -1))
    return np.asarray(magnitudes.sum(axis=1, dtype=np.float64))


def _checked_bound(name: str, bound: float, exact: bool) -> int:
    if exact and bound >= EXACT_BOUND:
        raise _refuse(name, f"current can reach {bound:.0f}, exact engines need less than 2^24")
    if bound > FLOAT_BOUND:
        raise _refuse(name, "current can leave the range of float32")
    return int(np.ceil(bound))


def _check_readout(
    readout: Readout, classes: int, shapes: dict[str, Shape], sent: dict[str, int]
) -> None:
    source = _source_shape("readout", readout.source, shapes)
    weight = readout.weight
    if readout.source == INPUT:
        raise _refuse("readout", "reads the image, expected spikes")
    if weight.shape != (classes, math.prod(source)):
        raise _refuse("readout", f"weights {weight.shape} for {classes} labels, source {source}")
    if weight.dtype not in (np.int8, np.float32):
        raise _refuse("readout", f"weights are {weight.dtype}, expected int8 or float32")
    exact = weight.dtype == np.int8
    check_read_out(readout, sent)
    _check_weight("readout", weight, exact)
    for what, array in (("scale", readout.scale), ("bias", readout.bias)):
        if array.shape != (classes,) or array.dtype != np.float32:
            raise _refuse("readout", f"{what} is {array.dtype}{array.shape}, expected {classes}")
        _check_floats("readout", what, array)
    reach = _reach(weight) * sent[readout.source]
    _checked_bound("readout", float(reach.max()), exact)
    largest = np.abs(readout.scale.astype(np.float64)) * reach + np.abs(readout.bias)
    if largest.max() > FLOAT_BOUND:
        raise _refuse("readout", "a logit can leave the range of float32")
