"""Layers to a FoldedNetwork: who fires into whom, through which weights, above which threshold.

The algebra is that of `values`; what it has no rule for, such as weights behind weights, is refused
by the layer's name. A network may end in weights or in neurons: those become the readout, with
their membranes for logits.
"""

import re
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from snn_export.fold import Array, FoldedNetwork, Neurons, Synapse, fold_threshold
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
    unsupported,
    unused,
)
from snn_export.importers.picture import Picture, colours
from snn_export.importers.pooling import (
    check_maximum,
    mean_current,
    pooled_shape,
    seen,
)
from snn_export.importers.readout import readout
from snn_export.importers.values import (
    Current,
    Signal,
    Value,
    alike,
    as_current,
    joined,
    moved,
    normalised,
    per_channel,
    rescaled,
    shrunk,
    weighted,
)
from snn_export.pools import ored
from snn_runtime.graph import INPUT, Elementwise, Pool, Weightless
from snn_runtime.graph.annotations import RESERVED


@dataclass(frozen=True)
class Watched:
    """Where a layer's spikes are found in the graph."""

    layer: str
    population: str
    pools: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Lowered:
    """A folded network and what it takes to compare it with the one it came from."""

    network: FoldedNetwork
    channels: int
    """Channels of the picture that the network was trained on, 1 or 3."""
    watched: tuple[Watched, ...]
    constants: dict[str, Array]
    """For every population and `readout`, see `Current`."""
    exact: bool = False
    """Whether it computes in integers, so that no difference comes of rounding."""


def lower(network: Layers, picture: Picture) -> Lowered:
    """Fold `network`, trained on `picture`.

    Raises:
        ModelError: `unsupported`, naming a layer that has no place in a T = 1 graph; what folding
            refuses.
    """
    return _Lowering(network, picture).run()


