"""SpikingGraph with int8 weights to integer operators of ONNX Runtime: uint8 in, uint8 out.

    image → Concat(m) → Transpose                        six planes x, m with weights W, −W
    (Concat →) QLinearConv | QGemm                       a population, threshold and all
    MaxPool, or QLinearConv with ones                    a pool
    MatMulInteger (→ Div) → Cast → Mul(a) → Add(b)       the readout

A spike is the 255 at which a quantiser saturates. With u = 255 for spikes, 1 for counts and pixels,

    sent = min(255, max(0, round((Σ w u s − u k) · f))),    k = floor(θ),  u f ≥ 255

and θ = k + ½, so current > θ ⇔ current ≥ k + 1 ⇔ u · current − u k ≥ u: what fires saturates, and
all else is 0 or less. Where the quantiser may round there is nothing to be rounded.

The operators are written as they are executed: the QDQ form of the same fuses to them only where
the optimiser is on and recognises the pattern. No integer operator compares the sum of several
convolutions fast (ConvInteger is five times as slow as floats). What cannot be merged into one
convolution, could leave 32 bits, or has a threshold a position is summed in float32: exact too.
"""

from dataclasses import dataclass, replace

import numpy as np
from onnx import ModelProto, TensorProto

from snn_runtime.engines.onnxruntime.merge import Merged, merge, six_planes
from snn_runtime.engines.onnxruntime.nodes import (
    ONE,
    ORT_DOMAIN,
    SATURATING,
    SPIKE,
    SPIKE_TO_ONE,
    ZERO,
    Nodes,
    value,
)
from snn_runtime.graph import INPUT, Pool, Population, Projection, Readout, SpikingGraph
from snn_runtime.model_file.writer import CENTRED, OUTPUT, READOUT

LARGEST_COUNT = 255
"""Of a sum pool in uint8."""
INTEGER_BOUND = 2**22
"""Currents below this: 255 · (|current| + |k|) < 2³¹, as k is never further out than a current."""


@dataclass(frozen=True)
class _Sent:
    """What a node sends on."""

    tensor: str
    unit: int = 1
    """The number in the tensor that stands for one spike or one count."""
    integer: bool = True
    """uint8; otherwise float32, with unit 1."""


def lower(graph: SpikingGraph, *, signed: bool, watch: bool = False) -> ModelProto:
    """Return the ONNX model that computes an exact graph in integers.

    Args:
        graph: With int8 weights.
        signed: Keep weights as int8. Otherwise they are uint8 with zero point 128: the same numbers
            for processors that add products of uint8 and int8 in 16 bits, where these saturate.
        watch: Let every population's `name/fires` (bool) be an output as well.
    """
    lowering = _Lowering(graph, signed)
    lowering.image()
    for node in graph.nodes:
        if isinstance(node, Pool):
            lowering.pool(node)
        else:
            lowering.population(node)
    lowering.readout(graph.readout)
    outputs = [value(OUTPUT, TensorProto.FLOAT, graph.readout.bias.shape)]
    if watch:
        for node in graph.populations:
            lowering.watch(node.name)
            outputs.append(value(f"{node.name}/fires", TensorProto.BOOL, graph.shapes[node.name]))
    picture = value(INPUT, TensorProto.UINT8, (graph.image.height, graph.image.width, 3))
    return lowering.nodes.model([picture], outputs)


