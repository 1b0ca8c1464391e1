"""The three forms for TensorRT, run by ONNX Runtime without its optimiser: every spike."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from corner_graphs import CORNERS
from event_cases import SLOW
from graphs import example, example_of_levels, pictures, spiking_graphs
from hypothesis import given, settings
from onnx import ModelProto, TensorProto
from wide_graphs import wide_graphs

from snn_bench.topology import Design, build
from snn_runtime.engines.tensorrt.arithmetic import ADDITIVE_BOUND, in_half, int8_limit
from snn_runtime.engines.tensorrt.lowering import Form, lower
from snn_runtime.graph import (
    INPUT,
    Image,
    Pool,
    Population,
    Projection,
    Readout,
    SpikingGraph,
    reference,
)
from snn_runtime.onnx_build.float32 import SUMS
from snn_runtime.proof.agreement import unexplained
from snn_runtime.proof.forms import logits

FORMS: tuple[Form, ...] = ("int8", "fp16", "fp32")


def run(model: ModelProto, images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    outputs: list[npt.NDArray[np.float32]] = session.run(None, {INPUT: images})
    return outputs


def serving(graph: SpikingGraph, form: Form) -> ModelProto:
    network = lower(graph, form)
    return network.op.model(network.sums())


def debug(graph: SpikingGraph, form: Form) -> ModelProto:
    network = lower(graph, form)
    return network.op.model(network.sums(), *network.spikes())


def assert_exact(graph: SpikingGraph, images: npt.NDArray[np.uint8]) -> None:
    activity = reference.run(graph, images)
    for form in FORMS:
        sums, *fires = run(debug(graph, form), images)
        for (name, bits), fired in zip(activity.spikes.items(), fires, strict=True):
            np.testing.assert_array_equal(fired, bits, err_msg=f"{form} {name}")
        np.testing.assert_array_equal(logits(graph, sums), activity.logits, err_msg=form)


def operators(graph: SpikingGraph, form: Form) -> Counter[str]:
    return Counter(node.op_type for node in serving(graph, form).graph.node)


@given(spiking_graphs())
@settings(max_examples=120)
def test_every_form_spikes_as_the_reference(graph: SpikingGraph) -> None:
    assert_exact(graph, pictures(graph.image, 4))


@given(wide_graphs())
@settings(max_examples=30)
def test_wide_networks(graph: SpikingGraph) -> None:
    assert_exact(graph, pictures(graph.image, 2))


@pytest.mark.parametrize("make", [m for n, m in CORNERS.items() if n not in SLOW])
def test_corners(make: Callable[[], SpikingGraph]) -> None:
    graph = make()
    assert_exact(graph, pictures(graph.image, 2))


@given(spiking_graphs(exact=False))
@settings(max_examples=10)
def test_float_networks_have_one_form(graph: SpikingGraph) -> None:
    images = pictures(graph.image, 3)
    names = [node.name for node in graph.populations]
    _, *fires = run(debug(graph, "fp32"), images)
    spikes = {name: sent.astype(np.uint8) for name, sent in zip(names, fires, strict=True)}
    assert not any(unexplained(graph, images, spikes).values())


def test_several_levels() -> None:
    graph = example_of_levels()
    assert_exact(graph, pictures(graph.image, 4))
    done = operators(graph, "int8")
    # One pair for each product behind the picture, one for each node that sends; one level needs no
    # comparison.
    assert done["QuantizeLinear"] == done["DequantizeLinear"] == 6 + len(graph.nodes)
    assert done["Greater"] == 2 + 3 + 2 + 2


@pytest.mark.parametrize("form", FORMS)
def test_the_file_is_valid_onnx(form: Form) -> None:
    model = debug(example(), form)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 8 and model.opset_import[0].version == 17


@pytest.mark.parametrize("form", FORMS)
def test_the_same_bytes_every_time(form: Form) -> None:
    first, second = (serving(example(), form).SerializeToString(deterministic=True) for _ in "ab")
    assert first == second


@pytest.mark.parametrize("topology", ["vgg16", "resnet20"])
def test_weights_of_whole_networks_are_int8_but_for_the_first_layer(topology: str) -> None:
    graph = build(Design("vgg16" if topology == "vgg16" else "resnet20", width=0.25), 0.1)
    done = operators(graph, "int8")
    products = sum(len(node.projections) for node in graph.populations) + 1
    # One pair for each product of the layers behind the first, one for each node that sends.
    pools = sum(isinstance(node, Pool) for node in graph.nodes)
    assert done["Conv"] + done["Gemm"] == products
    assert done["QuantizeLinear"] == products - 1 + len(graph.populations) + pools
    assert not done["Greater"]


def test_quantisers_are_as_tensorrt_wants_them() -> None:
    """int8 zero points of 0, constant positive scales, nothing negative, no int32, uint8 cast."""
    for form in FORMS:
        model = debug(example(), form)
        constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
        made = {o: n.op_type for n in model.graph.node for o in n.output}
        for node in model.graph.node:
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                assert constants[node.input[2]].dtype == np.int8 and constants[node.input[2]] == 0
                assert constants[node.input[1]] > 0
            if node.op_type == "QuantizeLinear" and node.input[0] not in constants:
                # Of a spike or a count, which is nothing negative, or of what Relu cut.
                assert made[node.input[0]] in ("Relu", "MaxPool", "AveragePool", "Cast")
            if INPUT in node.input:
                assert node.op_type == "Cast"
        assert TensorProto.INT32 not in {t.data_type for t in model.graph.initializer}


def _counting(kernel: int, channels: int = 2) -> tuple[SpikingGraph, npt.NDArray[np.uint8]]:
    """All counts from 0 to k², with a remainder at the border, then convolved and read out."""
    side = 2 * kernel + (kernel > 1)
    rng = np.random.default_rng(kernel)
    look = Projection(INPUT, np.array([[[[1]], [[0]], [[0]]], [[[0]], [[1]], [[0]]]], np.int8))
    weight = rng.integers(-127, 128, (4, channels, 2, 2)).astype(np.int8)
    nodes = (
        Population("bright", (look,), np.full(2, 127.5, np.float32)),
        Pool("count", "bright", "sum", kernel),
        Pool("most", "count", "max", 2),
        Population("after", (Projection("count", weight),), np.full(4, 63.5, np.float32)),
        Population("last", (Projection("most", weight[:, :, :1, :1]),), np.full(4, 9.5, "f4")),
    )
    readout = Readout("count", np.eye(8, dtype=np.int8), *np.eye(2, 8, dtype=np.float32) + 1)
    graph = SpikingGraph(Image(side, side, (0, 0, 0)), nodes, readout, tuple("abcdefgh"))
    images = np.zeros((kernel**2 + 1, side, side, 3), np.uint8)
    for count, picture in enumerate(images):
        window = np.zeros(kernel**2, np.uint8)
        window[:count] = 255
        picture[:kernel, :kernel, 0] = rng.permutation(window).reshape(kernel, kernel)
        picture[:, :, 1] = rng.integers(0, 256, (side, side))
    return graph, images


@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 7, 10, 11, 12, 16])
def test_counts_of_every_window(kernel: int) -> None:
    graph, images = _counting(kernel)
    assert_exact(graph, images)
    assert bool(operators(graph, "int8")["AveragePool"]) == (kernel**2 <= 127)


@pytest.mark.parametrize("kernel", [1, 3, 7, 11])
def test_a_mean_becomes_its_count_for_any_divisor(kernel: int) -> None:
    """AveragePool may sum, divide and round as it likes: the nearest integer is the count."""
    count = np.arange(kernel**2 + 1, dtype=np.float32)
    share = np.float32(1 / kernel**2)
    for mean in (count / np.float32(kernel**2), count * share):
        for step in (-2, 0, 2):
            near = mean + step * np.spacing(mean)
            np.testing.assert_array_equal(np.rint(near / share), count)


def test_a_spike_is_exactly_one() -> None:
    scale = np.float32(1 / 127)
    assert np.float32(127) * scale == 1
    assert float(scale) * 127 == 1 - 2.0**-28


def as_integers(current: int, theta: float, factors: int) -> int:
    """What an int8 kernel makes of an int32 sum: the worst order of roundings, in float32."""
    scale = np.float32(1 / 127)
    value = np.float32(127 * current) * scale
    for _ in range(factors - 1):  # a further projection that adds nothing still rounds
        value = np.float32(value + np.float32(0))
    margin = np.maximum(np.float32(value - np.float32(theta)), np.float32(0))
    return int(np.clip(np.rint(margin * np.float32(512)), -128, 127))


@pytest.mark.parametrize("projections", [1, 2, 3])
def test_int8_kernels_cannot_err_up_to_the_limit(projections: int) -> None:
    limit = int8_limit(projections)
    rng = np.random.default_rng(0)
    for current in [limit, -limit, limit - 1, 0, *map(int, rng.integers(-limit, limit, 500))]:
        assert as_integers(current, current - 0.5, projections) == 127
        assert as_integers(current, current + 0.5, projections) == 0


@pytest.mark.parametrize("bound", [int8_limit(1), int8_limit(1) + 1, ADDITIVE_BOUND, 2**23 - 1])
@pytest.mark.parametrize("far", [False, True])
def test_the_largest_currents(bound: int, far: bool) -> None:
    """± bound really occurs, beside thresholds that it meets and ones that it never can."""
    inputs = -(-bound // 127)
    first = Projection(INPUT, np.full((inputs, 3, 1, 1), 1, np.int8))
    weight = np.full((4, inputs), 127, np.int8)
    weight[:, 0] = bound - 127 * (inputs - 1)
    weight[2:] *= -1
    beside = np.array([bound - 0.5, bound + 0.5, -bound - 0.5, -bound + 0.5])
    theta = np.array([-(2.0**23) + 0.5, 2.0**23 - 0.5] * 2) if far else beside
    nodes = (
        Population("first", (first,), np.full(inputs, 0.5, np.float32)),
        Population("sum", (Projection("first", weight),), theta.astype(np.float32)),
    )
    readout = Readout("sum", np.eye(4, dtype=np.int8), *np.ones((2, 4), np.float32))
    graph = SpikingGraph(Image(1, 1, (0, 0, 0)), nodes, readout, tuple("abcd"))
    images = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1).repeat(3, axis=3)
    assert reference.run(graph, images).spikes["sum"][1].tolist() == [1, 0, 1, 0]
    assert_exact(graph, images)
    quantised = "sum/weight_int8" in {n.name for n in serving(graph, "int8").graph.node}
    assert quantised == (bound <= int8_limit(1))


@pytest.mark.parametrize("theta", [2046.5, 2047.5, 2048.5, -2047.5, -2048.5, 70_000.5])
def test_float16_decides_right_as_far_as_it_counts_in_ones(theta: float) -> None:
    """Currents around θ on both sides, and so far beyond that float16 is infinite."""
    step = 1 if theta > 0 else -1
    target = int(abs(theta) - 0.5)
    weight = np.zeros((3, 1200), np.int8)
    for row, current in zip(weight, (target, target + 1, 127 * 1200), strict=True):
        full, rest = divmod(current, 127)
        row[:full] = 127
        row[full : full + 1] = rest
    first = Projection(INPUT, np.ones((1200, 3, 1, 1), np.int8))
    nodes = (
        Population("on", (first,), np.full(1200, -0.5, np.float32)),
        Population("near", (Projection("on", weight * step),), np.full(3, theta, np.float32)),
    )
    readout = Readout("near", np.eye(3, dtype=np.int8), *np.ones((2, 3), np.float32))
    graph = SpikingGraph(Image(1, 1, (0, 0, 0)), nodes, readout, tuple("abc"))
    assert in_half(graph, graph.populations[1]) == [abs(theta) + 0.5 <= 2048]
    images = np.zeros((1, 1, 1, 3), np.uint8)
    fired = reference.run(graph, images).spikes["near"][0].tolist()
    assert fired == ([0, 1, 1] if theta > 0 else [1, 0, 0])
    assert_exact(graph, images)


def test_float16_takes_a_far_current_only_beside_near_ones() -> None:
    """An identity of 127 leaves room beside a far convolution; a second far one does not."""
    first = Projection(INPUT, np.ones((64, 3, 1, 1), np.int8))
    far = Projection("on", np.full((64, 64, 3, 3), 127, np.int8), padding=(1, 1))
    short = Projection("on", np.full((64, 1, 1, 1), 127, np.int8), groups=64)
    theta = np.full(64, 1900.5, np.float32)
    nodes = (
        Population("on", (first,), np.full(64, 0.5, np.float32)),
        Population("identity", (far, short), theta),
        Population("twice", (far, far), theta),
        Population("further", (far, short), theta + 100),
    )
    readout = Readout("twice", np.ones((1, 64 * 16), np.int8), *np.ones((2, 1), np.float32))
    graph = SpikingGraph(Image(4, 4, (0, 0, 0)), nodes, readout, ("a",))
    assert in_half(graph, nodes[1]) == [True, True]
    assert in_half(graph, nodes[2]) == [False, False]
    assert in_half(graph, nodes[3]) == [False, True]
    assert_exact(graph, pictures(graph.image, 3))


def test_the_output_is_what_the_readout_sums() -> None:
    model = serving(example(), "int8")
    assert [output.name for output in model.graph.output] == [SUMS]
