"""The integer form: that it is one, that it is exact at every edge, and on every processor."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from graphs import example, example_of_levels, in_order, pictures, spiking_graphs
from hypothesis import given, settings
from onnx import ModelProto, TensorProto

from snn_runtime import load
from snn_runtime.engines.onnxruntime import backend as ort
from snn_runtime.engines.onnxruntime.backend import OrtBackend
from snn_runtime.engines.onnxruntime.integer import Integer
from snn_runtime.engines.onnxruntime.merge import in_one_group, merge
from snn_runtime.engines.onnxruntime.operators import WeightType
from snn_runtime.errors import UsageError
from snn_runtime.graph import (
    INPUT,
    Image,
    Node,
    Pool,
    Population,
    Projection,
    Readout,
    SpikingGraph,
    reference,
)
from snn_runtime.machine.saturation import saturates_here

FLOATS = {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "ConvInteger"}
AROUND = ((1, 1), (1, 1))
SIZE = 8
KINDS: tuple[WeightType, ...] = (np.uint8,) if saturates_here() else (np.int8, np.uint8)
"""Types of weights. Where int8 weights saturate they are not used: only that can be tested."""


def session(
    model: ModelProto, level: str = "ORT_ENABLE_ALL", save: Path | None = None
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    if save:
        options.optimized_model_filepath = str(save)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def serving(graph: SpikingGraph, weights: WeightType) -> ModelProto:
    network = Integer(graph, weights)
    return network.op.model(network.logits())


def debug(graph: SpikingGraph, weights: WeightType) -> ModelProto:
    network = Integer(graph, weights)
    return network.op.model(network.logits(), *network.spikes())


def executed(graph: SpikingGraph, folder: Path) -> Counter[str]:
    """The operators that remain after all optimisation."""
    session(serving(graph, np.int8), save=folder / "optimised.onnx")
    return Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)


def assert_exact(graph: SpikingGraph, images: npt.NDArray[np.uint8]) -> None:
    """All kinds of weights, with and without the optimiser: every spike and every logit's bits."""
    activity = reference.run(graph, images)
    for weights in KINDS:
        for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL"):
            engine = session(debug(graph, weights), level)
            logits, *fires = engine.run(None, {INPUT: images})
            for (name, bits), fired in zip(activity.spikes.items(), fires, strict=True):
                np.testing.assert_array_equal(fired, bits, err_msg=name)
            np.testing.assert_array_equal(logits.view(np.int32), activity.logits.view(np.int32))


class Stack:
    """Grows a graph of populations whose thresholds are currents that really occur."""

    def __init__(self, *offset: int) -> None:
        self.image = Image(SIZE, SIZE, (offset[0], offset[1], offset[2]))
        self.rng = np.random.default_rng(3)
        self.images = pictures(self.image, 3)
        self.nodes: list[Node] = []
        self.sent = {INPUT: self.images.transpose(0, 3, 1, 2).astype(np.int64)}
        self.sent[INPUT] -= np.array(offset).reshape(1, 3, 1, 1)

    def weight(self, *shape: int) -> npt.NDArray[np.int8]:
        return self.rng.integers(-127, 128, shape).astype(np.int8)

    def fire(self, name: str, *projections: Projection, levels: int = 1) -> str:
        silent = Population(name, projections, np.zeros(len(projections[0].weight), np.float32))
        current = silent.compute(self.sent)
        each = self.rng.permuted(current.swapaxes(0, 1).reshape(current.shape[1], -1), axis=1)
        side = np.where(np.arange(len(each)) % 2, 0.5, -0.5)
        theta = (each[:, :levels].T + side).astype(np.float32)
        node = Population(name, projections, in_order(theta.clip(max=theta.min(axis=0) + 2**16)))
        self.sent[name] = node.send(current)
        self.nodes.append(node)
        return name

    def pool(self, source: str, kind: str, kernel: int) -> str:
        node = Pool(f"{source}.{kind}", source, "max" if kind == "max" else "sum", kernel)
        self.sent[node.name] = node.compute(self.sent)
        self.nodes.append(node)
        return node.name

    def graph(self) -> SpikingGraph:
        source = self.nodes[-1].name
        weight = self.weight(3, int(np.prod(self.sent[source].shape[1:])))
        floats = self.rng.normal(0, 1, (2, 3)).astype(np.float32)
        return SpikingGraph(
            self.image,
            tuple(self.nodes),
            Readout(source, weight, floats[0], floats[1]),
            ("a", "b", "c"),
        )


