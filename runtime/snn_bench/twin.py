"""The dense twin: the same topology as an ordinary ReLU network, for engines made for those.

    y = ReLU(Σ_p ŵ_p ∗ x_p + b)        ŵ = (w − w̄) √(2 / Σ (w − w̄)²)

Weights are centred and scaled, a channel at a time, so that what leaves a layer is as large as what
came (He) and half of it is positive: thresholds, which did that for the spikes, are gone.

Where spikes are pooled by OR it takes the maximum, where they are summed the average. An identity
shortcut, which a SpikingGraph spells as a 1×1 depthwise convolution, is a plain addition. The input
is float32 `[N, 3, H, W]`, so that no pixel preprocessing is on the twin's bill.
"""

import logging
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from snn_runtime.graph import INPUT, FloatArray, Pool, Population, Projection, SpikingGraph
from snn_runtime.machine.describe import instruction_sets

OPSET = 17
IR_VERSION = 8
OUTPUT = "logits"
BATCH = "batch"
"""Name of the free dimension, which engines may fix."""
SPREAD = 64.0
"""Pixels are divided by this after the offset is subtracted: about their standard deviation."""
CALIBRATION_IMAGES = 8


def twin_input(graph: SpikingGraph, images: npt.NDArray[np.uint8]) -> FloatArray:
    """float32 `[N, 3, H, W]` for uint8 `[N, H, W, 3]`, centred and scaled."""
    offset = np.array(graph.image.offset, np.float32)
    scaled = (images.astype(np.float32) - offset) / np.float32(SPREAD)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def relu_twin(graph: SpikingGraph, seed: int = 0) -> ModelProto:
    """Return the float32 twin as an ONNX model with a free batch dimension `batch`."""
    twin = _Twin(graph, np.random.default_rng(seed))
    for node in graph.nodes:
        if isinstance(node, Pool):
            twin.pool(node)
        else:
            twin.population(node)
    twin.readout()
    image: list[str | int] = [BATCH, *graph.shapes[INPUT]]
    proto = helper.make_graph(
        twin.nodes,
        "relu_twin",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [BATCH, len(graph.labels)])],
        twin.tensors,
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(proto, opset_imports=[opset], ir_version=IR_VERSION)


def quantise(model: Path, target: Path, inputs: FloatArray) -> None:
    """Write the INT8 form of an ONNX file: QDQ, per channel, by ONNX Runtime's own quantiser.

    Activations are uint8 and weights int8, calibrated on `inputs` `[N, 3, H, W]`, as its makers
    advise for CPUs; weights keep 7 bits only on x86 without VNNI, where 8 would saturate.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = target.with_suffix(".prepared.onnx")
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # its advice concerns operators that are not in here
    try:
        # Symbolic shape inference would need sympy; these shapes are plain.
        quant_pre_process(model, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            _Calibration(inputs[:CALIBRATION_IMAGES]),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=saturates(),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    finally:
        logging.root.setLevel(level)
        prepared.unlink(missing_ok=True)


def saturates() -> bool:
    """Whether this processor adds products of uint8 and int8 in 16 bits, which 8 × 8 overflow."""
    x86 = platform.machine() in ("x86_64", "AMD64", "i686")
    return x86 and not any("vnni" in name for name in instruction_sets())


def centred(projection: Projection) -> FloatArray:
    """The weights less each output channel's mean."""
    weight = projection.weight.astype(np.float32)
    weight -= weight.mean(axis=tuple(range(1, weight.ndim)), keepdims=True)
    return weight


def is_identity(projection: Projection) -> bool:
    """Whether a projection hands each channel on by itself: an identity shortcut, scaled."""
    weight = projection.weight
    return (
        weight.ndim == 4
        and weight.shape[1:] == (1, 1, 1)
        and projection.groups == len(weight)
        and projection.stride == (1, 1)
    )


class _Calibration:
    """A CalibrationDataReader: one picture at a time."""

    def __init__(self, inputs: FloatArray) -> None:
        self._batches = self._walk(inputs)

    def get_next(self) -> dict[str, FloatArray] | None:
        return next(self._batches, None)

    @staticmethod
    def _walk(inputs: FloatArray) -> Iterator[dict[str, FloatArray]]:
        for index in range(len(inputs)):
            yield {INPUT: inputs[index : index + 1]}


class _Twin:
    """Nodes and tensors that grow."""

    def __init__(self, graph: SpikingGraph, rng: np.random.Generator) -> None:
        self.nodes: list[NodeProto] = []
        self.tensors: list[TensorProto] = []
        self._graph = graph
        self._rng = rng

    def population(self, node: Population) -> None:
        square = np.zeros(len(node.threshold))
        for projection in node.projections:
            if not is_identity(projection):
                square += np.square(centred(projection)).reshape(len(square), -1).sum(axis=1)
        scale = np.sqrt(2 / np.maximum(square, 1)).astype(np.float32)
        bias = self._rng.normal(0, 0.1, len(scale)).astype(np.float32)
        parts: list[str] = []
        # Weights first, so that the bias rides on a convolution.
        for index, projection in enumerate(sorted(node.projections, key=is_identity)):
            prefix = f"{node.name}/{index}"
            shift = np.zeros_like(bias) if index else bias
            parts.append(self._projection(projection, prefix, scale, shift))
        total = parts[0]
        for index, part in enumerate(parts[1:], 1):
            total = self._node("Add", [total, part], f"{node.name}/sum{index}")
        self._node("Relu", [total], node.name)

    def pool(self, node: Pool) -> None:
        kind = "MaxPool" if node.kind == "max" else "AveragePool"
        window = [node.kernel] * 2
        self._node(kind, [node.source], node.name, kernel_shape=window, strides=window)

    def readout(self) -> None:
        readout = self._graph.readout
        rows = readout.weight.astype(np.float32)
        scale = 1 / np.sqrt(np.maximum(np.einsum("oi,oi->o", rows, rows), 1))
        flat = self._flat(readout.source, "readout/flat")
        weight = self._tensor("readout/weight", rows * scale[:, None])
        bias = self._tensor("readout/bias", np.zeros(len(rows), np.float32))
        self._node("Gemm", [flat, weight, bias], OUTPUT, transB=1)

    def _projection(
        self, projection: Projection, prefix: str, scale: FloatArray, bias: FloatArray
    ) -> str:
        if is_identity(projection):
            return projection.source
        weight = centred(projection)
        weight *= scale.reshape(-1, *(1,) * (weight.ndim - 1))
        names = [self._tensor(f"{prefix}/weight", weight), self._tensor(f"{prefix}/bias", bias)]
        if weight.ndim == 2:
            flat = self._flat(projection.source, f"{prefix}/flat")
            return self._node("Gemm", [flat, *names], prefix, transB=1)
        return self._node(
            "Conv",
            [projection.source, *names],
            prefix,
            group=projection.groups,
            kernel_shape=weight.shape[2:],
            pads=projection.padding * 2,
            strides=projection.stride,
        )

    def _flat(self, source: str, name: str) -> str:
        if len(self._graph.shapes[source]) == 1:
            return source
        return self._node("Flatten", [source], name, axis=1)

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def _tensor(self, name: str, array: FloatArray) -> str:
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
        return name
