"""Files: written, read back identical, standard ONNX that any runtime executes."""

import hashlib
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from graphs import example, example_of_levels, packed, pictures, spiking_graphs
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from snn_runtime.calibration import UNCALIBRATED, Calibration
from snn_runtime.errors import ModelError, ResourceError
from snn_runtime.graph import Population, SpikingGraph, reference
from snn_runtime.model import BUNDLED
from snn_runtime.model_file import gate, read, read_file, to_bytes, write
from snn_runtime.model_file.file import Rewriting
from snn_runtime.model_file.reader import Tensors, to_graph
from snn_runtime.model_file.writer import emit
from snn_runtime.proof.golden import golden_hash, golden_images

CALIBRATED = Calibration(0.8, 0.0125)
any_graph = st.one_of(spiking_graphs(), spiking_graphs(exact=False), spiking_graphs().map(packed))


def assert_identical(one: SpikingGraph, other: SpikingGraph) -> None:
    assert one.digest() == other.digest()
    assert (one.image, one.labels, one.provenance) == (other.image, other.labels, other.provenance)
    assert (one.calibration, one.packed) == (other.calibration, other.packed)
    assert one.shapes == other.shapes
    assert one.bounds == other.bounds
    for a, b in zip(one.nodes, other.nodes, strict=True):
        assert type(a) is type(b)
        if not (isinstance(a, Population) and isinstance(b, Population)):
            assert a == b
            continue
        np.testing.assert_array_equal(a.threshold, b.threshold)
        for p, q in zip(a.projections, b.projections, strict=True):
            np.testing.assert_array_equal(p.weight, q.weight)
            assert p.weight.dtype == q.weight.dtype
            assert (p.source, p.stride, p.padding, p.groups) == (
                q.source,
                q.stride,
                q.padding,
                q.groups,
            )


@given(any_graph)
@settings(max_examples=60)
def test_round_trip(graph: SpikingGraph) -> None:
    data = to_bytes(graph)
    again = read(data)
    assert_identical(graph, again)
    assert to_bytes(again) == data


def test_the_bytes_of_a_file_are_for_ever() -> None:
    """Readers in the field compare a file with what they write of its graph."""
    sums = [hashlib.sha256(to_bytes(example(exact))).hexdigest() for exact in (True, False)]
    assert sums == [
        "52c658e8413b1984d2c842ac5d62ab382a7a6b8223cec4304f435c12aebf1499",
        "d1098c9a7b04f023100fe099746e958f8f417a712987b8b0ea204a4be2afc530",
    ]
    levels = hashlib.sha256(to_bytes(example_of_levels())).hexdigest()
    assert levels == "3f5abe9f3de75dff1a30134016e90a17a71a0e6725965f3e65be46995d62f846"
    pairs = hashlib.sha256(to_bytes(packed(example()))).hexdigest()
    assert pairs == "1887b5cce3e764b1285b6221aa6a7870898b60e8ce51494750d6741ca18ff4dd"
    bundled = resources.files("snn_runtime").joinpath(BUNDLED).read_bytes()
    file = read_file(bundled)
    assert to_bytes(file.graph, golden=file.golden) == bundled


@pytest.mark.parametrize("written", [example(), example(exact=False), packed(example())])
def test_weights_are_not_copied_to_be_compared_with_themselves(written: SpikingGraph) -> None:
    model = gate.parse(to_bytes(written))
    tensors = Tensors(model.graph)
    graph = to_graph(model.graph, tensors, ("a", "b", "c"), "crop", "{}", UNCALIBRATED)
    rewriting = Rewriting(graph, tensors.read)
    emit(graph, rewriting)
    copied = {t.name for t in model.graph.initializer} - rewriting.same
    # Of these the graph holds no array.
    assert copied == {"image/offset", "pool3/weight"} | ({"/one"} if written.exact else set())


@given(any_graph)
@settings(max_examples=30)
def test_the_file_is_standard_onnx_and_runs_as_it_is(graph: SpikingGraph) -> None:
    data = to_bytes(graph)
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    images = pictures(graph.image, 3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    if graph.exact:
        (logits,) = session.run(["logits"], {"image": images})
        np.testing.assert_array_equal(logits, reference.run(graph, images).logits)


def test_what_the_file_says() -> None:
    graph = example()
    model = onnx.load_from_string(to_bytes(graph))
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)
    assert (model.producer_name, model.producer_version) == ("iir-snn", "1")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata == {
        "snn.schema": "1",
        "snn.labels": '["cat", "ship", "Straße"]',
        "snn.fit": "crop",
        "snn.provenance": '{"accuracy": 0.9}',
        "snn.digest": graph.digest(),
        "snn.golden": golden_hash(reference.run(graph, golden_images(graph.image)).spikes),
    }
    operations = [(node.op_type, node.name) for node in model.graph.node]
    assert operations[:8] == [
        ("Cast", "image/float"),
        ("Transpose", "image/planes"),
        ("Sub", "image/centred"),
        ("DequantizeLinear", "conv1/weight_float"),
        ("Conv", "conv1/current"),
        ("Greater", "conv1/fires"),
        ("Cast", "conv1"),
        ("DequantizeLinear", "conv2/weight_float"),
    ]
    assert operations[-3:] == [
        ("Gemm", "readout/sum"),
        ("Mul", "readout/scaled"),
        ("Add", "logits"),
    ]
    assert ("Add", "conv3/current") in operations
    weights = {t.name: t.data_type for t in model.graph.initializer if t.name.endswith("/weight")}
    assert set(weights.values()) == {onnx.TensorProto.INT8}


