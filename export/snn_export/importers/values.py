"""Signals and currents: what a layer's value is while a network is being folded, and the algebra.

A *signal* is what synapses can read: the picture, spikes, or pooled spikes with a factor (a mean
over k×k is a sum with 1/k²). A *current* is what neurons compare: synapses that add up. Between two
neurons there is one set of weights, so

    normalisation of a current    scales its synapses                         fold_norm
    max pooling of a current      is OR of the spikes behind it: max x > θ ⇔ any x > θ
    mean pooling of a current     is a convolution with a larger kernel and stride, exactly:
                                  W′[y] = 1/p² Σ_a W[y − a s], a < p; stride p s, side k + (p−1) s
    spikes added to a current     are one more synapse, the identity
    spikes added to spikes        are a count, a node of the graph; times spikes they are AND
"""

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from snn_export.fold import Array, Synapse, check_pooled_before_norm, fold_norm
from snn_export.importers.layers import Normalised, Scaled, Weighted, unsupported
from snn_export.pools import Window
from snn_runtime.errors import ModelError
from snn_runtime.graph import INPUT, Shape


@dataclass(frozen=True, eq=False)
class Signal:
    """What a synapse can read."""

    node: str
    shape: Shape
    """(C, H, W) or (O,), of the node."""
    factor: float = 1.0
    """By which the node's integers are to be multiplied."""
    flat: bool = False
    most: int = 1
    """The largest integer that the node sends: 1 for spikes, more for counts of them."""


@dataclass(frozen=True, eq=False)
class Current:
    """What neurons compare with their threshold."""

    synapses: tuple[Synapse, ...]
    shape: Shape
    """The shape of the synapses' sum, before any of `pools`."""
    constants: Array
    """`[O]`: magnitudes of all constants added on the way, which floats may have rounded."""
    pools: tuple[Window, ...] = ()
    """Max pooling still to be done, on the spikes."""
    flat: bool = False
    most: int = 1
    """The largest integer that its synapses read."""
    cause: str = "weights"
    """Why it is a current."""


Value: TypeAlias = Signal | Current


def as_current(name: str, value: Value) -> Current:
    """Return spikes as a current: the identity synapse."""
    if isinstance(value, Current):
        return value
    if len(value.shape) == 3 and not value.flat:
        weight = np.full((value.shape[0], 1, 1, 1), value.factor)
        synapse = Synapse(value.node, weight, groups=value.shape[0])
        return Current((synapse,), value.shape, np.zeros(value.shape[0]), most=value.most)
    size = math.prod(value.shape)
    if size > 2**12:
        raise unsupported(name, f"takes {size:,} values one by one, expected weights in front")
    synapse = Synapse(value.node, np.eye(size) * value.factor)
    return Current((synapse,), (size,), np.zeros(size), most=value.most)


def weighted(layer: Weighted, value: Value) -> Current:
    if layer.bias is not None and layer.bias.shape != layer.weight.shape[:1]:
        problem = f"biases of shape {layer.bias.shape} for weights {layer.weight.shape}"
        raise unsupported(layer.name, f"{problem}, expected one a channel")
    if isinstance(value, Current):
        return _composed(layer, value)
    weight, size = layer.weight, math.prod(value.shape)
    if 0 in weight.shape:
        raise unsupported(layer.name, f"weights of shape {weight.shape} are empty")
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
    return Current((synapse,), shape, np.abs(bias), most=value.most)


def _composed(layer: Weighted, value: Current) -> Current:
    """W (V s + c) + b = (W V) s + (W c + b), of dense weights behind dense weights on spikes."""
    dense = layer.weight.ndim == 2 and all(s.weight.ndim == 2 for s in value.synapses)
    if not dense or value.pools or any(s.source == INPUT for s in value.synapses):
        raise unsupported(
            layer.name, f"weights follow {value.cause}, expected neurons between them"
        )
    weight = layer.weight
    synapses = tuple(
        replace(s, weight=weight @ s.weight, offset=weight @ (s.offset + np.zeros(len(s.weight))))
        for s in value.synapses
    )
    first, *others = synapses
    bias = np.zeros(len(weight)) if layer.bias is None else layer.bias
    # The original adds twice, and what cancels in the product may have been large before.
    passing = value.constants + sum(np.abs(s.weight).sum(1) * value.most for s in value.synapses)
    constants = np.abs(weight) @ passing + np.abs(bias)
    synapses = (replace(first, offset=first.offset + bias), *others)
    return Current(synapses, (len(weight),), constants)


