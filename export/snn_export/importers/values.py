"""Signals and currents: what a layer's value is while a network is being folded, and the algebra.

A *signal* is what synapses can read: the picture, spikes, or pooled spikes with a factor (a mean
over k×k is a sum with 1/k²). A *current* is what neurons compare: synapses that add up. Between two
neurons there is one set of weights, so

    normalisation of a current    scales its synapses                         fold_norm
    max pooling of a current      is OR of the spikes behind it: max x > θ ⇔ any x > θ
    mean pooling of a current     is a convolution with a larger kernel and stride, exactly:
                                  W′[y] = 1/p² Σ_a W[y − a s], a < p; stride p s, side k + (p−1) s
    spikes added to a current     are one more synapse, the identity
"""

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from snn_export.fold import Array, Synapse, check_pooled_before_norm, fold_norm
from snn_export.importers.layers import Normalised, Pooled, Weighted, unsupported
from snn_runtime.graph import Shape


@dataclass(frozen=True, eq=False)
class Signal:
    """What a synapse can read."""

    node: str
    shape: Shape
    """(C, H, W) or (O,), of the node."""
    factor: float = 1.0
    """By which the node's integers are to be multiplied."""
    flat: bool = False


@dataclass(frozen=True, eq=False)
class Current:
    """What neurons compare with their threshold."""

    synapses: tuple[Synapse, ...]
    shape: Shape
    """Of the synapses' sum, before any of `pools`."""
    constants: Array
    """`[O]`: magnitudes of all constants added on the way, which floats may have rounded."""
    pools: tuple[int, ...] = ()
    """Max pooling still to be done, on the spikes."""
    flat: bool = False


Value: TypeAlias = Signal | Current


def as_current(name: str, value: Value) -> Current:
    """Return spikes as a current: the identity synapse."""
    if isinstance(value, Current):
        return value
    if len(value.shape) == 3 and not value.flat:
        weight = np.full((value.shape[0], 1, 1, 1), value.factor)
        synapse = Synapse(value.node, weight, groups=value.shape[0])
        return Current((synapse,), value.shape, np.zeros(value.shape[0]))
    size = math.prod(value.shape)
    if size > 2**12:
        raise unsupported(name, f"takes {size:,} values one by one, expected weights in front")
    synapse = Synapse(value.node, np.eye(size) * value.factor)
    return Current((synapse,), (size,), np.zeros(size))


def weighted(layer: Weighted, value: Value) -> Current:
    if isinstance(value, Current):
        raise unsupported(layer.name, "weights follow weights, expected neurons between them")
    weight, size = layer.weight, math.prod(value.shape)
    if weight.ndim == 2:
        if weight.shape[1] != size:
            raise unsupported(
                layer.name,
                f"takes {weight.shape[1]:,} values, its source gives {size:,}; is --image-size "
                "right?",
            )
        shape: Shape = (len(weight),)
    else:
        shape = _convolved(layer, value)
    bias = np.zeros(len(weight)) if layer.bias is None else layer.bias
    synapse = Synapse(
        value.node, weight * value.factor, layer.stride, layer.padding, layer.groups, bias
    )
    return Current((synapse,), shape, np.abs(bias))


