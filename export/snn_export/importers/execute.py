"""Layers run one by one in torch, in float32, with nothing folded: what `lower` must agree with.

For formats that are data without a program. Networks that come as a program are run themselves.
"""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from snn_export.fold import Array
from snn_export.importers.layers import (
    Fired,
    Flattened,
    Joined,
    Layer,
    Layers,
    Normalised,
    Pooled,
    Scaled,
    Weighted,
)
from snn_runtime.graph import INPUT

Spikes = dict[str, npt.NDArray[np.bool_] | npt.NDArray[np.uint8]]
"""Of every layer of neurons: bool, or of several levels how many."""


@torch.no_grad()
def execute(network: Layers, images: Tensor) -> tuple[Spikes, Tensor]:
    """Return the spikes of all neurons, by layer, and the logits, for normalised images."""
    values = {INPUT: images}
    spikes: Spikes = {}
    for layer in network.layers:
        if isinstance(layer, Joined):
            joined = torch.stack([values[s] for s in layer.sources])
            values[layer.name] = joined.sum(0) if layer.kind == "sum" else joined.prod(0)
            continue
        value = values[layer.source]
        if isinstance(layer, Fired):
            membrane = _tensor(layer.gain) * value + _tensor(layer.rest)
            if layer.name == network.output:
                return spikes, membrane
            above = membrane - _tensor(layer.threshold)
            fired = above >= 0 if layer.closed else above > 0
            spikes[layer.name] = fired.numpy()
            values[layer.name] = fired.float()
        else:
            values[layer.name] = _value(layer, value)
    return spikes, values[network.output]


def _value(layer: Layer, value: Tensor) -> Tensor:
    if isinstance(layer, Weighted):
        return _weighted(layer, value)
    if isinstance(layer, Normalised):
        norm = layer.norm
        mean, variance = _tensor(norm.mean), _tensor(norm.variance)
        gain, shift = _tensor(norm.gain), _tensor(norm.shift)
        return F.batch_norm(value, mean, variance, gain, shift, eps=norm.epsilon)
    if isinstance(layer, Flattened):
        return value.flatten(1)
    if isinstance(layer, Scaled):
        return _tensor(layer.gain) * value + _tensor(layer.shift)
    assert isinstance(layer, Pooled)
    return _pooled(layer, value)


def _pooled(layer: Pooled, value: Tensor) -> Tensor:
    window = layer.window
    if layer.kind == "max":
        return F.max_pool2d(value, window.kernel, window.stride, window.padding, window.dilation)
    divisor = 1 if layer.kind == "sum" else None
    return F.avg_pool2d(
        value, window.kernel, window.stride, window.padding, divisor_override=divisor
    )


def _weighted(layer: Weighted, value: Tensor) -> Tensor:
    weight = _tensor(layer.weight)
    bias = None if layer.bias is None else _tensor(layer.bias)
    if weight.ndim == 2:
        return F.linear(value.flatten(1), weight, bias)
    return F.conv2d(value, weight, bias, layer.stride, layer.padding, groups=layer.groups)


def _tensor(values: Array) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float64)).float()
