"""The end of a network that is being folded: one dense layer, however it is written."""

import numpy as np

from snn_export.fold import Array, FoldedReadout, Synapse
from snn_export.importers.layers import unsupported
from snn_export.importers.values import Current, Signal, Value, as_current
from snn_runtime.errors import ModelError
from snn_runtime.graph import INPUT, Shape
from snn_runtime.graph.projection import ungrouped


def readout(name: str, value: Value, classes: int, shapes: dict[str, Shape]) -> FoldedReadout:
    """Return the readout that gives `value`, of the layer `name`.

    Args:
        shapes: Of the nodes, (C, H, W) or (O,).

    Raises:
        ModelError: it is no dense layer, or not one of one output a class.
    """
    current = _current(name, value)
    if len(current.synapses) != 1 or current.pools:
        raise unsupported(name, "the output is not one dense layer")
    (synapse,) = current.synapses
    if synapse.source == INPUT:
        raise unsupported(name, "the output reads the picture, expected neurons in front of it")
    weight = synapse.weight
    if weight.ndim == 4:
        if current.shape[1:] != (1, 1):
            raise unsupported(name, "the output is a map, expected one value a class")
        weight = _dense(synapse, shapes[synapse.source])
    if len(weight) != classes:
        raise ModelError(
            "bad_labels",
            f"{name}: has {len(weight)} outputs for {classes} labels; --labels must name every "
            "class",
        )
    if not np.isfinite(weight).all() or not np.isfinite(synapse.offset).all():
        raise ModelError("bad_weights", f"{name}: a weight or bias is not finite")
    bias = np.broadcast_to(np.asarray(synapse.offset, np.float64), (len(weight),))
    return FoldedReadout(synapse.source, weight, bias)


def _current(name: str, value: Value) -> Current:
    if isinstance(value, Current):
        return value
    if value.node == INPUT:
        raise unsupported(name, "ends in the picture, expected weights or neurons")
    # Such as spikes that were counted: one count a class.
    return as_current(name, Signal(value.node, value.shape, value.factor, True, value.most))


def _dense(synapse: Synapse, shape: Shape) -> Array:
    """`[O, C H W]`: a convolution at one place, zeros where it does not read the map."""
    weight = ungrouped(synapse.weight, synapse.groups)
    _, _, *kernel = weight.shape
    _, height, width = shape
    (top, left), (rows, columns) = synapse.padding, kernel
    full = np.zeros((*weight.shape[:2], height + 2 * top, width + 2 * left))
    full[:, :, :rows, :columns] = weight
    return full[:, :, top : top + height, left : left + width].reshape(len(weight), -1)
