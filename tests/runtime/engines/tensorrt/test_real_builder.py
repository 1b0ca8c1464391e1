"""What a real builder of TensorRT takes and refuses: TensorRT-RTX, which needs no GPU to build.

Each rule that `lowering` follows was learnt by a refusal; here is the refusal, and beside it what
is taken. Nothing is executed: how the engines spike, only a GPU can tell.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from corner_graphs import CORNERS
from graphs import example, example_of_levels
from onnx import TensorProto, helper, numpy_helper

from snn_bench.topology import Design, build
from snn_runtime.engines.tensorrt import build as build_module
from snn_runtime.engines.tensorrt.library import Library, Refused, Request
from snn_runtime.engines.tensorrt.lowering import Form, lower
from snn_runtime.graph import SpikingGraph

rtx = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed (x86-64 only)")

FORMS: tuple[Form, ...] = ("int8", "fp16", "fp32")
DESIGNS = (Design("vgg16"), Design("resnet20"), Design("vgg16", pooling="average", width=0.25))


@cache
def library() -> Library:
    return Library(rtx)


@cache
def network(design: Design) -> SpikingGraph:
    return build(design, 0.1)


def request(form: Form = "int8", size: tuple[int, int] = (8, 8)) -> Request:
    return Request(form, size, usual=1, largest=8, workspace=2**28)


def lowered(graph: SpikingGraph, form: Form, *, watch: bool = False) -> bytes:
    network = lower(graph, form)
    outputs = [network.sums(), *(network.spikes() if watch else ())]
    return bytes(network.op.model(*outputs).SerializeToString())


def built(graph: SpikingGraph, form: Form, *, watch: bool = False) -> bytes:
    size = (graph.image.height, graph.image.width)
    return library().build(lowered(graph, form, watch=watch), request(form, size))


@pytest.mark.parametrize("watch", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_network_with_everything_in_it(form: Form, watch: bool) -> None:
    assert built(example(), form, watch=watch)


@pytest.mark.parametrize("form", FORMS)
def test_thresholds_that_differ_by_position(form: Form) -> None:
    assert built(CORNERS["thresholds_that_differ_by_position"](), form, watch=True)


@pytest.mark.parametrize("form", FORMS)
def test_elementwise_nodes(form: Form) -> None:
    assert built(CORNERS["sums_of_unlike_windows"](), form, watch=True)


@pytest.mark.parametrize("form", FORMS)
def test_several_levels(form: Form) -> None:
    assert built(example_of_levels(), form, watch=True)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)
def test_whole_networks(design: Design, form: Form) -> None:
    graph = network(design)
    engine = built(graph, form)
    # Weights are kept in as many bytes as the form says; those of the first layer hardly count.
    bytes_each = {"int8": 1, "fp16": 2, "fp32": 4}[form]
    assert 0.9 < len(engine) / (graph.parameters * bytes_each) < 1.2 + 2**22 / graph.parameters


@pytest.mark.parametrize("watch", [False, True])
def test_float_weights(watch: bool) -> None:
    assert built(example(exact=False), "fp32", watch=watch)


def test_in_a_child_process() -> None:
    engine = build_module.build("tensorrt_rtx", None, lowered(example(), "int8"), request())
    assert len(engine) > 100_000


def test_a_child_says_what_the_builder_refuses() -> None:
    with pytest.raises(build_module.Unbuilt, match="does not parse the network"):
        build_module.build("tensorrt_rtx", None, b"no model", request())


class Small:
    """A model of a few nodes from uint8 `image` [N, 8, 8, 3]."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []

    def tensor(self, name: str, value: Any) -> str:
        self.tensors.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], output, **attributes))
        return output

    def planes(self) -> str:
        self.node("Cast", ["image"], "float", to=TensorProto.FLOAT)
        return self.node("Transpose", ["float"], "planes", perm=[0, 3, 1, 2])

    def quantised(self, source: str, zero: Any, scale: float = 1.0, read: float = 1.0) -> str:
        point = self.tensor(f"{source}/zero", zero)
        stored = [source, self.tensor(f"{source}/scale", np.float32(scale)), point]
        self.node("QuantizeLinear", stored, f"{source}/q")
        return self.node(
            "DequantizeLinear",
            [f"{source}/q", self.tensor(f"{source}/read", np.float32(read)), point],
            f"{source}/dq",
        )

    def weight(self) -> str:
        values = self.tensor("w", np.ones((4, 3, 3, 3), np.int8))
        scale, zero = self.tensor("w/s", np.float32(1)), self.tensor("w/z", np.int8(0))
        return self.node("DequantizeLinear", [values, scale, zero], "w/dq")

    def build(self, output: str, element: int = TensorProto.FLOAT) -> bytes:
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 8, 8, 3])
        result = helper.make_tensor_value_info(output, element, None)
        graph = helper.make_graph(self.nodes, "small", [image], [result], self.tensors)
        opsets = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, ir_version=8, opset_imports=opsets)
        return library().build(model.SerializeToString(), request())