def vgg(levels: int = 1) -> Stack:
    stack = Stack(125, 123, 114)
    source, channels = INPUT, 3
    for index, out in enumerate((8, 8, 0, 16, 16, 0, 24)):
        if out:
            weight = stack.weight(out, channels, 3, 3)
            around = Projection(source, weight, *AROUND)
            source, channels = stack.fire(f"conv{index}", around, levels=levels), out
        else:
            source = stack.pool(source, "max", 2)
    dense = Projection(source, stack.weight(12, channels * 4))
    stack.fire("dense", dense, levels=levels)
    return stack


def resnet() -> Stack:
    """Stem, a block as it stands, one that halves the map, and a sum over the map."""
    stack = Stack(125, 123, 114)
    source = stack.fire("stem", Projection(INPUT, stack.weight(8, 3, 3, 3), *AROUND))
    for name, inputs, out, step in (("one", 8, 8, 1), ("two", 8, 16, 2)):
        first = Projection(source, stack.weight(out, inputs, 3, 3), (step, step), (1, 1))
        middle = stack.fire(f"{name}.conv1", first)
        second = Projection(middle, stack.weight(out, out, 3, 3), *AROUND)
        short = Projection(source, stack.weight(out, inputs, 1, 1), (step, step))
        source = stack.fire(f"{name}.conv2", second, short)
    stack.pool(source, "sum", 4)
    return stack


@given(spiking_graphs())
@settings(max_examples=20)
def test_both_kinds_of_weights_equal_the_reference(graph: SpikingGraph) -> None:
    assert_exact(graph, pictures(graph.image, 4))


@pytest.mark.parametrize("levels", [1, 2])
def test_a_vgg_is_integers_throughout(levels: int, tmp_path: Path) -> None:
    graph = vgg(levels).graph()
    done = executed(graph, tmp_path)
    assert done["QLinearConv"] == 5 and done["QGemm"] == 1 and done["MatMulInteger"] == 1
    assert not FLOATS & set(done)
    assert_exact(graph, pictures(graph.image, 4))


def test_a_resnet_is_integers_throughout(tmp_path: Path) -> None:
    graph = resnet().graph()
    done = executed(graph, tmp_path)
    assert done["QLinearConv"] == 6  # five populations and the sum
    assert done["MatMulInteger"] == 1 and not FLOATS & set(done)
    assert_exact(graph, pictures(graph.image, 4))


def test_the_bundled_model_is_integers_throughout(tmp_path: Path) -> None:
    model = load(backend="onnxruntime", threads=1)
    assert isinstance(model.backend, OrtBackend) and model.backend.form == "integer"
    model.self_test()
    done = executed(model.graph, tmp_path)
    assert done["QLinearConv"] == len(model.graph.populations) and not FLOATS & set(done)


def test_only_what_has_a_threshold_a_position_is_in_floats(tmp_path: Path) -> None:
    graph = vgg().graph()
    first = graph.populations[0]
    ring = np.broadcast_to(first.threshold[:, None, None], graph.shapes[first.name]).copy()
    ring[:, 0], ring[:, -1], ring[:, :, 0], ring[:, :, -1] = 0.5, -7.5, 900.5, -20.5
    graph = replace(graph, nodes=(replace(first, threshold=ring), *graph.nodes[1:]))
    done = executed(graph, tmp_path)
    assert done["QLinearConv"] == 4 and done["QGemm"] == 1 and done["MatMulInteger"] == 1
    assert sum(done[name] for name in FLOATS) == 1
    images = pictures(graph.image, 4)
    activity = reference.run(graph, images)
    spikes = OrtBackend(graph, threads=1).spikes(images)
    for name, bits in activity.spikes.items():
        np.testing.assert_array_equal(spikes[name], bits, err_msg=name)


def test_both_forms_answer_alike() -> None:
    graph = example()
    images = pictures(graph.image, 5)
    answers = [OrtBackend(graph, form=form).run(images) for form in ("integer", "float")]
    np.testing.assert_array_equal(answers[0], answers[1])


