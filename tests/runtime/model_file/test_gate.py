"""The gate is total: any bytes give a graph or one sentence, quickly, and nothing is smuggled."""

import json
import os
import pickle
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from graphs import example, example_of_levels, packed
from hypothesis import example as instance
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from snn_runtime.calibration import Calibration
from snn_runtime.errors import ModelError, SnnError, VerifyError
from snn_runtime.graph import Builder, Image
from snn_runtime.model_file import gate, read, to_bytes, wire, write
from snn_runtime.onnx_build import messages

Edit = Callable[[ModelProto], Any]
VALID, HALVES = to_bytes(example()), to_bytes(packed(example()))
"""Files of int8 and of int4 weights."""


def edited(edit: Edit, valid: bytes = VALID) -> bytes:
    model = ModelProto.FromString(valid)
    edit(model)
    return bytes(model.SerializeToString())


def refusal(data: bytes | Path) -> SnnError:
    """Read what must be refused, and hold the refusal to its form."""
    start = time.process_time()
    with pytest.raises(SnnError) as caught:
        read(data)
    assert time.process_time() - start < 2
    text = str(caught.value)
    assert len(text) < 600
    assert text.isprintable()  # one line, and nothing that a terminal obeys
    return caught.value


def tensor(model: ModelProto, name: str) -> TensorProto:
    found: TensorProto = next(t for t in model.graph.initializer if t.name == name)
    return found


def node(model: ModelProto, name: str) -> NodeProto:
    found: NodeProto = next(n for n in model.graph.node if n.name == name)
    return found


def reshaped(name: str, *shape: int) -> Edit:
    """A tensor of halves in place of another."""

    def edit(model: ModelProto) -> None:
        found = tensor(model, name)
        found.dims[:] = shape
        found.raw_data = np.full(shape, 0.5, np.float32).tobytes()

    return edit


def set_metadata(key: str, value: str) -> Edit:
    def edit(model: ModelProto) -> None:
        next(e for e in model.metadata_props if e.key == f"snn.{key}").value = value

    return edit


def add_node(op: str, domain: str = "", **attributes: Any) -> Edit:
    made = helper.make_node(op, ["conv1"], ["conv1/extra"], domain=domain, **attributes)
    return lambda model: model.graph.node.insert(7, made)


def archive(name: str) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(name, "x" * 100)
    return buffer.getvalue()