def test_two_weights_to_a_byte() -> None:
    """Nothing but their place in the file differs, and the version of ONNX that has it."""
    halves = packed(example())
    bytes_each = replace(halves, packed=False)
    small, large = (onnx.load_from_string(to_bytes(graph)) for graph in (halves, bytes_each))
    assert halves.digest() == bytes_each.digest() and halves.schema == 6
    assert (small.ir_version, small.opset_import[0].version) == (10, 21)
    assert [(n.op_type, n.name) for n in small.graph.node] == [
        (n.op_type, n.name) for n in large.graph.node
    ]
    for one, other in zip(small.graph.initializer, large.graph.initializer, strict=True):
        np.testing.assert_array_equal(
            numpy_helper.to_array(one).astype(np.float32), numpy_helper.to_array(other)
        )
        if other.data_type == onnx.TensorProto.INT8:
            assert one.data_type == onnx.TensorProto.INT4
            assert len(one.raw_data) == (len(other.raw_data) + 1) // 2
    with pytest.raises(ModelError, match="weights need 8 bits, two to a byte have 4"):
        replace(example(), packed=True)
    with pytest.raises(ModelError, match="weights need 32 bits"):
        replace(example(exact=False), packed=True)


def test_what_a_file_says_of_levels() -> None:
    model = onnx.load_from_string(to_bytes(example_of_levels()))
    made = [(node.op_type, node.name.removeprefix("conv2")) for node in model.graph.node]
    steps = [("Greater", "/fires"), ("Cast", "/spikes")]
    assert made[made.index(("Conv", "/current")) :][:9] == [
        ("Conv", "/current"),
        *((operator, f"{name}/{level}") for level in range(3) for operator, name in steps),
        ("Add", "/spikes/1/sum"),
        ("Add", ""),
    ]


def test_a_file_says_the_first_version_that_has_what_is_in_it() -> None:
    """So that an older runtime says that it is too old, and reads all that it can."""
    whole, float32 = example(), example(exact=False)
    first = whole.populations[0]
    positions = np.broadcast_to(first.threshold[:, None, None], whole.shapes["conv1"]).copy()
    ring = replace(first, threshold=positions)
    graphs = {
        "1": (whole, float32),
        "2": (
            replace(whole, nodes=(ring, *whole.nodes[1:])),
            replace(float32, image=replace(float32.image, offset=(120, 115.5, 104))),
        ),
        "4": (example_of_levels(),),
        "5": (replace(whole, calibration=CALIBRATED), replace(float32, calibration=CALIBRATED)),
    }
    for version, members in graphs.items():
        for graph in members:
            model = onnx.load_from_string(to_bytes(graph))
            metadata = {entry.key: entry.value for entry in model.metadata_props}
            assert (model.producer_version, metadata["snn.schema"]) == (version, version)
            assert_identical(read(to_bytes(graph)), graph)


def test_float_weights_need_no_dequantisation() -> None:
    model = onnx.load_from_string(to_bytes(example(exact=False)))
    assert "DequantizeLinear" not in {node.op_type for node in model.graph.node}
    assert {t.data_type for t in model.graph.initializer} == {onnx.TensorProto.FLOAT}


def test_calibration_is_one_entry_more_and_no_other_bit_of_the_network() -> None:
    plain, calibrated = example(), replace(example(), calibration=CALIBRATED)
    before, after = (onnx.load_from_string(to_bytes(graph)) for graph in (plain, calibrated))
    assert before.graph == after.graph
    entries = {entry.key: entry.value for entry in after.metadata_props}
    assert list(entries)[-1] == "snn.calibration"
    assert entries["snn.calibration"] == '{"temperature": 0.8, "floor": 0.0125}'
    assert entries["snn.golden"] == {e.key: e.value for e in before.metadata_props}["snn.golden"]
    assert plain.digest() != calibrated.digest()


def test_files(tmp_path: Path) -> None:
    graph = replace(example(), provenance='{"by": "\u4f60\u597d"}')
    write(graph, tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_bytes() == to_bytes(graph)
    file = read_file(tmp_path / "model.onnx")
    assert_identical(file.graph, graph)
    assert file.digest == graph.digest()
    assert len(file.golden) == 64


def test_writing_where_one_cannot_is_said(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="cannot write"):
        write(example(), tmp_path / "no" / "model.onnx")


def test_another_maker_of_protobufs_may_order_fields_otherwise() -> None:
    """Only what a file says counts, not how its bytes are laid out."""
    data = to_bytes(example())
    model = onnx.load_from_string(data)
    graph = model.graph.SerializeToString()
    model.ClearField("graph")
    length = len(graph)
    varint = bytearray()
    while length > 127:
        varint.append(length & 127 | 128)
        length >>= 7
    shuffled = b"\x3a" + bytes([*varint, length]) + graph + model.SerializeToString()
    assert shuffled != data
    assert_identical(read(shuffled), example())