def test_uint8_goes_into_cast() -> None:
    small = Small()
    assert small.build(small.planes())


@pytest.mark.parametrize(
    ("op", "attributes"), [("Transpose", {"perm": [0, 3, 1, 2]}), ("Flatten", {}), ("Relu", {})]
)
def test_uint8_goes_nowhere_else(op: str, attributes: dict[str, Any]) -> None:
    small = Small()
    small.node(op, ["image"], "first", **attributes)
    small.node("Cast", ["first"], "second", to=TensorProto.FLOAT)
    with pytest.raises(Refused):
        small.build("second")


def test_scales_of_quantiser_and_reader_may_differ() -> None:
    """What a Heaviside function is made of."""
    small = Small()
    source = small.node("Relu", [small.planes()], "rectified")
    source = small.quantised(source, np.int8(0), 1 / 512, 1 / 127)
    assert small.build(small.node("Conv", [source, small.weight()], "out"))


def test_weights_may_be_int8_or_quantised_floats() -> None:
    for stored in (True, False):
        small = Small()
        source = small.quantised(small.planes(), np.int8(0))
        if stored:
            weight = small.weight()
        else:
            weight = small.quantised(
                small.tensor("v", np.ones((4, 3, 3, 3), np.float32)), np.int8(0)
            )
        assert small.build(small.node("Conv", [source, weight], "out"))


def test_a_bias_is_float32() -> None:
    small = Small()
    source = small.quantised(small.planes(), np.int8(0))
    bias = small.tensor("bias", np.ones(4, np.float32))
    assert small.build(small.node("Conv", [source, small.weight(), bias], "out"))


def test_a_bias_is_not_int32() -> None:
    small = Small()
    source = small.quantised(small.planes(), np.int8(0))
    stored = [small.tensor("b", np.ones(4, np.int32)), small.tensor("b/s", np.float32(1))]
    bias = small.node("DequantizeLinear", stored, "bias")
    with pytest.raises(Refused, match="Int32"):
        small.build(small.node("Conv", [source, small.weight(), bias], "out"))


def test_zero_points_are_zero() -> None:
    small = Small()
    source = small.quantised(small.planes(), np.int8(-128))
    with pytest.raises(Refused, match="(?i)zero"):
        small.build(small.node("Conv", [source, small.weight()], "out"))


def test_a_uint8_zero_point_is_taken_for_int8_with_no_more_than_a_warning() -> None:
    """Spikes of 255 would saturate at 127: the one mistake that nobody refuses."""
    small = Small()
    source = small.quantised(small.planes(), np.uint8(0))
    assert small.build(small.node("Conv", [source, small.weight()], "out"))


@pytest.mark.parametrize("op", ["QLinearConv", "ConvInteger"])
def test_there_are_no_integer_operators(op: str) -> None:
    small = Small()
    small.quantised(small.planes(), np.int8(0))
    quantised = "planes/q"
    weight = small.tensor("w", np.ones((4, 3, 3, 3), np.int8))
    one, zero = small.tensor("one", np.float32(1)), small.tensor("zero", np.int8(0))
    inputs = (
        [quantised, weight]
        if op == "ConvInteger"
        else [quantised, one, zero, weight, one, zero, one, zero]
    )
    small.node(op, inputs, "sum")
    small.node("Cast", ["sum"], "out", to=TensorProto.FLOAT)
    with pytest.raises(Refused):
        small.build("out")


@pytest.mark.parametrize("element", [TensorProto.BOOL, TensorProto.FLOAT])
def test_spikes_may_be_outputs(element: int) -> None:
    small = Small()
    theta = small.tensor("theta", np.float32(9.5))
    fires = small.node("Greater", [small.planes(), theta], "fires")
    if element == TensorProto.FLOAT:
        fires = small.node("Cast", [fires], "bits", to=element)
    assert small.build(fires, element)