# A35
NOT_MODELS = {
    "empty": (b"", "is empty"),
    "random": (bytes(range(7, 250)) * 9, "no ONNX file"),
    "zeros": (bytes(1000), "no ONNX file"),
    "text": (b"Not found\n", "no ONNX file"),
    "html": (b"\n <!DOCTYPE html><title>404", "looks like HTML or XML"),
    "xml with a mark": (b"\xef\xbb\xbf<?xml", "looks like HTML or XML"),
    "zip": (archive("readme"), "looks like a zip archive"),
    "pt": (archive("model/data.pkl"), "looks like a PyTorch checkpoint"),
    "pickle": (pickle.dumps([1], protocol=2), "looks like a Python pickle"),
    "engine": (b"ftrt" + bytes(100), "looks like a TensorRT engine"),
    "old engine": (b"ptrt" + bytes(100), "looks like a TensorRT engine"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\n", "looks like a Git LFS pointer"),
    "png": (b"\x89PNG\r\n\x1a\n", "looks like a PNG image"),
    "jpeg": (b"\xff\xd8\xff\xe0", "looks like a JPEG image"),
    "gzip": (b"\x1f\x8b\x08", "looks like a gzip archive"),
    "program": (b"\x7fELF", "looks like a program"),
    "json": (b'{"a": 1}', "looks like JSON"),
    "half": (VALID[: len(VALID) // 2], "damaged, cut off"),
    "one byte short": (VALID[:-1], "damaged, cut off"),
    "one byte more": (VALID + b"\x01", "damaged, cut off"),
    "twice": (VALID + VALID, "has"),
    "no graph": (edited(lambda m: m.ClearField("graph")), "holds no network"),
    "deep": (b"\x3a\x84\x80\x04" + b"\x5b" * 65540, "damaged, cut off"),
}


@pytest.mark.parametrize("case", NOT_MODELS)
def test_what_is_no_model(case: str, tmp_path: Path) -> None:
    data, message = NOT_MODELS[case]
    assert message in str(refusal(data))
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    error = refusal(path)
    assert isinstance(error, ModelError)
    assert str(error).startswith(f"{path}: ")


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(gate.MAX_BYTES + 1)
    assert "no such file" in str(refusal(tmp_path / "missing"))
    assert "is a folder" in str(refusal(tmp_path))
    assert "not a regular file" in str(refusal(tmp_path / "pipe"))  # and does not wait for it
    assert "not a regular file" in str(refusal(Path("/dev/zero")))
    assert "links lead in a circle" in str(refusal(tmp_path / "loop"))
    assert "has 536,870,913 bytes, the limit is 536,870,912" in str(refusal(tmp_path / "huge"))
    with pytest.raises(ModelError, match="holds a zero byte"):
        read(Path("nul\0byte"))


def test_links_to_models_are_fine(tmp_path: Path) -> None:
    write(example(), tmp_path / "model.onnx")
    (tmp_path / "current.onnx").symlink_to("model.onnx")
    assert read(tmp_path / "current.onnx").digest() == example().digest()


# A36 to A41, each as an edit of a valid file
def reverse_nodes(model: ModelProto) -> None:
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def make_cycle(model: ModelProto) -> None:
    node(model, "conv1/current").input[0] = "conv3"


def duplicate_output(model: ModelProto) -> None:
    node(model, "conv2/current").output[0] = "conv1"


def missing_output(model: ModelProto) -> None:
    del model.graph.node[-1]


def dims(*sizes: int) -> Edit:
    def edit(model: ModelProto) -> None:
        tensor(model, "conv1/weight").dims[:] = sizes

    return edit


def external(model: ModelProto, location: str = "../../etc/passwd") -> None:
    weight = tensor(model, "conv1/weight")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)


def external_in_attribute(model: ModelProto) -> None:
    value = AttributeProto(name="value", type=AttributeProto.TENSOR)
    value.t.data_location = TensorProto.EXTERNAL
    node(model, "conv1/current").attribute.append(value)


def subgraph(model: ModelProto) -> None:
    body = AttributeProto(name="body", type=AttributeProto.GRAPH)
    body.g.name = "body"
    node(model, "conv1/current").attribute.append(body)


def opset(version: int) -> Edit:
    return lambda model: setattr(model.opset_import[0], "version", version)


def weights(name: str, value: float) -> Edit:
    def edit(model: ModelProto) -> None:
        chosen = tensor(model, name)
        values = np.frombuffer(chosen.raw_data, "<f4").copy()
        values[-1] = value
        chosen.raw_data = values.tobytes()

    return edit


def input_dims(*sizes: int | str) -> Edit:
    def edit(model: ModelProto) -> None:
        model.graph.input[0].CopyFrom(
            helper.make_tensor_value_info("image", TensorProto.UINT8, sizes)
        )

    return edit


def many_users(model: ModelProto) -> None:
    """A thousand populations that share one tensor."""
    for i in range(1000):
        model.graph.node.add(op_type="Conv", input=["conv1", "conv2/weight"], output=[f"x{i}"])


def narrow_window(model: ModelProto) -> None:
    """One channel of ones where comparing would make us write as many as the source has."""
    window = tensor(model, "pool3/weight")
    window.dims[:] = [1, 1, 2, 2]
    window.raw_data = b"\x01" * 4


def flat_window(model: ModelProto) -> None:
    window = tensor(model, "pool3/weight")
    window.dims[:] = [24]


def split_names(model: ModelProto) -> None:
    """Names that are not UTF-8."""
    data = model.SerializeToString().replace(b"conv2/current", b"conv2/\xff\xfe\xfd\xfcent")
    model.ParseFromString(data)


EDITS: dict[str, tuple[Edit, str]] = {
    "order": (reverse_nodes, "the output is not a weighted sum"),
    "cycle": (make_cycle, "conv1: source 'conv3' is not an earlier node"),
    "dup output": (duplicate_output, "is not a network of export-snn"),
    "missing output": (missing_output, "leads nowhere"),
    "no readout": (lambda m: m.graph.node.__delitem__(slice(-4, None)), "no operation makes the"),
    "odd end": (
        lambda m: setattr(node(m, "conv1"), "op_type", "Transpose"),
        "'conv1' ends in Transpose, expected a node of the graph",
    ),
    "flat window": (flat_window, "pool 'pool3' has a window of shape .24,."),
    "no outputs": (lambda m: m.graph.ClearField("output"), "has 0 outputs"),
    "two outputs": (lambda m: m.graph.output.add(name="x"), "has 2 outputs"),
    "node without output": (lambda m: m.graph.node[3].ClearField("output"), "has 0 outputs"),
    "node without input": (lambda m: m.graph.node[4].ClearField("input"), "a Conv has 0 inputs"),
    "bad shape": (dims(4, 3, 3, 2), "has 108 bytes"),
    "negative dim": (dims(-4, 3, 3, 3), "impossible dimensions"),
    "huge dim": (dims(2**31, 2**31, 1, 1), "impossible dimensions"),
    "huge product": (dims(2**20, 2**20, 1, 1), "parameters, limit is 256,000,000"),
    "five dims": (dims(4, 3, 3, 3, 1), "impossible dimensions"),
    "zero dim": (dims(4, 0, 3, 3), "has 108 bytes"),
    "missing tensor": (lambda m: m.graph.initializer.remove(tensor(m, "conv1/weight")), "missing"),
    "tensor twice": (
        lambda m: m.graph.initializer.append(tensor(m, "conv1/weight")),
        "two tensors have the same name",
    ),
    "tensor too many": (
        lambda m: m.graph.initializer.add(name="x", data_type=1, dims=[]),
        "unexpected initializer",
    ),
    "string tensor": (
        lambda m: setattr(tensor(m, "conv1/weight"), "data_type", TensorProto.STRING),
        "neither int8, int4 nor float32",
    ),
    "int64 tensor": (
        lambda m: setattr(tensor(m, "conv1/threshold"), "data_type", TensorProto.INT64),
        "neither int8, int4 nor float32",
    ),
    "thresholds by position behind spikes": (
        reshaped("conv2/threshold", 1, 4, 8, 8),
        "conv2: thresholds are float32.4, 8, 8., expected .4,.",
    ),
    "thresholds of another map": (
        reshaped("conv1/threshold", 1, 4, 9, 8),
        "conv1: thresholds are float32.4, 9, 8., expected .4,. or .4, 8, 8.",
    ),
    "thresholds for a batch": (
        reshaped("conv1/threshold", 2, 4, 8, 8),
        "conv1: thresholds are float32.512,., expected .4,. or .4, 8, 8.",
    ),
    "thresholds of another rank": (
        reshaped("conv1/threshold", 4, 8, 8),
        "conv1: thresholds are float32.256,., expected .4,. or .4, 8, 8.",
    ),
    "unknown type": (
        lambda m: setattr(tensor(m, "conv1/weight"), "data_type", 2**31 - 1),
        "neither int8, int4 nor float32",
    ),
    "float data beside": (
        lambda m: tensor(m, "conv1/threshold").float_data.append(1),
        "unexpected initializer 'conv1/threshold'",
    ),
    "many users": (many_users, "comes after the output"),
    "narrow window": (narrow_window, "pool3 has a window of another shape"),
    "no attribute": (
        lambda m: node(m, "conv1/current").ClearField("attribute"),
        "needs 2 values in its attribute strides",
    ),
    "three strides": (
        lambda m: node(m, "conv1/current").attribute[3].ints.append(1),
        "needs 2 values in its attribute strides",
    ),
    "huge stride": (
        lambda m: node(m, "conv1/current").attribute[3].ints.__setitem__(0, 2**62),
        "stride is",
    ),
    "lopsided padding": (
        lambda m: node(m, "conv1/current").attribute[2].ints.__setitem__(3, 0),
        "unexpected node 'conv1/current'",
    ),
    "dilation": (
        lambda m: node(m, "conv1/current").attribute.append(
            helper.make_attribute("dilations", [2, 2])
        ),
        "unexpected node 'conv1/current'",
    ),
    "other scale": (
        lambda m: setattr(tensor(m, "/one"), "raw_data", np.float32(2).tobytes()),
        "unexpected initializer '/one'",
    ),
    "fractional offset": (weights("image/offset", 0.25), "int8 weights need whole numbers"),
    "not text": (split_names, "not text"),
    "custom domain": (
        lambda m: m.opset_import.add(domain="com.evil", version=1),
        "custom domain 'com.evil'",
    ),
    "op of a domain": (add_node("PyOp", "com.microsoft"), "op not allowed: 'com.microsoft'.'PyOp'"),
    "loop": (add_node("Loop"), "op not allowed: Loop"),
    "if": (add_node("If"), "op not allowed: If"),
    "scan": (add_node("Scan"), "op not allowed: Scan"),
    "odd op": (add_node("\x1b[31mred"), r"op not allowed: '\\x1b\[31mred'"),
    "bomb": (add_node("ConstantOfShape"), "op not allowed: ConstantOfShape"),
    "average": (add_node("AveragePool"), "op not allowed: AveragePool"),
    "function": (lambda m: m.functions.add(name="f"), "holds functions"),
    "training": (lambda m: m.training_info.add(), "holds training steps"),
    "sparse": (lambda m: m.graph.sparse_initializer.add(), "holds sparse tensors"),
    "annotation": (lambda m: m.graph.quantization_annotation.add(), "quantization annotations"),
    "subgraph": (subgraph, "holds subgraphs"),
    "5000 nodes": (
        lambda m: m.graph.node.extend([m.graph.node[0]] * 5000),
        "operations, limit is 4,096",
    ),
    "external": (external, "external data is not supported"),
    "external, absolute": (lambda m: external(m, "/dev/zero"), "external data is not supported"),
    "external, said only": (
        lambda m: setattr(tensor(m, "conv1/weight"), "data_location", 1),
        "external data is not supported",
    ),
    "external, in an attribute": (external_in_attribute, "holds tensors in attributes"),
    "opset 99": (opset(99), "needs a newer runtime: opset 99"),
    "opset 18": (opset(18), "has opset 18, expected 17 or 21"),
    "opset 21 without need": (opset(21), "has IR version 8, expected 10"),
    "opset 22": (opset(22), "needs a newer runtime: opset 22, this one reads 21"),
    "opset 1": (opset(1), "has opset 1, expected 17"),
    "opset -1": (opset(-1), "has opset -1, expected 17"),
    "no opset": (lambda m: m.ClearField("opset_import"), "no ONNX file"),
    "two opsets": (lambda m: m.opset_import.add(version=17), "unexpected opset_import"),
    "IR 99": (lambda m: setattr(m, "ir_version", 99), "needs a newer runtime: IR version 99"),
    "IR 3": (lambda m: setattr(m, "ir_version", 3), "has IR version 3, expected 8"),
    "schema 7": (set_metadata("schema", "7"), "needs a newer runtime: schema 7"),
    "schema 6 without need": (set_metadata("schema", "6"), "unexpected"),
    "schema 5 without need": (set_metadata("schema", "5"), "unexpected"),
    "schema 4 without need": (set_metadata("schema", "4"), "unexpected"),
    "schema 3 without need": (set_metadata("schema", "3"), "unexpected"),
    "schema 2 without need": (set_metadata("schema", "2"), "unexpected"),
    "schema x": (set_metadata("schema", "x"), "not one written by export-snn"),
    "schema 0": (set_metadata("schema", "0"), "not one written by export-snn"),
    "schema of digits": (set_metadata("schema", "9" * 9999), "not one written by export-snn"),
    "no metadata": (lambda m: m.ClearField("metadata_props"), "not one written by export-snn"),
    "metadata too many": (lambda m: m.metadata_props.add(key="a"), "other metadata"),
    "metadata twice": (
        lambda m: m.metadata_props.append(m.metadata_props[1]),
        "duplicate metadata",
    ),
    "metadata reordered": (
        lambda m: m.metadata_props.reverse(),
        "other metadata|not one written",
    ),
    "NaN threshold": (weights("conv1/threshold", np.nan), "conv1: non-finite threshold"),
    "inf threshold": (weights("conv3/threshold", np.inf), "conv3: non-finite threshold"),
    "threshold 0": (weights("conv1/threshold", 0), "conv1: thresholds are not half-integers"),
    "threshold -1": (weights("fc1/threshold", -1), "fc1: thresholds are not half-integers"),
    "NaN bias": (weights("readout/bias", np.nan), "readout: non-finite bias"),
    "subnormal scale": (weights("readout/scale", 1e-40), "readout: subnormal scale"),
    "one channel": (input_dims("batch", 8, 8, 1), "expected uint8 .batch, height, width, 3"),
    "rank 5": (input_dims("batch", 1, 8, 8, 3), "expected uint8 .batch, height, width, 3"),
    "rank 3": (input_dims(8, 8, 3), "expected uint8 .batch, height, width, 3"),
    "no shape": (lambda m: m.graph.input[0].type.Clear(), "expected uint8 .batch"),
    "dynamic height": (input_dims("batch", "h", 8, 3), "expected uint8 .batch, height, width, 3"),
    "fixed batch": (input_dims(1, 8, 8, 3), "expected uint8 .batch, height, width, 3"),
    "batch of another name": (input_dims("n", 8, 8, 3), "unexpected input"),
    "huge height": (input_dims("batch", 2**62, 8, 3), "image: size is"),
    "other size": (input_dims("batch", 8, 9, 3), "image|conv|fc1|self-test"),
    "two inputs": (lambda m: m.graph.input.add(name="x"), "has 2 inputs"),
    "float input": (
        lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", TensorProto.FLOAT),
        "expected uint8",
    ),
    "int64 input": (
        lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", TensorProto.INT64),
        "expected uint8",
    ),
    # A42: the labels travel in the metadata
    "labels too few": (
        set_metadata("labels", '["a", "b"]'),
        "readout: weights .3, 5. for 2 labels",
    ),
    "labels no list": (set_metadata("labels", '"abc"'), "labels or fit are odd"),
    "labels no JSON": (set_metadata("labels", "cat, dog"), "labels: is not JSON"),
    "labels of numbers": (set_metadata("labels", "[1, 2, 3]"), "labels: number 0 is 1"),
    "label of 1 MB": (
        set_metadata("labels", json.dumps(["a" * 10**6, "b", "c"])),
        "labels: number 0 is",
    ),
    "labels of 4 MB": (set_metadata("labels", json.dumps(["a" * 4 * 10**6])), "limit is 3,145,728"),
    "label with CRLF": (set_metadata("labels", '["a\\r\\n", "b", "c"]'), "nobody can see"),
    "label with a mark": (set_metadata("labels", '["\ufeffa", "b", "c"]'), "nobody can see"),
    "label of a surrogate": (set_metadata("labels", '["\\ud800", "b", "c"]'), "nobody can see"),
    "labels nested": (set_metadata("labels", "[" * 10**5), "labels: is not JSON"),
    "labels spaced": (
        set_metadata("labels", '["cat","ship","Straße"]'),
        "unexpected metadata_props",
    ),
    "fit": (set_metadata("fit", "pad"), "labels or fit are odd"),
    "provenance NaN": (set_metadata("provenance", '{"a": NaN}'), "NaN is no JSON number"),
    "golden": (set_metadata("golden", "0" * 63), "its golden hash is not one"),
    "doc string": (lambda m: setattr(m, "doc_string", "hi"), "unexpected doc_string"),
    "producer": (lambda m: setattr(m, "producer_name", "me"), "unexpected producer_name"),
    "value info": (lambda m: m.graph.value_info.pop(), "unexpected value_info"),
    "graph name": (lambda m: setattr(m.graph, "name", "g"), "unexpected name"),
    "unknown field": (lambda m: m.MergeFromString(b"\xf2\x7d\x03abc"), "holds unknown fields"),
}


LEVELS: dict[str, tuple[Edit, str]] = {
    "a level with other channels": (
        reshaped("conv2/threshold/1", 1, 5, 1, 1),
        "'conv2' has levels with unlike numbers of thresholds",
    ),
    "a level by position": (
        reshaped("conv1/threshold/1", 1, 4, 8, 8),
        "'conv1' has levels with unlike numbers of thresholds",
    ),
    "levels by position": (
        lambda m: [reshaped(f"conv1/threshold/{k}", 1, 4, 8, 8)(m) for k in range(2)],
        "conv1: thresholds are float32.2, 256., expected .4,.",
    ),
    "a level below the one before": (
        lambda m: setattr(
            tensor(m, "conv1/threshold/1"), "raw_data", np.full(4, -9999.5, "<f4").tobytes()
        ),
        "conv1: a threshold is below that of the level before",
    ),
    "a level fewer": (
        lambda m: m.graph.node.remove(node(m, "conv2/fires/2")),
        "self-test failed: the weights are not those the file was written with",
    ),
    "a comparison more": (
        lambda m: setattr(node(m, "fc1/weight_float"), "op_type", "Greater"),
        "tensor 'fc1/threshold/0' is missing or used twice",
    ),
    "a comparison in a pool": (
        lambda m: setattr(node(m, "pool2"), "op_type", "Greater"),
        "'pool2' ends in Greater, expected a node of the graph",
    ),
    "older schema": (set_metadata("schema", "3"), "unexpected"),
}


CALIBRATIONS: dict[str, tuple[Edit, str]] = {
    "a digit": (
        set_metadata("calibration", '{"temperature": 0.9, "floor": 0.01}'),
        "self-test failed: the weights are not those the file was written with",
    ),
    "no temperature": (
        set_metadata("calibration", '{"temperature": 0.0, "floor": 0.01}'),
        "calibration: temperature is 0.0, expected 1e-6 to 1e6",
    ),
    "NaN": (
        set_metadata("calibration", '{"temperature": NaN, "floor": 0.01}'),
        "calibration: is not JSON: NaN is no JSON number",
    ),
    "not JSON": (set_metadata("calibration", "0.8"), "calibration: expected an object"),
    "another number": (
        set_metadata("calibration", '{"temperature": 0.8, "heat": 0.01}'),
        "calibration: expected temperature, floor",
    ),
    "spaces": (set_metadata("calibration", '{"temperature":0.8, "floor": 0.01}'), "unexpected"),
    "none after all": (
        set_metadata("calibration", '{"temperature": 1.0, "floor": 0.0}'),
        "self-test failed",
    ),
    "older schema": (set_metadata("schema", "4"), "unexpected"),
    "another key behind it": (lambda m: m.metadata_props.add(key="a"), "other metadata"),
}


@pytest.mark.parametrize("case", CALIBRATIONS)
def test_edits_of_a_calibration(case: str) -> None:
    edit, message = CALIBRATIONS[case]
    calibrated = replace(example(), calibration=Calibration(0.8, 0.01))
    assert re.search(message, str(refusal(edited(edit, to_bytes(calibrated)))))


@pytest.mark.parametrize("case", LEVELS)
def test_edits_of_levels(case: str) -> None:
    edit, message = LEVELS[case]
    assert re.search(message, str(refusal(edited(edit, to_bytes(example_of_levels())))))


def stored_as(kind: int) -> Edit:
    """A weight of another type, its numbers the same."""

    def edit(model: ModelProto) -> None:
        chosen = tensor(model, "conv1/weight")
        array = np.asarray(numpy_helper.to_array(chosen), np.int8)
        data = array.tobytes() if kind == TensorProto.INT8 else messages.packed(array)
        chosen.data_type, chosen.raw_data = kind, data

    return edit


def last_byte(change: Callable[[int], int]) -> Edit:
    """Of a weight that leaves half of it free."""

    def edit(model: ModelProto) -> None:
        chosen = tensor(model, "conv1/weight")
        assert int(np.prod(chosen.dims)) % 2 == 1
        chosen.raw_data = chosen.raw_data[:-1] + bytes([change(chosen.raw_data[-1])])

    return edit


def as_of_bytes(model: ModelProto) -> None:
    model.ir_version, model.opset_import[0].version = 8, 17


PACKINGS: dict[str, tuple[Edit, str]] = {
    "one of them a byte each": (stored_as(TensorProto.INT8), "unexpected initializer"),
    "UINT4": (lambda m: setattr(tensor(m, "conv1/weight"), "data_type", 21), "neither int8, int4"),
    "a byte too few": (
        lambda m: setattr(tensor(m, "conv1/weight"), "raw_data", b"\0"),
        "has 1 bytes",
    ),
    "the free half of a byte": (last_byte(lambda byte: byte | 16), "has a number too many"),
    "−8": (last_byte(lambda byte: 8), "weights need 6 bits, two to a byte have 4"),
    "another weight": (last_byte(lambda byte: (byte + 1) % 8), "self-test failed"),
    "opset 17": (opset(17), "has IR version 10, expected 8"),
    "opset 17, IR 8": (
        as_of_bytes,
        "unexpected opset_import|unexpected ir_version",
    ),
    "schema 5": (set_metadata("schema", "5"), "unexpected"),
}


@pytest.mark.parametrize("case", PACKINGS)
def test_edits_of_packed_weights(case: str) -> None:
    edit, message = PACKINGS[case]
    builder = Builder(Image(3, 3, (0, 0, 0)))
    first = (np.arange(27).reshape(1, 3, 3, 3) % 15 - 7).astype(np.int8)
    builder.neurons("conv1", first, np.full(1, 0.5, np.float32))
    one, none = np.ones(2, np.float32), np.zeros(2, np.float32)
    graph = builder.graph(np.ones((2, 1), np.int8), one, none, ("a", "b"))
    valid = to_bytes(replace(graph, packed=True))
    assert re.search(message, str(refusal(edited(edit, valid)))), refusal(edited(edit, valid))


def test_packed_weights_in_a_file_of_bytes_are_refused() -> None:
    small = to_bytes(replace(packed(example()), packed=False))
    message = str(refusal(edited(stored_as(TensorProto.INT4), small)))
    assert "unexpected" in message


@pytest.mark.parametrize("case", EDITS)
def test_edits(case: str) -> None:
    edit, message = EDITS[case]
    error = refusal(edited(edit))
    assert isinstance(error, ModelError) or "self-test" in message
    assert re.search(message, str(error)), str(error)


# A43
def change_weight(model: ModelProto) -> None:
    weight = tensor(model, "conv2/weight")
    weight.raw_data = b"\x01" + weight.raw_data[1:]


@pytest.mark.parametrize(
    "edit",
    [
        change_weight,
        weights("conv1/threshold", 8.5),
        weights("readout/bias", 1),
        set_metadata("digest", "0" * 64),
        set_metadata("labels", '["dog", "ship", "Straße"]'),
        set_metadata("fit", "stretch"),
    ],
)
def test_what_computes_is_sealed(edit: Edit) -> None:
    error = refusal(edited(edit))
    assert isinstance(error, VerifyError)
    assert (error.code, error.exit_code) == ("self_test", 9)
    assert "self-test failed" in str(error)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_no_number_names_its_layer(value: float) -> None:
    model = ModelProto.FromString(to_bytes(example(exact=False)))
    weights("conv3/0/weight", value)(model)
    assert "conv3: non-finite weight" in str(refusal(model.SerializeToString()))


# P9: total
@given(st.binary(max_size=400))
@settings(max_examples=300)
@instance(b"\x08\x08")
@instance(b"\x08\x08\x42\x02\x10\x11")
@instance(b"\x3a\x00")
def test_any_bytes(data: bytes) -> None:
    refusal(data)


@given(st.integers(0, len(VALID) - 1))
@settings(max_examples=300)
def test_any_truncation(size: int) -> None:
    refusal(VALID[:size])


def assert_harmless(data: bytes, valid: bytes) -> None:
    """Refused, or what computes is untouched."""
    try:
        graph = read(data)
    except SnnError:
        return
    assert graph.digest() == read(valid).digest()
    assert to_bytes(graph)


@pytest.mark.parametrize("valid", [VALID, HALVES], ids=["int8", "int4"])
@given(data=st.data())
@settings(max_examples=600)
def test_any_flipped_byte(data: st.DataObject, valid: bytes) -> None:
    position = data.draw(st.integers(0, len(valid) - 1))
    flipped = bytearray(valid)
    flipped[position] ^= data.draw(st.integers(1, 255))
    assert_harmless(bytes(flipped), valid)


@pytest.mark.parametrize("valid", [VALID, HALVES], ids=["int8", "int4"])
@given(data=st.data())
@settings(max_examples=200)
def test_any_splice(data: st.DataObject, valid: bytes) -> None:
    """A piece of the file is cut out, repeated or overwritten."""
    start = data.draw(st.integers(0, len(valid)))
    end = data.draw(st.integers(start, min(len(valid), start + 300)))
    middle = data.draw(st.sampled_from([b"", valid[start:end] * 2, bytes(end - start)]))
    assert_harmless(valid[:start] + middle + valid[end:], valid)


SCALARS: tuple[object, ...] = (0, 1, -1, 2**31 - 1, 2**62, 1.5, "", "x", "conv1", b"", b"x", "\x00")


def places(message: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every message inside `message`, itself included; of long lists the ends."""
    yield path
    for descriptor in message.DESCRIPTOR.fields:
        value = getattr(message, descriptor.name)
        if descriptor.message_type is None:
            continue
        if hasattr(value, "append"):
            for index in sorted({0, 1, len(value) // 2, len(value) - 1} & set(range(len(value)))):
                yield from places(value[index], (*path, descriptor.name, index))
        elif message.HasField(descriptor.name):
            yield from places(value, (*path, descriptor.name))


def at(message: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        message = message[step] if isinstance(step, int) else getattr(message, step)
    return message


def edits_of(message: Any) -> Iterator[Callable[[Any], None]]:
    """Every way to change one field of `message`: cleared, shortened, doubled, set to something."""
    # The ignores below: mypy cannot infer the type of a lambda whose defaults bind a loop's names.
    for descriptor in message.DESCRIPTOR.fields:
        name = descriptor.name
        value = getattr(message, name)
        yield lambda m, name=name: m.ClearField(name)  # type: ignore[misc]
        if hasattr(value, "append"):
            yield lambda m, name=name: getattr(m, name).pop()  # type: ignore[misc]
            yield lambda m, name=name: getattr(m, name).append(getattr(m, name)[-1])  # type: ignore[misc]
            if descriptor.message_type is not None:
                yield lambda m, name=name: getattr(m, name).add()  # type: ignore[misc]
            else:
                for new in SCALARS:
                    yield lambda m, name=name, new=new: getattr(m, name).append(new)  # type: ignore[misc]
        elif descriptor.message_type is not None:
            yield lambda m, name=name: getattr(m, name).SetInParent()  # type: ignore[misc]
        else:
            for new in SCALARS:
                yield lambda m, name=name, new=new: setattr(m, name, new)  # type: ignore[misc]


@pytest.mark.parametrize("valid", [VALID, HALVES], ids=["int8", "int4"])
def test_any_changed_field(valid: bytes) -> None:
    """Every field of every kind of message in the file, one at a time."""
    original = ModelProto.FromString(valid)
    tried = 0
    for path in places(original):
        for edit in edits_of(at(original, path)):
            model = ModelProto.FromString(valid)
            try:
                edit(at(model, path))
            except (TypeError, ValueError, IndexError):
                continue  # the field takes no such value
            data = model.SerializeToString()
            if data != valid:
                assert_harmless(data, valid)
                tried += 1
    assert tried > 1000


def test_only_provenance_and_the_golden_hash_may_differ() -> None:
    """They do not compute. A false golden hash is found by Model.self_test."""
    assert read(edited(set_metadata("provenance", "{}"))).provenance == "{}"
    assert read(edited(set_metadata("golden", "0" * 64))).digest() == example().digest()


# Bombs: small files that would be large in memory or slow
def length(data: bytes) -> bytes:
    size, varint = len(data), bytearray()
    while size > 127:
        varint.append(size & 127 | 128)
        size >>= 7
    return bytes([*varint, size]) + data


BOMBS = {
    "empty nodes": b"\x3a" + length(b"\x0a\x00" * 3_000_000),
    "empty tensors": b"\x3a" + length(b"\x2a\x00" * 3_000_000),
    "empty graphs": b"\x3a\x00" * 3_000_000,
    "empty metadata": b"\x72\x00" * 3_000_000,
    "many dims": b"\x3a" + length(b"\x2a" + length(b"\x08\x01" * 5_000_000)),
    "packed dims": b"\x3a" + length(b"\x2a" + length(b"\x0a" + length(b"\x01" * 9_000_000))),
    "endless varint": b"\x08" + b"\xff" * 1_000_000,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs(bomb: str) -> None:
    error = refusal(BOMBS[bomb])
    assert error.code in ("too_large", "not_a_model")


def within(*numbers: int, content: bytes) -> bytes:
    """`content` in the field of the last number, that in the field of the one before, and so on."""
    for number in reversed(numbers):
        content = bytes([number << 3 | 2]) + length(content)
    return content


EMPTY = 1_500_000
NESTED = {
    "attributes of a node": within(7, 1, content=b"\x2a\x00" * EMPTY),
    "texts of an attribute": within(7, 1, 5, content=b"\x4a\x00" * EMPTY),
    "graphs of an attribute": within(7, 1, 5, content=b"\x5a\x00" * EMPTY),
    "nodes of an attribute's graph": within(7, 1, 5, 6, content=b"\x0a\x00" * EMPTY),
    "dimensions of an input": within(7, 11, 2, 1, 2, content=b"\x0a\x00" * EMPTY),
    "nodes of a training step": b"\xa2\x01" + length(within(1, content=b"\x0a\x00" * EMPTY)),
}


@pytest.mark.parametrize("bomb", NESTED)
def test_what_lies_deep_is_counted(bomb: str) -> None:
    """Less than 4 MiB of it is hundreds in memory, and a second, before the parser is done."""
    assert len(NESTED[bomb]) < wire.MAX_STRUCTURE
    assert "over 150,000 fields" in str(refusal(NESTED[bomb]))


def test_a_model_of_as_many_nodes_as_may_be_has_fields_to_spare() -> None:
    """Of sum pools: each has most fields of all nodes."""
    sizes = []
    for pools in (2, 12):
        net = Builder(Image(2, 2, (0, 0, 0)))
        net.neurons("c", np.ones((1, 3, 1, 1), np.int8), np.full(1, 0.5, np.float32))
        for number in range(pools):
            net.pool(f"p{number}", "sum", 1)
        numbers = np.ones(2, np.float32)
        graph = net.graph(np.ones((2, 4), np.int8), numbers, numbers, "ab")
        model = ModelProto.FromString(to_bytes(graph))
        sizes.append((len(model.graph.node), fields(model)))
    (few, less), (many, more) = sizes
    assert (more - less) / (many - few) * gate.MAX_NODES < 0.8 * wire.MAX_FIELDS


def fields(message: Any) -> int:
    """How many it has, with those of all messages within."""
    found = 0
    for descriptor, value in message.ListFields():
        values = list(value) if hasattr(value, "append") else [value]
        found += len(values)
        if descriptor.message_type is not None:
            found += sum(map(fields, values))
    return found


def test_weights_do_not_count_as_structure() -> None:
    big = b"\x3a" + length(b"\x2a" + length(b"\x4a" + length(bytes(2 * wire.MAX_STRUCTURE))))
    wire.check_wire(big)
    with pytest.raises(ModelError, match="over 4 MiB of structure"):
        wire.check_wire(big + b"\x0a" + length(bytes(wire.MAX_STRUCTURE)))


def test_a_nested_message_may_not_reach_past_its_parent() -> None:
    with pytest.raises(ModelError, match="damaged"):
        wire.check_wire(b"\x3a\x02\x2a\x10" + bytes(16))


def test_onnx_files_of_others_are_refused_politely() -> None:
    add = helper.make_node("Add", ["x", "x"], ["y"])
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "xy")
    graph = helper.make_graph([add], "g", [x], [y])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model)
    assert "not one written by export-snn" in str(refusal(model.SerializeToString()))
