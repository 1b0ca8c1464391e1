"""NIR graphs: neurons in continuous time, of which one Euler step of Δt is taken.

    LIF         τ v̇ = v_leak − v + R I     v = v_leak + (Δt/τ) R I      from the membrane at rest
    IF            v̇ = R I                  v = v_reset + Δt R I
    Threshold                              v = I
    spike if v > v_threshold, strictly

Δt is not in the file. snnTorch writes τ = Δt/(1 − β), R = τ/Δt and SpikingJelly τ = τ_steps Δt,
both with Δt = 1e-4, so that one step gives back what their own neurons compute.
"""

from collections.abc import Callable
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np

from snn_export.fold import Array
from snn_export.importers.foreign import Foreign
from snn_export.importers.layers import (
    Fired,
    Flattened,
    Joined,
    Layer,
    Layers,
    Scaled,
    Weighted,
    dilated,
    pair,
    readout_notes,
    unsupported,
    unused,
)
from snn_export.importers.modular import padding_of, pool
from snn_export.importers.picture import Picture
from snn_export.pools import Window
from snn_runtime.errors import ModelError
from snn_runtime.graph import INPUT

TIMESTEP = 1e-4
"""Seconds; what snnTorch and SpikingJelly write by default."""


def from_graph(
    graph: Any, picture: Picture, timestep: float = TIMESTEP, notes: tuple[str, ...] = ()
) -> Foreign:
    """Return the network in a `nir.NIRGraph`, for one step of `timestep` seconds.

    Args:
        notes: what must be known of its file.

    Raises:
        ModelError: recurrent, several inputs or outputs, or a node that one step cannot express.
    """
    layers: list[Layer] = []
    values: dict[str, str] = {}
    sources = _sources(graph)
    output = _only(graph, "Output", "output")
    values[_only(graph, "Input", "input")] = INPUT
    for name in _ordered(sources):
        if name in values or name == output:
            continue
        read_from = [values[source] for source in sources[name] if source in values]
        if not read_from:
            raise unsupported(name, "reads nothing that comes from the input")
        if len(read_from) > 1:
            layers.append(Joined(_distinct(f"{name}.sum", graph, layers), tuple(read_from)))
            read_from = [layers[-1].name]
        own = name if name != INPUT else _distinct(name, graph, layers)
        layers.append(_layer(own, graph.nodes[name], read_from[0], timestep))
        values[name] = layers[-1].name
    last = [values[source] for source in sources[output]]
    if len(last) != 1:
        raise unsupported(output, f"reads {len(last)} nodes, expected one")
    found = Layers(tuple(layers), last[0])
    return Foreign.of_data("nir", found, picture, (*_notes(found, timestep), *notes))


def input_size(graph: Any) -> tuple[int, int] | None:
    """Return (height, width) if the graph's input says them."""
    shape = np.ravel(graph.nodes[_only(graph, "Input", "input")].input_type["input"])
    return (int(shape[1]), int(shape[2])) if len(shape) == 3 else None


def _layer(name: str, node: Any, source: str, timestep: float) -> Layer:
    kind = type(node).__name__
    if kind in ("LIF", "IF", "Threshold"):
        return _neurons(name, kind, node, source, timestep)
    reader = _READERS.get(kind)
    if reader is None:
        raise unsupported(
            name,
            f"{kind} is not among the NIR nodes that can be exported: "
            f"{', '.join(_READERS)}, LIF, IF, Threshold",
        )
    return reader(name, node, source)


def _neurons(name: str, kind: str, node: Any, source: str, timestep: float) -> Fired:
    if kind == "Threshold":
        threshold = _array(node.threshold)
        return Fired(name, source, threshold, np.ones(()), np.zeros(()))
    if kind == "IF":
        gain, rest = timestep * _array(node.r), _array(node.v_reset)
    else:
        gain, rest = timestep / _array(node.tau) * _array(node.r), _array(node.v_leak)
    return Fired(name, source, _array(node.v_threshold), gain, rest)


def _dense(name: str, node: Any, source: str) -> Weighted:
    weight = _array(node.weight)
    if weight.ndim != 2:
        raise unsupported(name, f"weights have shape {weight.shape}, expected two dimensions")
    bias = getattr(node, "bias", None)
    return Weighted(name, source, weight, None if bias is None else _array(bias))


def _convolution(name: str, node: Any, source: str) -> Weighted:
    weight = dilated(_array(node.weight), pair(node.dilation))
    padding = node.padding
    if isinstance(padding, bytes):
        padding = padding.decode()
    pads = padding_of(name, padding, weight) if isinstance(padding, str) else pair(padding)
    return Weighted(
        name, source, weight, _array(node.bias), pair(node.stride), pads, int(node.groups)
    )


def _sum_pool(name: str, node: Any, source: str) -> Layer:
    return pool(name, source, "sum", _window(node))


def _mean_pool(name: str, node: Any, source: str) -> Layer:
    return pool(name, source, "average", _window(node))


def _window(node: Any) -> Window:
    return Window(pair(node.kernel_size), pair(node.stride), pair(node.padding))


def _scale(name: str, node: Any, source: str) -> Scaled:
    return Scaled(name, source, _array(node.scale), np.zeros(()))


def _flatten(name: str, node: Any, source: str) -> Flattened:
    shape = node.output_type["output"]
    if shape is None or len(np.ravel(shape)) != 1:
        raise unsupported(name, f"flattens to {shape}, expected all dimensions into one")
    return Flattened(name, source)


_READERS: dict[str, Callable[[str, Any, str], Layer]] = {
    "Conv2d": _convolution,
    "Linear": _dense,
    "Affine": _dense,
    "SumPool2d": _sum_pool,
    "AvgPool2d": _mean_pool,
    "Flatten": _flatten,
    "Scale": _scale,
}


def _sources(graph: Any) -> dict[str, list[str]]:
    sources: dict[str, list[str]] = {str(name): [] for name in graph.nodes}
    for source, target in graph.edges:
        if source not in sources or target not in sources:
            raise unsupported(f"{source} → {target}", "is an edge to a node that is not there")
        sources[target].append(source)
    return sources


def _ordered(sources: dict[str, list[str]]) -> list[str]:
    try:
        return list(TopologicalSorter(sources).static_order())
    except CycleError as error:
        loop = " → ".join(error.args[1])
        raise ModelError("unsupported", f"{loop}: the graph is recurrent") from error


def _only(graph: Any, kind: str, what: str) -> str:
    names = [name for name, node in graph.nodes.items() if type(node).__name__ == kind]
    if len(names) != 1:
        raise ModelError("unsupported", f"{what}: the graph has {len(names)}, expected one")
    return str(names[0])


def _distinct(name: str, graph: Any, layers: list[Layer]) -> str:
    """A name that no layer has, and no node that is still to be one."""
    used = {layer.name for layer in layers} | {INPUT, *graph.nodes}
    return unused(name, used, ".")


def _notes(layers: Layers, timestep: float) -> tuple[str, ...]:
    step = f"one Euler step of {timestep:g} s from the membrane at rest; at θ neurons are silent"
    return (step, *readout_notes(layers))


def _array(values: Any) -> Array:
    return np.asarray(values, np.float64)
