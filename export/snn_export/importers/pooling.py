"""Pools while a network is folded: of spikes, or of the currents that are to become spikes.

max of spikes, windows that tile       a Pool: OR
max of spikes, any other windows       neurons with weights of one and θ = ½, a channel each: OR too
max of a current                       the same behind the neurons: max x > θ ⇔ any x > θ
mean or sum of spikes, tiling          a Pool: counts, with a factor
mean or sum of spikes, other windows   a current, with one weight a channel and tap
mean or sum of a current               a larger kernel and stride, exactly
"""

from dataclasses import replace

import numpy as np

from snn_export.fold import Synapse
from snn_export.importers.layers import unsupported
from snn_export.importers.values import Current, Signal, Value, shrunk
from snn_export.pools import Window
from snn_runtime.graph import Shape


def mean_current(name: str, value: Current, window: Window, scale: float) -> Current:
    """Add up what the window sees of a current, times `scale`."""
    if value.pools:
        raise unsupported(name, "a mean follows max pooling with no neurons between them")
    if any(window.padding):
        raise unsupported(name, "a mean of currents over a padded map cannot be exported")
    shape = shrunk(name, value.shape, window)
    pooled = tuple(_widened(s, window, scale) for s in value.synapses)
    constants = value.constants * (window.taps.sum() * scale)
    return Current(pooled, shape, constants, most=value.most)


def _widened(synapse: Synapse, window: Window, scale: float) -> Synapse:
    out, inputs, height, width = synapse.weight.shape
    down, right = synapse.stride
    rows, columns = window.kernel
    weight = np.zeros((out, inputs, height + (rows - 1) * down, width + (columns - 1) * right))
    for row in range(0, rows * down, down):
        for column in range(0, columns * right, right):
            weight[:, :, row : row + height, column : column + width] += synapse.weight * scale
    stride = (down * window.stride[0], right * window.stride[1])
    offset = synapse.offset * (rows * columns * scale)
    return replace(synapse, weight=weight, stride=stride, offset=offset)


def seen(name: str, value: Signal, window: Window, scale: float) -> Current:
    """Add up what windows see of spikes, times `scale`: one weight a channel and tap."""
    channels = value.shape[0]
    weight = np.broadcast_to(window.taps, (channels, 1, *window.taps.shape)) * value.factor * scale
    synapse = Synapse(value.node, weight, window.stride, window.padding, channels)
    shape = shrunk(name, value.shape, window)
    cause = f"{name}, a mean or sum of spikes in windows that do not tile the map"
    return Current((synapse,), shape, np.zeros(channels), most=value.most, cause=cause)


def pooled_shape(name: str, value: Value) -> Shape:
    """The shape of a value behind the pools that a current still has to go through."""
    shape = value.shape
    for window in value.pools if isinstance(value, Current) else ():
        shape = shrunk(name, shape, window)
    return shape


def check_maximum(name: str, value: Signal, window: Window) -> None:
    """Refuse a maximum that is no OR.

    Raises:
        ModelError: `unsupported`.
    """
    if value.factor < 0:
        raise unsupported(name, "is the maximum of spikes times a negative number")
    if value.most > 1 and not window.side:
        raise unsupported(
            name,
            f"is the maximum of counts up to {value.most} in windows that overlap or are padded: "
            "only that of spikes is an OR",
        )