def test_floats_have_no_integer_form() -> None:
    assert OrtBackend(example(exact=False)).form == "float"
    with pytest.raises(UsageError, match="form is integer"):
        OrtBackend(example(exact=False), form="integer")


def test_levels_that_meet_others() -> None:
    graph = example_of_levels()
    assert_exact(graph, pictures(graph.image, 4))


GAPS = (0, 1, 2, 3, 4, 5, 6, 7, 254, 255, 256, 257, 2**12, 2**16 - 1, 2**17 - 1, 2**17, 2**17 + 1)


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("gap", GAPS)
def test_two_steps_of_a_quantiser(gap: int, behind: bool, tmp_path: Path) -> None:
    """Currents right beside both thresholds, near 0 and far out: of pixels, and of spikes, whose
    unit is 255. Any current is whole 127s of some pixels, and ones."""
    most = 1 if behind else 255
    inputs = 2000 if behind else 127
    reach, ones = 127 * most * inputs, 126 // most + 1
    low = np.array([0, 1, 100, 12_345, reach - gap - 2, reach // 2, -gap, -gap // 2])
    theta = np.stack([low, low + gap]).astype(np.float32) + np.float32(0.5)
    beside = np.stack([low, low + 1, low + gap, low + gap + 1])
    currents = np.unique([0, reach, *beside.clip(0, reach).flat])
    images = np.zeros((len(currents), 1, inputs + ones, 3), np.uint8)
    for image, current in zip(images, currents, strict=True):
        whole, rest = divmod(current, 127)
        for part, total in ((image[0, :inputs], whole), (image[0, inputs:], rest)):
            part[: total // most, 0] = most
            part[total // most :][:1, 0] = total % most
    look = np.zeros((len(low), 3, inputs + ones), np.int8)
    weight = np.repeat([127, 1], [inputs, ones])
    look[:, 0] = weight
    nodes: list[Node] = []
    source = INPUT
    if behind:
        red = Projection(INPUT, np.array([[[[1]], [[0]], [[0]]]], np.int8))
        nodes, source = [Population("red", (red,), np.full(1, 0.5, np.float32))], "red"
        look = look[:, :1]
    dense = Projection(source, look.reshape(len(low), -1))
    nodes.append(Population("steps", (dense,), theta))
    readout = Readout("steps", np.eye(2, len(low), dtype=np.int8), *np.ones((2, 2), np.float32))
    picture = Image(1, inputs + ones, (0, 0, 0))
    graph = SpikingGraph(picture, tuple(nodes), readout, ("a", "b"))
    found = reference.run(graph, images, keep_currents=True)
    assert (found.currents["steps"] == currents[:, None]).all()
    assert set(found.spikes["steps"].flat) == ({0, 2} if gap == 0 else {0, 1, 2})
    assert_exact(graph, images)
    assert executed(graph, tmp_path)["QGemm"] == (gap <= 2**17)


@pytest.mark.parametrize("offset", [(0, 0, 0), (128, 128, 128), (0, 255, 7), (255, 255, 255)])
def test_every_way_to_look_at_the_picture(offset: tuple[int, int, int]) -> None:
    stack = Stack(*offset)
    first = Projection(INPUT, stack.weight(4, 3, 3, 3), (2, 1), (2, 1))
    stack.fire("padded", first)
    stack.fire("grouped", Projection(INPUT, stack.weight(6, 1, 3, 2), (1, 1), (1, 0), groups=3))
    stack.fire("twice", first, Projection(INPUT, stack.weight(4, 3, 3, 3), (2, 1), (2, 1)))
    mixed = (
        Projection("grouped", stack.weight(5, 6, 1, 1)),
        Projection(INPUT, stack.weight(5, 3, 3, 2), (1, 1), (1, 0)),
    )
    stack.fire("mixed", *mixed)
    seen, felt = stack.weight(5, 3 * SIZE * SIZE), stack.weight(5, 5 * SIZE * (SIZE - 1))
    stack.fire("dense", Projection(INPUT, seen), Projection("mixed", felt))
    assert_exact(stack.graph(), stack.images)


@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 7, 8, 13, 15, 16])
def test_sums_of_large_windows(kernel: int, tmp_path: Path) -> None:
    """All counts from 0 to kernel², beyond uint8 too, with a remainder, then convolved."""
    side = 2 * kernel + (kernel > 1)
    image = Image(side, side, (0, 0, 0))
    rng = np.random.default_rng(kernel)
    look = Projection(INPUT, np.array([[[[1]], [[0]], [[0]]], [[[0]], [[1]], [[0]]]], np.int8))
    weight = rng.integers(-127, 128, (4, 2, 2, 2)).astype(np.int8)
    nodes = (
        Population("bright", (look,), np.full(2, 127.5, np.float32)),
        Pool("count", "bright", "sum", kernel),
        Population("after", (Projection("count", weight),), np.full(4, 63.5, np.float32)),
    )
    readout = Readout("count", np.eye(8, dtype=np.int8), *np.eye(2, 8, dtype=np.float32) + 1)
    graph = SpikingGraph(image, nodes, readout, tuple("abcdefgh"))
    images = np.zeros((kernel**2 + 1, side, side, 3), np.uint8)
    for count, picture in enumerate(images):
        window = np.zeros(kernel**2, np.uint8)
        window[:count] = 255
        picture[:kernel, :kernel, 0] = rng.permutation(window).reshape(kernel, kernel)
        picture[:, :, 1] = rng.integers(0, 256, (side, side))
    assert_exact(graph, images)
    floats = FLOATS & set(executed(graph, tmp_path))
    assert bool(floats) == (kernel**2 > 255)


@pytest.mark.parametrize("kinds", ["max sum", "sum max", "sum sum", "max max", "sum sum sum"])
def test_pools_of_pools(kinds: str) -> None:
    stack = Stack(9, 8, 7)
    source = stack.fire("first", Projection(INPUT, stack.weight(3, 3, 1, 1)))
    for kind in kinds.split():
        source = stack.pool(source, kind, 2)
    count = stack.sent[source].shape[2]
    kernel = min(2, count)
    stack.fire("after", Projection(source, stack.weight(4, 3, kernel, kernel)))
    assert_exact(stack.graph(), stack.images)


def test_a_pool_that_outgrows_a_byte_and_all_that_follow_it() -> None:
    """4⁴ = 256 counts: floats, which are pooled again and meet integers in one population."""
    stack = Stack(0, 0, 0)
    stack.image = Image(2 * SIZE, 2 * SIZE, (0, 0, 0))
    stack.images = pictures(stack.image, 3)
    stack.sent[INPUT] = stack.images.transpose(0, 3, 1, 2).astype(np.int64)
    first = stack.fire("first", Projection(INPUT, stack.weight(2, 3, 1, 1)))
    halves = stack.pool(first, "sum", 8)
    whole = stack.pool(stack.pool(halves, "sum", 2), "max", 1)
    stack.fire(
        "both",
        Projection(whole, stack.weight(5, 2)),
        Projection(halves, stack.weight(5, 8)),
        Projection(first, stack.weight(5, 2 * 4 * SIZE * SIZE)),
    )
    stack.fire("last", Projection("both", stack.weight(4, 5)))
    assert_exact(stack.graph(), stack.images)


@pytest.mark.parametrize("reach", [2**22 - 1, 2**22, 2**23 - 1])
@pytest.mark.parametrize("far", [False, True])
def test_the_largest_currents(reach: int, far: bool, tmp_path: Path) -> None:
    """±reach really occurs, and is compared with thresholds beside it and as far out as may be."""
    inputs = -(-reach // 127)
    first = Projection(INPUT, np.full((inputs, 3, 1, 1), 1, np.int8))
    weight = np.full((4, inputs), 127, np.int8)
    weight[:, 0] = reach - 127 * (inputs - 1)
    weight[2:] *= -1
    theta = (
        np.array([-(2.0**23) + 0.5, 2.0**23 - 0.5] * 2)
        if far
        else np.array([reach - 0.5, reach + 0.5, -reach - 0.5, -reach + 0.5])
    )
    nodes = (
        Population("first", (first,), np.full(inputs, 0.5, np.float32)),
        Population("sum", (Projection("first", weight),), theta.astype(np.float32)),
    )
    readout = Readout("sum", np.eye(4, dtype=np.int8), *np.ones((2, 4), np.float32))
    graph = SpikingGraph(Image(1, 1, (0, 0, 0)), nodes, readout, tuple("abcd"))
    assert graph.bounds["sum"] == reach
    images = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1).repeat(3, axis=3)
    fired = reference.run(graph, images).spikes["sum"][1]
    assert fired.tolist() == [1, 0, 1, 0]
    assert_exact(graph, images)
    assert ("QGemm" in executed(graph, tmp_path)) == (reach < 2**22)


PAIRS = [
    # kernel, stride, padding, groups of each projection; whether they are one convolution
    ([((3, 3), (1, 1), (1, 1), 1), ((1, 1), (1, 1), (0, 0), 1)], True),
    ([((3, 3), (2, 2), (1, 1), 1), ((1, 1), (2, 2), (0, 0), 1)], True),
    ([((3, 2), (2, 1), (2, 0), 1), ((2, 2), (2, 1), (1, 0), 2)], True),
    ([((3, 3), (1, 1), (0, 0), 1), ((5, 5), (1, 1), (1, 1), 1)], True),
    ([((2, 3), (1, 1), (1, 1), 4), ((2, 3), (1, 1), (1, 1), 1)], True),
    ([((1, 1), (2, 2), (0, 0), 1), ((2, 2), (2, 2), (0, 0), 1)], True),
    # Twice the work is the limit: 25 taps for 3.
    ([((1, 3), (1, 1), (0, 1), 1), ((5, 1), (1, 1), (2, 0), 1)], False),
    ([((3, 3), (1, 1), (1, 1), 4), ((3, 3), (1, 1), (1, 1), 4)], False),
]


@pytest.mark.parametrize(("shapes", "one"), PAIRS)
def test_projections_are_merged_where_they_can_be(
    shapes: list[tuple[tuple[int, int], tuple[int, int], tuple[int, int], int]], one: bool
) -> None:
    stack = Stack(1, 2, 3)
    first = stack.fire("first", Projection(INPUT, stack.weight(4, 3, 1, 1)))
    projections = [
        Projection(first, stack.weight(8, 4 // groups, *kernel), stride, padding, groups)
        for kernel, stride, padding, groups in shapes
    ]
    stack.fire("sum", *projections)
    graph = stack.graph()
    merged = merge(projections, graph.shapes, graph.shapes["sum"])
    assert (merged is not None) == one
    assert_exact(graph, stack.images)


def test_what_cannot_be_merged_is_summed_in_floats(tmp_path: Path) -> None:
    """A strided kernel on a large map and a plain one on a small map."""
    graph = example()
    conv3 = graph.populations[2].projections
    assert merge(conv3, graph.shapes, graph.shapes["conv3"]) is None
    done = executed(graph, tmp_path)
    assert done["Conv"] == 2 and done["QLinearConv"] == 3 and done["QGemm"] == 2


def test_a_strided_shortcut_keeps_every_second_pixel() -> None:
    stack = resnet()
    graph = stack.graph()
    last = graph.populations[-1]
    merged = merge(last.projections, graph.shapes, graph.shapes[last.name])
    assert merged is not None and merged.every == ((1, 1), (2, 2)) and merged.stride == (1, 1)


def test_groups_become_blocks() -> None:
    weight = np.arange(8, dtype=np.int8).reshape(4, 2, 1, 1)
    whole = in_one_group(Projection("x", weight, groups=2))
    assert whole.groups == 1
    expected = [[0, 1, 0, 0], [2, 3, 0, 0], [0, 0, 4, 5], [0, 0, 6, 7]]
    np.testing.assert_array_equal(whole.weight[:, :, 0, 0], expected)


@pytest.mark.parametrize("weights", [np.int8, np.uint8])
def test_the_type_of_weights_is_the_processors(
    weights: WeightType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "saturates_here", lambda: weights is np.uint8)
    stored = OrtBackend(example())._lowered().op.model().graph.initializer
    kind = next(w.data_type for w in stored if w.name == "conv2/weight")
    assert kind == (TensorProto.INT8 if weights is np.int8 else TensorProto.UINT8)


def test_this_processor_is_given_weights_that_it_multiplies_exactly() -> None:
    graph = example()
    images = pictures(graph.image, 2)
    np.testing.assert_array_equal(
        OrtBackend(graph).run(images), reference.run(graph, images).logits
    )