class _Lowering:
    def __init__(self, network: Layers, picture: Picture) -> None:
        self.network, self.picture = network, picture
        self.channels = colours(network, picture)
        signal = Signal(INPUT, (self.channels, picture.height, picture.width))
        self.values: dict[str, Value] = {INPUT: signal}
        self.nodes: list[Neurons | Weightless] = []
        self.complements: dict[str, Signal] = {}
        """The spikes s of layers that give 1 − s."""
        self.watched: list[Watched] = []
        self.constants: dict[str, Array] = {}

    def run(self) -> Lowered:
        for layer in self.network.layers:
            self.values[layer.name] = self._value(layer)
        last, labels = self.values[self.network.output], self.picture.labels
        signals = (each for each in self.values.values() if isinstance(each, Signal))
        shapes = {signal.node: signal.shape for signal in signals}
        end = readout(self.network.output, last, len(labels), shapes)
        constants = last.constants if isinstance(last, Current) else np.zeros(len(labels))
        self.constants["readout"] = constants
        folded = FoldedNetwork(self.picture.image, tuple(self.nodes), end, labels)
        return Lowered(folded, self.channels, tuple(self.watched), self.constants)

    def _value(self, layer: Layer) -> Value:
        if isinstance(layer, Joined):
            return self._joined(layer)
        value = self.values[layer.source]
        if isinstance(layer, Flattened):
            return replace(value, flat=True)
        if isinstance(layer, Weighted):
            return weighted(layer, value)
        if isinstance(layer, Normalised):
            return normalised(layer, value)
        if isinstance(layer, Scaled):
            if isinstance(value, Signal) and (layer.gain == -1).all() and (layer.shift == 1).all():
                self.complements[layer.name] = value
            return rescaled(layer, value)
        if isinstance(layer, Pooled):
            return self._pooled(layer, value)
        return self._fired(layer, value)

    def _pooled(self, layer: Pooled, value: Value) -> Value:
        if len(value.shape) != 3 or value.flat:
            raise unsupported(layer.name, "pools what is no map of channels, rows and columns")
        window = layer.window
        scale = 1 / window.taps.sum() if layer.kind == "average" else 1.0
        if isinstance(value, Current):
            if layer.kind == "max":
                shrunk(layer.name, pooled_shape(layer.name, value), window)
                return replace(value, pools=(*value.pools, window))
            return mean_current(layer.name, value, window, scale)
        if value.node == INPUT:
            raise unsupported(layer.name, "pools the picture; resize the picture instead")
        shape = shrunk(layer.name, value.shape, window)
        if layer.kind != "max" and not window.side:
            return seen(layer.name, value, window, scale)
        if layer.kind == "max":
            check_maximum(layer.name, value, window)
        name = self._name(layer.name)
        if layer.kind == "max":
            self.nodes.append(ored(name, value.node, window, shape[0]))
            return replace(value, node=name, shape=shape)
        self.nodes.append(Pool(name, value.node, "sum", window.side))
        return Signal(name, shape, value.factor * scale, most=value.most * window.side**2)

    def _joined(self, layer: Joined) -> Value:
        values = [self.values[source] for source in layer.sources]
        if layer.kind == "product":
            return self._product(layer, values)
        signals = alike(values)
        if len({signal.factor for signal in signals}) != 1:
            return joined(layer.name, values)
        total, *others = signals
        for other in others:
            most = total.most + other.most
            total = replace(self._elementwise(layer, "add", total, other), most=most)
        return total

    def _product(self, layer: Joined, values: list[Value]) -> Signal:
        """x y, or x (1 − y), of spikes"""
        inverted = [self.complements.get(source) for source in layer.sources]
        kind: Literal["and", "iand"] = "iand" if any(inverted) else "and"
        pairs = sorted(zip(inverted, values, strict=True), key=lambda pair: pair[0] is not None)
        signals = alike([each or value for each, value in pairs])
        if not signals or all(inverted) or any(s.most > 1 or s.factor != 1 for s in signals):
            raise unsupported(
                layer.name,
                "multiplies what are not spikes; only spikes can be, by spikes (AND) or by one "
                "minus spikes (IAND)",
            )
        return self._elementwise(layer, kind, *signals)

    def _elementwise(
        self, layer: Joined, kind: Literal["add", "and", "iand"], first: Signal, second: Signal
    ) -> Signal:
        name = self._name(layer.name)
        self.nodes.append(Elementwise(name, kind, first.node, second.node))
        return replace(first, node=name)

    def _fired(self, layer: Fired, value: Value) -> Value:
        current = self._membrane(layer, as_current(layer.name, value))
        if layer.name == self.network.output:
            return current
        name = self._name(layer.name)
        levels = [(layer.threshold, layer.closed), *layer.higher]
        each = [per_channel(layer.name, "threshold", theta, current) for theta, _ in levels]
        threshold, closed = np.array(each), np.array([at for _, at in levels])
        if not layer.higher:
            threshold, closed = threshold[0], closed[0]
        synapses = tuple(self._finished(s) for s in current.synapses)
        remedy = "raise it, and the current in front of it by as much"
        neurons = fold_threshold(name, synapses, threshold, closed=closed, remedy=remedy)
        self.nodes.append(neurons)
        self.constants[name] = current.constants + np.abs(each).max(axis=0)
        node, shape, pools = name, current.shape, []
        for window in current.pools:
            check_maximum(layer.name, Signal(node, shape, most=len(levels)), window)
            pools.append(self._name(f"{name}.pool"))
            self.nodes.append(ored(pools[-1], node, window, shape[0]))
            node, shape = pools[-1], shrunk(layer.name, shape, window)
        self.watched.append(Watched(layer.name, name, tuple(pools)))
        return Signal(node, shape, flat=current.flat, most=len(levels))

    def _membrane(self, layer: Fired, current: Current) -> Current:
        """a x + v₀"""
        gain = per_channel(layer.name, "gain", layer.gain, current)
        rest = per_channel(layer.name, "resting membrane", layer.rest, current)
        return moved(layer.name, current, gain, rest)

    def _finished(self, synapse: Synapse) -> Synapse:
        if synapse.source != INPUT:
            return synapse
        return self.picture.on_pixels(synapse, self.channels)

    def _name(self, wanted: str) -> str:
        """A name the graph allows and nothing else has."""
        base = re.sub(r"[^A-Za-z0-9_.-]", "_", wanted).lstrip(".-")[:90] or "node"
        return unused(base, RESERVED | {node.name for node in self.nodes})
