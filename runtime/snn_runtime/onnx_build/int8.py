"""A dense float32 network to INT8, by ONNX Runtime's own quantiser.

QDQ, one scale a channel of weights and one a tensor of activations, which are uint8: what its
makers advise for CPUs, and what OpenVINO reads as well. Weights keep 7 bits, so that no processor's
16-bit sums of two products saturate (see `machine.saturation`): the file means the same everywhere.
The logits stay as the last layer's 32-bit sums make them.
"""

import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from onnx import ModelProto

from snn_runtime.graph import FloatArray

WEIGHT_BITS = 7


def quantise(model: ModelProto, batches: Iterable[FloatArray]) -> ModelProto:
    """Return the INT8 form of a network with one input and one output.

    Args:
        batches: What it is calibrated on, in the input's shape.
    """
    with tempfile.TemporaryDirectory(prefix="snn-quantise-") as folder:
        source, target = Path(folder, "float32.onnx"), Path(folder, "int8.onnx")
        source.write_bytes(model.SerializeToString())
        _quantise(source, target, _Calibration(model.graph.input[0].name, batches))
        made: ModelProto = ModelProto.FromString(target.read_bytes())
    _keep_sums(made)
    used = {node.domain for node in made.graph.node}
    opsets = [entry for entry in made.opset_import if entry.domain in used]
    del made.opset_import[:]  # ONNX Runtime names every domain that it knows, and itself
    made.opset_import.extend(opsets)
    del made.metadata_props[:]
    return made


class _Calibration:
    """A batch at a time, as the quantiser wants to be told."""

    def __init__(self, name: str, batches: Iterable[FloatArray]) -> None:
        self._name = name
        self._left: Iterator[FloatArray] = iter(batches)

    def get_next(self) -> dict[str, FloatArray] | None:
        batch = next(self._left, None)
        return None if batch is None else {self._name: batch}


def _quantise(source: Path, target: Path, calibration: _Calibration) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = target.with_suffix(".prepared.onnx")
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # its advice concerns operators that are not in here
    try:
        # Symbolic shape inference would need sympy; these shapes are plain.
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            calibration,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    finally:
        logging.root.setLevel(level)


def _keep_sums(model: ModelProto) -> None:
    """Take the rounding to bytes from the output: two classes would share a logit."""
    graph = model.graph
    makers = {node.output[0]: node for node in graph.node}
    restored = makers[graph.output[0].name]
    rounded = makers[restored.input[0]]
    last = makers[rounded.input[0]]
    assert (rounded.op_type, restored.op_type) == ("QuantizeLinear", "DequantizeLinear")
    last.output[0] = restored.output[0]
    for node in (rounded, restored):
        graph.node.remove(node)
    read = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)
