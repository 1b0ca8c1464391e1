"""The ANN of stage 0 as an ordinary INT8 file: what a spiking network races at equal accuracy.

In recipe iir-bn a layer is ReLU(norm(maxpool(W ∗ x))), and its norm has no gain: it divides by
√(σ² + ε) > 0. What never falls commutes with the maximum, so with W′ and b′ as in `fold`

    ReLU(norm(maxpool(W ∗ x)))  =  maxpool(ReLU(W′ ∗ x + b′))

and of a residual sum alike, or of a norm with a gain, which comes before the pool. Engines fuse the
convolution, its bias and ReLU, and pool bytes.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch

from snn_export.fold import Synapse
from snn_export.report import Written
from snn_export.target import check_model_target
from snn_export.trained import Trained, array, synapse, window
from snn_export.unrounded import projection
from snn_export.verify import Accuracy, evidence, judge
from snn_runtime.errors import VerifyError
from snn_runtime.files import write_atomic
from snn_runtime.graph import INPUT, OUTPUT, READOUT, FloatArray
from snn_runtime.graph.projection import reaching_taps
from snn_runtime.model_file.dense import describe
from snn_runtime.onnx_build import BATCH, ModelProto, Operators, Value
from snn_runtime.onnx_build.float32 import flat, project
from snn_runtime.onnx_build.int8 import WEIGHT_BITS, quantise
from snn_train.data import DataSet
from snn_train.data.on_disk import Images, subset
from snn_train.network import Layer

CALIBRATION_IMAGES = 512
"""Of the training pictures, evenly spread over them."""
CALIBRATION_BATCH = 32
CLOSE = 1e-4
"""How far float32 logits may be from the trained network's, as a share of the largest."""


def export_dense(
    trained: Trained,
    path: Path,
    data: DataSet,
    *,
    labels: Sequence[str] | None = None,
    threads: int | None = None,
) -> Written:
    """Write the ANN `trained` as an INT8 file that ONNX Runtime and OpenVINO run as it is.

    Args:
        data: Calibrates with its training pictures and measures with its test pictures.
        labels: Names of the classes, instead of those it was trained with.
        threads: Of ONNX Runtime, while it measures.

    Raises:
        VerifyError: `parity`: float32 logits are not the trained network's.
        ResourceError: The file cannot be written.
    """
    check_model_target(path)
    network = relu_network(trained)
    proof = _prove(trained, network, data, threads)
    chosen = subset(data.train_images, _spread(len(data.train_images)))
    model = quantise(network, _batches(trained, chosen))
    session = _session(model, threads)
    accuracy, _ = judge(trained, lambda pixels: _logits(session, _inputs(trained, pixels)), data)
    facts = _facts(trained, network, accuracy, labels) | {
        "calibration": {"data": data.name, "images": len(chosen)},
        "proof": proof,
    }
    describe(model, facts)
    onnx.checker.check_model(model, full_check=True)
    write_atomic(path, model.SerializeToString(deterministic=True))
    facts |= {"file_bytes": path.stat().st_size}
    return Written(facts, _text(path, facts))


def _text(path: Path, facts: dict[str, Any]) -> str:
    size, proof, calibration = (facts[key] for key in ("input", "proof", "calibration"))
    accuracy = facts["accuracy"]
    return (
        f"{path}: a dense network, {facts['file_bytes']:,} bytes, {facts['parameters']:,} "
        f"parameters, {facts['multiply_adds']:,} multiply-adds, int8 of {facts['weight_bits']} "
        f"bits, one scale a channel, {len(facts['labels'])} labels\n"
        f"input float32 [N, 3, {size['height']}, {size['width']}]: (pixel - offset) / deviation, "
        "the numbers in its metadata\n"
        f"proven: checker passed; in float32 its logits are the trained network's on "
        f"{proof['images']} images, within {proof['difference']:.1e}\n"
        f"calibrated on {calibration['images']:,} training pictures of {calibration['data']}\n"
        f"accuracy on {accuracy['images']:,} test images: trained, float32 "
        f"{accuracy['trained']:.2%}, exported, INT8 {accuracy['exported']:.2%}, same answer for "
        f"{accuracy['agreement']:.2%}"
    )


def relu_network(trained: Trained) -> ModelProto:
    """Return the ANN in float32, normalisations folded, with a free batch dimension."""
    op, image, network = Operators("relu_network"), trained.image, trained.network
    sent = {INPUT: op.input(INPUT, np.float32, (BATCH, 3, image.height, image.width))}
    for layer in network.populations():
        last = sent[layer.plan.name] = _layer(op, layer, sent)
    weight = op.constant(f"{READOUT}/weight", _float32(array(network.readout.weight)))
    bias = network.readout.bias
    shift = np.zeros(weight.shape[0]) if bias is None else array(bias)
    stored = op.constant(f"{READOUT}/bias", _float32(shift))
    return op.model(op.gemm(OUTPUT, flat(op, last), weight, stored))