def _convolved(layer: Weighted, value: Signal) -> Shape:
    out, inputs, *kernel = layer.weight.shape
    if len(value.shape) != 3 or value.flat or inputs * layer.groups != value.shape[0]:
        raise unsupported(
            layer.name, f"weights {layer.weight.shape} do not fit a source of {value.shape}"
        )
    sizes = zip(value.shape[1:], layer.padding, kernel, layer.stride, strict=True)
    spatial = tuple((size + 2 * pad - k) // step + 1 for size, pad, k, step in sizes)
    if min(spatial) < 1:
        raise unsupported(layer.name, f"its kernel does not fit a source of {value.shape}")
    return (out, *spatial)


def normalised(layer: Normalised, value: Value) -> Current:
    if isinstance(value, Signal):
        raise unsupported(layer.name, "normalises spikes or pixels, expected weights in front")
    norm = layer.norm
    if len(norm.gain) != value.shape[0]:
        raise unsupported(layer.name, f"has {len(norm.gain)} channels for {value.shape[0]}")
    if value.pools:
        check_pooled_before_norm(layer.name, norm)
    gain = np.abs(norm.gain / np.sqrt(norm.variance + norm.epsilon))
    first, *others = value.synapses
    # The shift comes once, the gain for every synapse.
    alone = replace(norm, mean=np.zeros_like(norm.mean), shift=np.zeros_like(norm.shift))
    synapses = (fold_norm(first, norm), *(fold_norm(s, alone) for s in others))
    constants = gain * (value.constants + np.abs(norm.mean)) + np.abs(norm.shift)
    return replace(value, synapses=synapses, constants=constants)


def joined(name: str, values: list[Value]) -> Current:
    if all(isinstance(value, Signal) for value in values):
        raise unsupported(name, "adds spikes to spikes, whose sums are no spikes")
    currents = [as_current(name, value) for value in values]
    if any(c.pools for c in currents) or len({c.shape for c in currents}) != 1:
        raise unsupported(name, "adds currents that are pooled or of different shapes")
    synapses = tuple(s for c in currents for s in c.synapses)
    constants = np.sum([c.constants for c in currents], axis=0)
    return Current(synapses, currents[0].shape, constants)


def mean_current(layer: Pooled, value: Current, kernel: int) -> Current:
    if value.pools:
        raise unsupported(layer.name, "a mean follows max pooling with no neurons between them")
    share = 1.0 if layer.kind == "sum" else 1 / kernel**2
    pooled = tuple(_widened(s, kernel, share) for s in value.synapses)
    factor = kernel**2 * share
    return Current(pooled, halved(layer.name, value.shape, kernel), value.constants * factor)


def _widened(synapse: Synapse, kernel: int, share: float) -> Synapse:
    out, inputs, height, width = synapse.weight.shape
    down, right = synapse.stride
    reach = ((kernel - 1) * down, (kernel - 1) * right)
    weight = np.zeros((out, inputs, height + reach[0], width + reach[1]))
    for row in range(0, reach[0] + 1, down):
        for column in range(0, reach[1] + 1, right):
            weight[:, :, row : row + height, column : column + width] += synapse.weight * share
    stride = (down * kernel, right * kernel)
    offset = synapse.offset * (kernel**2 * share)
    return replace(synapse, weight=weight, stride=stride, offset=offset)


def scaled(current: Current, gain: Array) -> Current:
    synapses = tuple(
        replace(
            s,
            weight=s.weight * gain.reshape(-1, *[1] * (s.weight.ndim - 1)),
            offset=s.offset * gain,
        )
        for s in current.synapses
    )
    return replace(current, synapses=synapses, constants=current.constants * np.abs(gain))


def per_channel(name: str, what: str, values: Array, current: Current) -> Array:
    """`[O]`, if the neurons of a channel are all alike.

    Raises:
        ModelError: `unsupported`.
    """
    shape = current.shape
    for kernel in current.pools:
        shape = halved(name, shape, kernel)
    try:
        full = np.broadcast_to(values, (math.prod(shape),) if current.flat else shape)
    except ValueError as error:
        raise unsupported(name, f"{what} of shape {values.shape} for neurons of {shape}") from error
    rows = full.reshape(shape[0], -1)
    if (rows != rows[:, :1]).any():
        raise unsupported(name, f"{what} differs within a channel, expected one a channel")
    return np.asarray(rows[:, 0], np.float64)


def halved(name: str, shape: Shape, kernel: int) -> Shape:
    channels, height, width = shape
    if kernel > min(height, width):
        raise unsupported(name, f"a window of {kernel} does not fit a map of {height}x{width}")
    return (channels, height // kernel, width // kernel)


def whole(name: str, value: Value) -> int:
    """The side of the map, for pooling over all of it."""
    shape = value.shape
    for kernel in value.pools if isinstance(value, Current) else ():
        shape = halved(name, shape, kernel)
    if len(shape) != 3 or shape[1] != shape[2]:
        raise unsupported(name, f"pools a whole map of {shape[1:]}, expected a square one")
    return shape[1]
