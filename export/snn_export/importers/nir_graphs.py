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
    Pooled,
    Scaled,
    Weighted,
    dilated,
    readout_notes,
    real,
    sides,
    unsupported,
    unused,
)
from snn_export.importers.modular import padding_of
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
        threshold = real(name, "threshold", node.threshold)
        return Fired(name, source, threshold, np.ones(()), np.zeros(()))
    gain = timestep * real(name, "r", node.r)
    if kind == "IF":
        rest = real(name, "v_reset", node.v_reset)
    else:
        tau, rest = real(name, "tau", node.tau), real(name, "v_leak", node.v_leak)
        if not (tau > 0).all():
            raise ModelError("bad_checkpoint", f"{name}: tau is {tau.min():g}, expected above 0")
        if tau.shape != gain.shape and 1 not in (tau.size, gain.size):
            raise unsupported(name, f"tau of shape {tau.shape} with r of shape {gain.shape}")
        gain = gain / tau
    return Fired(name, source, real(name, "v_threshold", node.v_threshold), gain, rest)


def _dense(name: str, node: Any, source: str) -> Weighted:
    weight = real(name, "weights", node.weight)
    if weight.ndim != 2:
        raise unsupported(name, f"weights have shape {weight.shape}, expected two dimensions")
    return Weighted(name, source, weight, _bias(name, node))


def _convolution(name: str, node: Any, source: str) -> Weighted:
    weight = real(name, "weights", node.weight)
    if weight.ndim != 4:
        raise unsupported(name, f"weights have shape {weight.shape}, expected four dimensions")
    weight = dilated(weight, sides(name, "dilation", node.dilation, 1))
    padding = node.padding
    if isinstance(padding, bytes):
        padding = padding.decode()
    if isinstance(padding, str):
        pads = padding_of(name, padding, weight)
    else:
        pads = sides(name, "padding", padding, 0)
    stride, groups = (sides(name, what, getattr(node, what), 1) for what in ("stride", "groups"))
    if groups[0] != groups[1]:
        raise ModelError("bad_checkpoint", f"{name}: groups is {groups}, expected one number")
    return Weighted(name, source, weight, _bias(name, node), stride, pads, groups[0])


def _bias(name: str, node: Any) -> Array | None:
    bias = getattr(node, "bias", None)
    return None if bias is None else real(name, "biases", bias)


def _sum_pool(name: str, node: Any, source: str) -> Layer:
    return Pooled(name, source, "sum", _window(name, node))


def _mean_pool(name: str, node: Any, source: str) -> Layer:
    return Pooled(name, source, "average", _window(name, node))


def _window(name: str, node: Any) -> Window:
    kernel, stride = (
        sides(name, what, getattr(node, what), 1) for what in ("kernel_size", "stride")
    )
    return Window(kernel, stride, sides(name, "padding", node.padding, 0))


def _scale(name: str, node: Any, source: str) -> Scaled:
    return Scaled(name, source, real(name, "factors", node.scale), np.zeros(()))


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