def _layer(op: Operators, layer: Layer, sent: dict[str, Value]) -> Value:
    """`pool(ReLU(Σ W′ ∗ x + b′))`"""
    plan = layer.plan
    total = _projected(op, plan.name, synapse(layer.synapse, layer.norm, plan.source, 1.0), sent)
    if plan.shortcut:
        other = sent[plan.shortcut]
        if layer.shortcut is not None:
            part = synapse(layer.shortcut, layer.shortcut_norm, plan.shortcut, 1.0)
            other = _projected(op, f"{plan.name}/shortcut", part, sent)
        total = op.add(f"{plan.name}/joined", total, other)
    active = op.relu(f"{plan.name}/relu", total)
    if plan.pool == 1:
        return active
    looks, name = window(plan), f"{plan.name}/pool"
    if layer.max_pool:
        return op.max_pool(name, active, looks.kernel, looks.stride, looks.padding * 2)
    return op.average_pool(name, active, looks.kernel, looks.stride)


def _projected(op: Operators, name: str, part: Synapse, sent: dict[str, Value]) -> Value:
    weight = _float32(part.weight)
    offset = np.broadcast_to(np.asarray(part.offset, np.float64), (len(weight),))
    stored = op.constant(f"{name}/weight", weight)
    bias = op.constant(f"{name}/bias", _float32(offset))
    return project(op, name, projection(part, weight), sent[part.source], stored, bias)


def _prove(
    trained: Trained, network: ModelProto, data: DataSet, threads: int | None
) -> dict[str, Any]:
    pixels = evidence(trained.image, data)
    ours = _logits(_session(network, threads), _inputs(trained, pixels))
    with torch.no_grad():
        theirs = trained.logits(torch.from_numpy(pixels)).numpy()
    difference = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    if not difference <= CLOSE:
        raise VerifyError(
            "parity",
            f"float32 logits are {difference:.1e} of the largest away from the trained network's, "
            f"expected at most {CLOSE:g}; please report it",
        )
    return {"images": len(pixels), "difference": difference}


def _facts(
    trained: Trained, network: ModelProto, accuracy: Accuracy, labels: Sequence[str] | None
) -> dict[str, Any]:
    image, pixels = trained.image, trained.experiment.normalisation
    parameters = sum(int(np.prod(tensor.dims)) for tensor in network.graph.initializer)
    return {
        "labels": list(labels or trained.labels),
        "input": {
            "height": image.height,
            "width": image.width,
            "offset": list(pixels.offset),
            "deviation": list(pixels.deviation),
            "fit": image.fit,
        },
        "parameters": parameters,
        "multiply_adds": multiply_adds(network),
        "weight_bits": WEIGHT_BITS,
        "accuracy": {k: v for k, v in vars(accuracy).items() if k != "rates"},
        "provenance": trained.provenance(),
    }


def multiply_adds(network: ModelProto) -> int:
    """Of a picture in the float32 network, zero padding left out: no engine has to multiply it."""
    shapes = {tensor.name: list(tensor.dims) for tensor in network.graph.initializer}
    image = network.graph.input[0].type.tensor_type.shape.dim
    sizes = {INPUT: [image[2].dim_value, image[3].dim_value]}
    total = 0
    for node in network.graph.node:
        size = sizes.get(node.input[0], [])
        attributes = {each.name: list(each.ints) for each in node.attribute}
        if node.op_type == "Gemm":
            total += int(np.prod(shapes[node.input[1]]))
        elif "kernel_shape" in attributes:
            padding = attributes.get("pads", [0, 0])[:2]
            windows = list(
                zip(size, attributes["kernel_shape"], attributes["strides"], padding, strict=True)
            )
            size = [(n + 2 * p - k) // s + 1 for n, k, s, p in windows]
            if node.op_type == "Conv":
                out, inputs, *_ = shapes[node.input[1]]
                rows, columns = (int(reaching_taps(*window).sum()) for window in windows)
                total += out * inputs * rows * columns
        sizes[node.output[0]] = size
    return total


def _spread(count: int) -> torch.Tensor:
    return torch.linspace(0, count - 1, min(count, CALIBRATION_IMAGES)).round().long()


def _batches(trained: Trained, images: Images) -> Iterator[FloatArray]:
    for start in range(0, len(images), CALIBRATION_BATCH):
        yield _inputs(trained, images[start : start + CALIBRATION_BATCH].numpy())


def _inputs(trained: Trained, pixels: Any) -> FloatArray:
    """float32 `[N, 3, H, W]` for uint8 `[N, H, W, 3]`, as the network was trained on them."""
    normalised = trained.experiment.normalisation(torch.from_numpy(pixels))
    return np.ascontiguousarray(normalised.numpy())


def _session(model: ModelProto, threads: int | None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3
    data = model.SerializeToString()
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _logits(session: ort.InferenceSession, inputs: FloatArray) -> FloatArray:
    logits: FloatArray = session.run(None, {INPUT: inputs})[0]
    return logits


def _float32(values: Any) -> FloatArray:
    return np.ascontiguousarray(values, dtype=np.float32)