class _Lowering:
    """Nodes of a SpikingGraph become nodes of ONNX, one by one."""

    def __init__(self, graph: SpikingGraph, signed: bool) -> None:
        self.nodes = Nodes(signed=signed)
        self._node, self._tensor = self.nodes.node, self.nodes.tensor
        self._graph = graph
        self._shapes = graph.shapes | {INPUT: (6, graph.image.height, graph.image.width)}
        self._sent: dict[str, _Sent] = {}

    def image(self) -> None:
        """Put the colour offsets beside the pixels: Σ w (x − m) = Σ w x + Σ (−w) m.

        As m has planes of its own, padding them with zeros is padding after the subtraction.
        """
        offset = np.array(self._graph.image.offset, np.uint8).reshape(1, 1, 1, 3)
        self._node("Shape", [INPUT], f"{INPUT}/shape")
        inputs = [self._tensor(f"{INPUT}/offset", offset), f"{INPUT}/shape"]
        self._node("Expand", inputs, f"{INPUT}/offsets")
        self._node("Concat", [INPUT, f"{INPUT}/offsets"], f"{INPUT}/both", axis=3)
        self._node("Transpose", [f"{INPUT}/both"], f"{INPUT}/planes", perm=(0, 3, 1, 2))
        self._sent[INPUT] = _Sent(f"{INPUT}/planes")

    def population(self, node: Population) -> None:
        merged = None
        integer = all(self._sent[p.source].integer for p in node.projections)
        integer &= node.threshold.ndim == 1
        if integer and self._graph.bounds[node.name] < INTEGER_BOUND:
            projections = [six_planes(p) if p.source == INPUT else p for p in node.projections]
            merged = merge(projections, self._shapes, self._shapes[node.name])
        fired = self._fired_of_integers(node, merged) if merged else self._fired_of_floats(node)
        self._sent[node.name] = fired

    def pool(self, node: Pool) -> None:
        sent = self._sent[node.source]
        window = dict.fromkeys(("kernel_shape", "strides"), (node.kernel, node.kernel))
        if node.kind == "max":
            self._node("MaxPool", [sent.tensor], node.name, **window)
            self._sent[node.name] = replace(sent, tensor=node.name)
            return
        channels = self._shapes[node.source][0]
        ones = np.ones((channels, 1, node.kernel, node.kernel), np.int8)
        if self._graph.bounds[node.name] <= LARGEST_COUNT and sent.integer:
            # Off by a rounding of 1/255 at most, and then rounded to the count itself.
            scale = SPIKE_TO_ONE if sent.unit == SPIKE else ONE
            inputs = [sent.tensor, ONE, ZERO, *self.nodes.weight(node.name, ones), scale, ZERO]
            self._node("QLinearConv", inputs, node.name, group=channels, **window)
        else:
            stored = self._tensor(f"{node.name}/weight", ones.astype(np.float32))
            inputs = [self._floats(node.source), stored]
            self._node("Conv", inputs, node.name, group=channels, **window)
            sent = replace(sent, integer=False)
        self._sent[node.name] = replace(sent, tensor=node.name, unit=1)

    def readout(self, readout: Readout) -> None:
        """Each logit is one multiplication and one addition in float32, of an exact sum."""
        sent = self._sent[readout.source]
        # Only spikes need a look: a sum of counts is below 2^24, or there would be no graph.
        reach = np.abs(readout.weight.astype(np.int64)).sum(axis=1).max() * sent.unit
        sums = f"{READOUT}/sum"
        if not sent.integer or reach >= 2**31:
            flat = self._flat(self._floats(readout.source), readout.source)
            weight = self._tensor(f"{READOUT}/weight", readout.weight.astype(np.float32))
            self._node("Gemm", [flat, weight], sums, transB=1)
        else:
            flat = self._flat(sent.tensor, readout.source)
            weight, _, zero = self.nodes.weight(READOUT, readout.weight.T)
            total = self._node("MatMulInteger", [flat, weight, ZERO, zero], f"{READOUT}/total")
            if sent.unit != 1:
                unit = self._tensor(f"{READOUT}/unit", np.int32(sent.unit))
                total = self._node("Div", [total, unit], f"{READOUT}/whole")
            self._node("Cast", [total], sums, to=TensorProto.FLOAT)
        scale = self._tensor(f"{READOUT}/scale", readout.scale)
        bias = self._tensor(f"{READOUT}/bias", readout.bias)
        self._node("Mul", [sums, scale], f"{READOUT}/scaled")
        self._node("Add", [f"{READOUT}/scaled", bias], OUTPUT)

    def watch(self, name: str) -> None:
        self._node("Cast", [self._sent[name].tensor], f"{name}/fires", to=TensorProto.BOOL)

    def _fired_of_integers(self, node: Population, merged: Merged) -> _Sent:
        name, bound = node.name, self._graph.bounds[node.name]
        unit = min(self._sent[source].unit for source in merged.sources)
        # A threshold that no current reaches may as well be nearer.
        k = np.clip(np.floor(node.threshold).astype(np.int64), -bound - 1, bound)
        bias = self._tensor(f"{name}/bias", (-unit * k).astype(np.int32))
        scale = ONE if unit == SPIKE else SATURATING
        dense = merged.weight.ndim == 2
        weight = self.nodes.weight(name, merged.weight.T if dense else merged.weight)
        inputs = [self._joined(name, merged, unit, dense), ONE, ZERO, *weight]
        if dense:
            self._node("QGemm", [*inputs, bias, scale, ZERO], name, domain=ORT_DOMAIN)
        else:
            self._node(
                "QLinearConv",
                [*inputs, scale, ZERO, bias],
                name,
                group=merged.groups,
                kernel_shape=merged.weight.shape[2:],
                pads=merged.pads,
                strides=merged.stride,
            )
        return _Sent(name, SPIKE)

    def _joined(self, name: str, merged: Merged, unit: int, dense: bool) -> str:
        """All sources of a population side by side, in one unit."""
        parts: list[str] = []
        for i, (source, every) in enumerate(zip(merged.sources, merged.every, strict=True)):
            sent = self._sent[source]
            part = sent.tensor if sent.unit == unit else self._as_bits(source)
            part = self._flat(part, source) if dense else part
            if every != (1, 1):
                # ONNX Runtime keeps this in its own memory layout, and Slice it does not.
                kept = {"kernel_shape": (1, 1), "strides": every}
                part = self._node("MaxPool", [part], f"{name}/{i}/kept", **kept)
            parts.append(part)
        return parts[0] if len(parts) == 1 else self._node("Concat", parts, f"{name}/all", axis=1)

    def _fired_of_floats(self, node: Population) -> _Sent:
        name, partial = node.name, ""
        for i, projection in enumerate(node.projections):
            part = self._current_of_floats(projection, f"{name}/{i}")
            partial = self._node("Add", [partial, part], f"{name}/{i}/sum") if partial else part
        threshold = self._tensor(f"{name}/threshold", node.comparand)
        self._node("Greater", [partial, threshold], f"{name}/greater")
        self._node("Cast", [f"{name}/greater"], name, to=TensorProto.UINT8)
        return _Sent(name)

    def _current_of_floats(self, projection: Projection, prefix: str) -> str:
        source, weight = self._floats(projection.source), projection.weight.astype(np.float32)
        stored, current = self._tensor(f"{prefix}/weight", weight), f"{prefix}/current"
        if weight.ndim == 2:
            flat = self._flat(source, projection.source)
            return self._node("Gemm", [flat, stored], current, transB=1)
        return self._node(
            "Conv",
            [source, stored],
            current,
            group=projection.groups,
            kernel_shape=weight.shape[2:],
            pads=projection.padding * 2,
            strides=projection.stride,
        )

    def _floats(self, source: str) -> str:
        """What a source sends, as float32 with unit 1."""
        sent = self._sent[source]
        if not sent.integer:
            return sent.tensor
        if source == INPUT:
            offset = np.array(self._graph.image.offset, np.float32).reshape(1, 3, 1, 1)
            m = self._tensor(f"{INPUT}/float_offset", offset)
            x = self._node("Cast", [INPUT], f"{INPUT}/float", to=TensorProto.FLOAT)
            x = self._node("Transpose", [x], f"{INPUT}/float_planes", perm=(0, 3, 1, 2))
            return self._node("Sub", [x, m], CENTRED)
        counts = sent.tensor if sent.unit == 1 else self._as_bits(source)
        return self._node("Cast", [counts], f"{source}/float", to=TensorProto.FLOAT)

    def _as_bits(self, source: str) -> str:
        """255 to 1."""
        sent = self._sent[source].tensor
        bits = self._node("Cast", [sent], f"{source}/bool", to=TensorProto.BOOL)
        return self._node("Cast", [bits], f"{source}/bits", to=TensorProto.UINT8)

    def _flat(self, tensor: str, source: str) -> str:
        if len(self._shapes[source]) == 1:
            return tensor
        return self._node("Flatten", [tensor], f"{tensor}/flat", axis=1)