def _convolved(layer: Weighted, value: Signal) -> Shape:
    out, inputs, *kernel = layer.weight.shape
    fits = inputs * layer.groups == value.shape[0] and out % layer.groups == 0
    if len(value.shape) != 3 or value.flat or not fits:
        raise unsupported(
            layer.name, f"weights {layer.weight.shape} do not fit a source of {value.shape}"
        )
    height, width = kernel
    spatial = Window((height, width), layer.stride, layer.padding).shape(value.shape[1:])
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
    if (norm.variance + norm.epsilon <= 0).any():
        least = float(norm.variance.min())
        raise ModelError(
            "bad_weights", f"{layer.name}: variance {least:g} is not positive, expected one above 0"
        )
    gain = np.abs(norm.scale)
    first, *others = value.synapses
    # The shift comes once, the gain for every synapse.
    alone = replace(norm, mean=np.zeros_like(norm.mean), shift=np.zeros_like(norm.shift))
    synapses = (fold_norm(first, norm), *(fold_norm(s, alone) for s in others))
    constants = gain * (value.constants + np.abs(norm.mean)) + np.abs(norm.shift)
    return replace(value, synapses=synapses, constants=constants)


def alike(values: list[Value]) -> list[Signal]:
    """`values` as signals that can be joined element by element, or none of them."""
    signals = [v for v in values if isinstance(v, Signal) and v.node != INPUT]
    kinds = {(signal.shape, signal.flat) for signal in signals}
    return signals if len(signals) == len(values) and len(kinds) == 1 else []


def joined(name: str, values: list[Value]) -> Current:
    currents = [as_current(name, value) for value in values]
    if any(c.pools for c in currents) or len({c.shape for c in currents}) != 1:
        raise unsupported(name, "adds currents that are pooled or of different shapes")
    synapses = tuple(s for c in currents for s in c.synapses)
    constants = np.sum([c.constants for c in currents], axis=0)
    most = max(c.most for c in currents)
    cause = (
        f"{name}, which adds spikes" if all(isinstance(v, Signal) for v in values) else "weights"
    )
    return Current(synapses, currents[0].shape, constants, most=most, cause=cause)


def rescaled(layer: Scaled, value: Value) -> Value:
    """g x + c"""
    one_gain = (layer.gain == layer.gain.flat[0]).all()
    if isinstance(value, Signal) and one_gain and not layer.shift.any():
        return replace(value, factor=value.factor * float(layer.gain.flat[0]))
    if isinstance(value, Signal) and value.node == INPUT:
        raise unsupported(
            layer.name, "normalises the picture; leave that out of forward, --mean and --std say it"
        )
    current = as_current(layer.name, value)
    if isinstance(value, Signal):
        current = replace(current, cause=f"{layer.name}, which scales or shifts spikes")
    gain = per_channel(layer.name, "factor", layer.gain, current)
    shift = per_channel(layer.name, "constant", layer.shift, current)
    return moved(layer.name, current, gain, shift)


def moved(name: str, current: Current, gain: Array, shift: Array) -> Current:
    """g x + c, `[O]` each."""
    if current.pools and (gain <= 0).any():
        raise unsupported(name, "a gain that is not positive follows max pooling")
    driven = scaled(current, gain)
    first, *others = driven.synapses
    synapses = (replace(first, offset=first.offset + shift), *others)
    return replace(driven, synapses=synapses, constants=driven.constants + np.abs(shift))


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
        ModelError: `unsupported`; `bad_weights` or `bad_threshold`, for NaN differs from itself.
    """
    shape = current.shape
    for window in current.pools:
        shape = shrunk(name, shape, window)
    try:
        full = np.broadcast_to(values, (math.prod(shape),) if current.flat else shape)
    except ValueError as error:
        raise unsupported(name, f"{what} of shape {values.shape} for neurons of {shape}") from error
    if not np.isfinite(full).all():
        code = "bad_threshold" if what == "threshold" else "bad_weights"
        raise ModelError(code, f"{name}: {what} holds a number that is not finite")
    rows = full.reshape(shape[0], -1)
    if (rows != rows[:, :1]).any():
        raise unsupported(name, f"{what} differs within a channel, expected one a channel")
    return np.asarray(rows[:, 0], np.float64)


def shrunk(name: str, shape: Shape, window: Window) -> Shape:
    """The shape behind a pool."""
    channels, *sides = shape
    rows, columns = window.shape(sides)
    if min(rows, columns) < 1:
        height, width = window.kernel
        tall = f"{height}" if height == width else f"{height}x{width}"
        raise unsupported(name, f"a window of {tall} does not fit a map of {sides[0]}x{sides[1]}")
    return (channels, rows, columns)
