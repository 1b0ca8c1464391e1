"""What a graph must be to exist: each rule with a graph that breaks only this rule."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from graphs import example

from snn_runtime.errors import ModelError
from snn_runtime.graph import (
    INPUT,
    Elementwise,
    Image,
    Node,
    Pool,
    Population,
    Projection,
    Readout,
    SpikingGraph,
    reference,
)

Change = Callable[[SpikingGraph], SpikingGraph]


def int8(*shape: int, value: int = 1) -> npt.NDArray[np.int8]:
    return np.full(shape, value, np.int8)


def half(count: int, value: float = 0.5) -> npt.NDArray[np.float32]:
    return np.full(count, value, np.float32)


def per_position(channels: int) -> npt.NDArray[np.float32]:
    return half(channels * 8 * 8).reshape(channels, 8, 8)


def insert(*nodes: Node, readout: Readout | None = None) -> Change:
    """Put nodes in front of the last population, or the readout behind them."""

    def change(graph: SpikingGraph) -> SpikingGraph:
        return replace(graph, nodes=(*graph.nodes, *nodes), readout=readout or graph.readout)

    return change


def image(**changes: Any) -> Change:
    return lambda graph: replace(graph, image=replace(graph.image, **changes))


def conv1(**changes: Any) -> Change:
    """Change the projection of the first population."""

    def change(graph: SpikingGraph) -> SpikingGraph:
        first = graph.populations[0]
        projection = replace(first.projections[0], **changes)
        first = replace(first, projections=(projection,))
        return replace(graph, nodes=(first, *graph.nodes[1:]))

    return change


def theta(values: npt.NDArray[Any]) -> Change:
    def change(graph: SpikingGraph) -> SpikingGraph:
        first = replace(graph.populations[0], threshold=values)
        return replace(graph, nodes=(first, *graph.nodes[1:]))

    return change


def readout(**changes: Any) -> Change:
    return lambda graph: replace(graph, readout=replace(graph.readout, **changes))


def text(**changes: Any) -> Change:
    return lambda graph: replace(graph, **changes)


def dense(name: str, source: str, inputs: int, **changes: Any) -> Population:
    return Population(name, (Projection(source, int8(2, inputs), **changes),), half(2))


def wide(value: int) -> tuple[Node, ...]:
    """A dense population on all the pixels, 8·8·3 of them, up to 151 each."""
    weight = int8(2, 192, value=value)
    weight[1] = 0
    return (Population("x", (Projection(INPUT, weight),), half(2)),)


def doubled(times: int) -> tuple[Node, ...]:
    """A channel of spikes, added to itself again and again: `d0`, `d1`, …"""
    names = ["on", *(f"d{number}" for number in range(times))]
    sums = (Elementwise(b, "add", a, a) for a, b in zip(names, names[1:], strict=False))
    return (Population("on", (Projection(INPUT, int8(1, 3, 1, 1)),), half(1)), *sums)


def around(name: str, source: str, weight: npt.NDArray[np.int8]) -> Population:
    """A convolution whose kernel is as large as its source."""
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    return Population(name, (Projection(source, weight, padding=padding),), half(len(weight)))


def joined(kind: Any, first: str, second: str, name: str = "j") -> Elementwise:
    return Elementwise(name, kind, first, second)


def join(kind: str, first: str, second: str) -> Change:
    return insert(joined(kind, first, second))


with_128 = int8(4, 3, 3, 3)
with_128[1, 2, 0, 0] = -128

RULES: dict[str, tuple[Change, str]] = {
    "no height": (image(height=0), "image: size is 0x8, expected 1 to 4096 a side"),
    "huge width": (image(width=4097), "image: size is 8x4097, expected 1 to 4096 a side"),
    "two offsets": (image(offset=(1, 2)), "image: offset is"),
    "offset 256": (image(offset=(0, 256, 0)), "image: offset is"),
    "offset -1": (image(offset=(-1, 0, 0)), "image: offset is"),
    "offset NaN": (image(offset=(0, np.nan, 0)), "image: offset is"),
    "fractional offset": (
        image(offset=(120, 115.5, 104)),
        "image: offset is .120, 115.5, 104., int8 weights need whole numbers",
    ),
    "fit": (image(fit="pad"), "image: fit is 'pad', expected crop or stretch"),
    "same name": (insert(Pool("conv1", "conv1", "max", 2)), "conv1: two nodes have this name"),
    "slash in a name": (insert(Pool("a/b", "conv1", "max", 2)), "'a/b': a node's name is"),
    "empty name": (insert(Pool("", "conv1", "max", 2)), "'': a node's name is"),
    "long name": (insert(Pool("a" * 101, "conv1", "max", 2)), "a node's name is"),
    "newline in a name": (insert(Pool("a\n", "conv1", "max", 2)), "a node's name is"),
    "called image": (insert(Pool("image", "conv1", "max", 2)), "image: this name is reserved"),
    "called logits": (insert(Pool("logits", "conv1", "max", 2)), "logits: this name is reserved"),
    "called readout": (insert(Pool("readout", "conv1", "max", 2)), "this name is reserved"),
    "pool of nothing": (insert(Pool("p", "x", "max", 2)), "p: source 'x' is not an earlier node"),
    "pool of itself": (insert(Pool("p", "p", "max", 2)), "p: source 'p' is not an earlier node"),
    "pool of the image": (insert(Pool("p", INPUT, "max", 2)), "p: pools spikes, not the image"),
    "kind of pool": (insert(Pool("p", "conv1", "mean", 2)), "p: pool kind is 'mean'"),  # type: ignore[arg-type]  # wrong on purpose
    "window 0": (insert(Pool("p", "conv1", "max", 0)), "p: window of 0 does not fit"),
    "window 9": (insert(Pool("p", "conv1", "sum", 9)), "p: window of 9 does not fit"),
    "pool of a vector": (insert(Pool("p", "fc1", "max", 1)), "p: window of 1 does not fit"),
    "join of nothing": (join("add", "conv1", "x"), "j: source 'x' is not an earlier node"),
    "join of the image": (join("add", "conv1", INPUT), "j: joins spikes, not the image"),
    "kind of join": (
        join("or", "conv1", "conv2"),
        "j: kind is 'or', expected 'add', 'and' or 'iand'",
    ),
    "unlike shapes": (
        join("and", "conv1", "fc1"),
        r"j: sources of different shapes \(4, 8, 8\) and \(8,\)",
    ),
    "AND of counts": (
        insert(Pool("p", "conv1", "max", 4), Pool("s", "conv1", "sum", 4), joined("and", "p", "s")),
        "j: is and of counts up to 16, expected spikes",
    ),
    "IAND of a sum": (
        insert(joined("add", "fc2", "fc2"), joined("iand", "j", "fc2", name="k")),
        "k: is iand of counts up to 2, expected spikes",
    ),
    "doubled 25 times": (
        insert(
            joined("add", "fc2", "fc2", name="d0"),
            *(joined("add", f"d{i}", f"d{i}", name=f"d{i + 1}") for i in range(24)),
        ),
        "d24: 33,554,432 spikes can reach a neuron, limit is 16,777,216",
    ),
    "no projection": (insert(Population("x", (), half(2))), "x: has no projection"),
    "unknown source": (insert(dense("x", "y", 3)), "x: source 'y' is not an earlier node"),
    "later source": (conv1(source="conv2"), "conv1: source 'conv2' is not an earlier node"),
    "different shapes": (
        insert(
            Population("x", (Projection("fc2", int8(2, 5)), Projection("fc2", int8(3, 5))), half(2))
        ),
        "x: projections of different shapes",
    ),
    "float among int8": (
        conv1(weight=np.ones((4, 3, 3, 3), np.float32)),
        "conv1: weights are float32, the readout's are int8",
    ),
    "-128": (conv1(weight=with_128), "conv1: a weight is -128, expected -127 to 127"),
    "empty weights": (conv1(weight=int8(4, 3, 0, 3)), "conv1: weights of shape"),
    "no neurons": (
        insert(Population("x", (Projection("fc2", int8(0, 5)),), half(0))),
        "x: weights of shape",
    ),
    "dense of another size": (
        insert(dense("x", "fc1", 9)),
        "x: weights .2, 9. do not fit a source",
    ),
    "rank 3": (conv1(weight=int8(4, 3, 3)), "conv1: weights .4, 3, 3. do not fit"),
    "conv of a vector": (
        insert(Population("x", (Projection("fc1", int8(2, 8, 1, 1)),), half(2))),
        "x: weights .2, 8, 1, 1. do not fit",
    ),
    "channels": (conv1(weight=int8(4, 4, 3, 3)), "conv1: weights .4, 4, 3, 3. in 1 groups"),
    "0 groups": (conv1(groups=0), "in 0 groups do not fit"),
    "-1 groups": (conv1(groups=-3, weight=int8(4, -1 * -1, 3, 3)), "in -3 groups do not fit"),
    "groups that do not divide": (conv1(groups=3, weight=int8(4, 1, 3, 3)), "in 3 groups"),
    "stride 0": (conv1(stride=(0, 1)), "conv1: stride is .0, 1., expected 1 to 4096"),
    "stride 5000": (conv1(stride=(1, 5000)), "conv1: stride is .1, 5000., expected 1 to 4096"),
    "padding -1": (conv1(padding=(-1, 1)), "conv1: padding .-1, 1. is negative"),
    "padding 3": (conv1(padding=(1, 3)), "conv1: padding .1, 3. reaches past the kernel"),
    "kernel 9": (
        conv1(weight=int8(4, 3, 9, 3), padding=(0, 1)),
        "conv1: kernel .9, 3. does not fit a source",
    ),
    "count of thresholds": (theta(half(3)), "conv1: thresholds are float32.3,., expected .4,."),
    "thresholds of another map": (
        theta(half(4 * 7 * 8).reshape(4, 7, 8)),
        "conv1: thresholds are float32.4, 7, 8., expected .4,. or .4, 8, 8.",
    ),
    "thresholds by position behind spikes": (
        lambda graph: insert(replace(graph.populations[1], name="x", threshold=per_position(4)))(
            graph
        ),
        "x: thresholds are float32.4, 8, 8., expected .4,.",
    ),
    "thresholds by position of a dense population": (
        insert(Population("x", wide(1)[0].projections, half(2).reshape(2, 1))),  # type: ignore[union-attr]  # no pool
        "x: thresholds are float32.2, 1., expected .2,.",
    ),
    "thresholds by position of one pixel": (
        insert(Population("x", (Projection(INPUT, int8(2, 3, 8, 8)),), half(2).reshape(2, 1, 1))),
        "x: thresholds are float32.2, 1, 1., expected .2,.",
    ),
    "one level in a form of its own": (
        theta(half(4).reshape(1, 4)),
        r"conv1: thresholds are float32.1, 4., expected .4,. or .4, 8, 8., or .4,. at each of 2 to",
    ),
    "levels of 3 channels": (theta(half(6).reshape(2, 3)), "are float32.2, 3., expected .4,."),
    "16 levels": (theta(half(64).reshape(16, 4)), "thresholds are float32.16, 4., expected"),
    "levels by position": (
        theta(np.stack([per_position(4)] * 2)),
        "thresholds are float32.2, 4, 8, 8., expected",
    ),
    "levels that descend": (
        theta(np.array([[1.5, 2.5, 3.5, 4.5], [1.5, 1.5, 4.5, 4.5]], np.float32)),
        "conv1: a threshold is below that of the level before",
    ),
    "a level that is whole": (
        theta(np.array([[0.5, 1.5, 2.5, 3.5], [2, 2.5, 3.5, 4.5]], np.float32)),
        "conv1: thresholds are not half-integers",
    ),
    "one threshold of many is whole": (
        theta(np.where(np.arange(256).reshape(4, 8, 8) == 77, np.float32(1), np.float32(0.5))),
        "conv1: thresholds are not half-integers",
    ),
    "thresholds in float64": (theta(half(4).astype(np.float64)), "conv1: thresholds are float64"),
    "NaN threshold": (theta(half(4, np.nan)), "conv1: non-finite threshold"),
    "infinite threshold": (theta(half(4, np.inf)), "conv1: non-finite threshold"),
    "whole threshold": (theta(half(4, 3.0)), "conv1: thresholds are not half-integers"),
    "threshold 0": (theta(half(4, 0.0)), "conv1: thresholds are not half-integers"),
    "quarter threshold": (theta(half(4, -0.25)), "conv1: thresholds are not half-integers"),
    "huge threshold": (theta(half(4, 2.0**24)), "conv1: a threshold is beyond"),
    "current of 2^24": (
        lambda graph: insert(
            Population("x", (*wide(127)[0].projections,) * 5, half(2))  # type: ignore[union-attr]  # no pool
        )(graph),
        "x: current can reach 18409920, exact engines need less than 2.24",
    ),
    "readout of 2^24": (
        insert(
            Population("g", (Projection("conv1", int8(2100, 4, 1, 1)),), half(2100)),
            Pool("h", "g", "sum", 8),
            readout=Readout("h", int8(3, 2100, value=127), half(3), half(3)),
        ),
        "readout: current can reach 17068800, exact engines need less than 2.24",
    ),
    "readout of the image": (
        readout(source=INPUT, weight=int8(3, 192)),
        "readout: reads the image, expected spikes",
    ),
    "readout of nothing": (readout(source="x"), "readout: source 'x' is not an earlier node"),
    "classes": (readout(weight=int8(4, 5)), "readout: weights .4, 5. for 3 labels"),
    "inputs": (readout(weight=int8(3, 6)), "readout: weights .3, 6. for 3 labels"),
    "readout in float64": (
        readout(weight=np.ones((3, 5))),
        "weights are int8, the readout's are float32",
    ),
    "readout -128": (readout(weight=int8(3, 5, value=-128)), "readout: a weight is -128"),
    "scales": (readout(scale=half(2)), "readout: scale is float32.2,., expected 3"),
    "biases in float64": (readout(bias=np.zeros(3)), "readout: bias is float64"),
    "NaN scale": (readout(scale=half(3, np.nan)), "readout: non-finite scale"),
    "infinite bias": (readout(bias=half(3, -np.inf)), "readout: non-finite bias"),
    "subnormal scale": (readout(scale=half(3, 1e-40)), "readout: subnormal scale"),
    "overflow": (readout(scale=half(3, 3e38)), "readout: a logit can leave the range of float32"),
    "no labels": (text(labels=()), "labels: there are none"),
    "two labels": (text(labels=("a", "b")), "readout: weights .3, 5. for 2 labels"),
    "empty label": (text(labels=("a", "", "c")), "labels: number 1 is ''"),
    "number as a label": (text(labels=("a", 2, "c")), "labels: number 1 is 2"),
    "1 MB label": (text(labels=("a", "b" * 10**6, "c")), "labels: number 1 is 'b{79}, expected"),
    "label with a newline": (text(labels=("a\r", "b", "c")), "labels: 'a.r' holds characters"),
    "label with a mark": (text(labels=("\ufeffa", "b", "c")), "holds characters nobody can see"),
    "surrogate label": (text(labels=("\udc80", "b", "c")), "holds characters nobody can see"),
    "provenance": (text(provenance="[]"), "provenance: is not a JSON object"),
    "no JSON": (text(provenance="{"), "provenance: is not JSON"),
    "NaN in JSON": (
        text(provenance='{"a": NaN}'),
        "provenance: is not JSON: NaN is no JSON number",
    ),
    "1e999 in JSON": (text(provenance='{"a": -1e999}'), "-1e999 is no number that a float holds"),
    "infinity in JSON": (text(provenance='{"a": -Infinity}'), "-Infinity is no JSON number"),
    "deep JSON": (text(provenance='{"a":' + "[" * 10**5), "provenance: is not JSON"),
    "long number": (text(provenance='{"a":' + "1" * 10**5 + "}"), "provenance: is not JSON"),
    "large JSON": (text(provenance=" " * 2**20 + "{}"), "provenance: 1,048,578 bytes, limit"),
    "surrogate provenance": (text(provenance='{"a": "\udc80"}'), "provenance: is not JSON"),
    "work": (
        lambda graph: SpikingGraph(
            Image(4096, 4096, (0, 0, 0)),
            (
                Population("x", (Projection(INPUT, int8(4, 3, 40, 40)),), half(4)),
                Population("y", (Projection("x", int8(4, 4, 50, 50)),), half(4)),
            ),
            graph.readout,
            graph.labels,
        ),
        "x: 316,[0-9,]+ multiply-adds up to here, limit is 274,877,906,944",
    ),
    "work of counts": (
        lambda graph: SpikingGraph(
            Image(64, 64, (0, 0, 0)),
            (*doubled(12), around("x", "d11", int8(8, 1, 64, 64, value=0))),
            graph.readout,
            graph.labels,
        ),
        "x: 567,[0-9,]+ multiply-adds up to here, limit is 274,877,906,944",
    ),
    "work of a readout": (
        lambda graph: SpikingGraph(
            Image(4, 4, (0, 0, 0)),
            doubled(20),
            Readout("d19", int8(20_000, 16, value=0), half(20_000), half(20_000)),
            tuple(map(str, range(20_000))),
        ),
        "readout: 335,[0-9,]+ multiply-adds up to here, limit is 274,877,906,944",
    ),
    "values": (
        lambda graph: SpikingGraph(
            Image(4096, 4096, (0, 0, 0)),
            (Population("x", (Projection(INPUT, int8(9, 3, 1, 1)),), half(9)),),
            graph.readout,
            graph.labels,
        ),
        "x: sends 150,994,944 values an image, limit is 134,217,728",
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_rules(rule: str) -> None:
    change, message = RULES[rule]
    with pytest.raises(ModelError, match=message) as refusal:
        change(example())
    assert refusal.value.code == "bad_graph"
    assert len(str(refusal.value)) < 400
    assert "\n" not in str(refusal.value)


FLOAT_RULES: dict[str, tuple[Change, str]] = {
    "NaN weight": (conv1(weight=np.full((4, 3, 3, 3), np.nan, np.float32)), "non-finite weight"),
    "infinite weight": (conv1(weight=np.full((4, 3, 3, 3), np.inf, np.float32)), "non-finite"),
    "subnormal weight": (
        conv1(weight=np.full((4, 3, 3, 3), 1e-39, np.float32)),
        "conv1: subnormal weight",
    ),
    "subnormal threshold": (theta(half(4, -1e-39)), "conv1: subnormal threshold"),
    "int8 among float": (
        conv1(weight=int8(4, 3, 3, 3)),
        "weights are int8, the readout's are float",
    ),
    "overflow": (
        conv1(weight=np.full((4, 3, 3, 3), 1e35, np.float32)),
        "leave the range of float32",
    ),
    "offset beyond float32": (image(offset=(125.307, 0, 0)), "numbers that float32 holds"),
    "subnormal offset": (image(offset=(2.0**-140, 0, 0)), "image: subnormal offset"),
    "float16": (conv1(weight=np.ones((4, 3, 3, 3), np.float16)), "conv1: weights are float16"),
}


@pytest.mark.parametrize("rule", FLOAT_RULES)
def test_rules_for_floats(rule: str) -> None:
    change, message = FLOAT_RULES[rule]
    with pytest.raises(ModelError, match=message):
        change(example(exact=False))


def test_a_readout_in_float64_is_refused() -> None:
    float64: Any = np.ones((3, 5))
    with pytest.raises(ModelError, match="readout: weights are float64, expected int8 or float32"):
        readout(weight=float64)(example(exact=False))


def test_what_is_allowed() -> None:
    """Floats need no half-integers, and zero is a threshold for them; labels may repeat."""
    theta(half(4, 0.0))(example(exact=False))
    text(labels=("crane", "crane", "ship"))(example())
    text(labels=("你好", "Ünïcode", "a b"))(example())
    conv1(padding=(2, 2))(example())
    theta(per_position(4))(example())
    image(offset=(127.5, 0.25, float(np.float32(125.307))))(example(exact=False))
    both = (Projection("conv1", int8(3, 4, 1, 1)), Projection(INPUT, int8(3, 3, 1, 1)))
    insert(Population("x", both, per_position(3)))(example())
    almost = Readout("h", int8(3, 2000, value=127), half(3), half(3))  # 2000 · 64 · 127 < 2^24
    wide_layer = Population("g", (Projection("conv1", int8(2000, 4, 1, 1)),), half(2000))
    insert(wide_layer, Pool("h", "g", "sum", 8), readout=almost)(example())


def test_bounds_are_reached() -> None:
    """The bound is not just safe: the worst picture gets there."""
    weight = np.array([[3, -2, 0], [0, 0, -5]], np.int8)
    graph = SpikingGraph(
        Image(1, 1, (55, 200, 0)),
        (Population("x", (Projection(INPUT, weight),), half(2)),),
        Readout("x", int8(1, 2), half(1), half(1)),
        ("one",),
    )
    assert graph.bounds == {INPUT: 255, "x": 5 * 255}
    pixels = np.array([0, 0, 255], np.uint8).reshape(1, 1, 1, 3)
    assert reference.run(graph, pixels, keep_currents=True).currents["x"][0, 1] == -1275


def test_bounds_and_shapes_of_the_example() -> None:
    graph = example()
    assert graph.shapes["conv3"] == (6, 4, 4)
    assert graph.shapes["pool3"] == (6, 2, 2)
    assert graph.bounds["pool2"] == 1
    assert graph.bounds["pool3"] == 4
    conv3 = graph.populations[2]
    sums = sum(np.abs(p.weight.astype(int)).reshape(6, -1).sum(axis=1) for p in conv3.projections)
    assert graph.bounds["conv3"] == np.max(sums)
    fc1 = graph.populations[3].projections[0].weight.astype(int)
    assert graph.bounds["fc1"] == 4 * np.abs(fc1).sum(axis=1).max()


def test_int16() -> None:
    def graph(value: int) -> SpikingGraph:
        weight = np.array([[127, value, 0]], np.int8)
        nodes = (Population("x", (Projection(INPUT, weight),), half(1)),)
        readout = Readout("x", int8(1, 1), half(1), half(1))
        return SpikingGraph(Image(1, 1, (0, 0, 0)), nodes, readout, ("one",))

    assert graph(1).bounds["x"] == 128 * 255 < 2**15 < 129 * 255 == graph(2).bounds["x"]
    assert graph(1).fits_int16("x") and not graph(2).fits_int16("x")
    assert not example().fits_int16("conv1")
    assert not example(exact=False).fits_int16("fc2")


CHANGES: dict[str, Change] = {
    "offset": image(offset=(120, 115, 105)),
    "fit": image(fit="stretch"),
    "label": text(labels=("cat", "boat", "Straße")),
    "stride": lambda graph: replace(
        graph, readout=replace(graph.readout, bias=graph.readout.bias + 1)
    ),
    "scale": lambda graph: replace(
        graph, readout=replace(graph.readout, scale=graph.readout.scale * 2)
    ),
    "threshold": lambda graph: theta(graph.populations[0].threshold + 1)(graph),
    "weight": lambda graph: conv1(weight=-graph.populations[0].projections[0].weight)(graph),
    "pool": lambda graph: replace(
        graph,
        nodes=tuple(
            replace(n, kind="sum") if isinstance(n, Pool) and n.kind == "max" else n
            for n in graph.nodes
        ),
    ),
    "thresholds by position": theta(per_position(4)),
    "levels": theta(half(8).reshape(2, 4)),
    "float": lambda _: example(exact=False),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_digest_sees_every_change(change: str) -> None:
    assert CHANGES[change](example()).digest() != example().digest()


def test_the_digest_is_of_what_computes() -> None:
    provenance = json.dumps({"trained": "elsewhere"})
    assert replace(example(), provenance=provenance).digest() == example().digest()


def test_a_whole_offset_is_the_same_as_an_integer() -> None:
    assert image(offset=(120.0, 115.0, 104.0))(example()).digest() == example().digest()


def test_counting_parameters() -> None:
    weights = 4 * 27 + 4 * 18 + 6 * 36 + 6 * 4 + 8 * 24 + 5 * 8 + 3 * 5
    assert example().parameters == weights + (4 + 4 + 6 + 8 + 5) + 2 * 3


def test_elementwise_nodes_differ_by_kind_and_order() -> None:
    """And each is what its equation says, of all four pairs of spikes."""
    x, y = np.array([[0, 0, 1, 1]]), np.array([[0, 1, 0, 1]])
    results = {"add": [0, 1, 1, 2], "and": [0, 0, 0, 1], "iand": [0, 0, 1, 0]}
    digests = set()
    for kind, expected in results.items():
        node = joined(kind, "x", "y")
        np.testing.assert_array_equal(node.respond({"x": x, "y": y}), [expected])
        for pair in (("conv1", "conv2"), ("conv2", "conv1")):
            digests.add(join(kind, *pair)(example()).digest())
    assert len(digests) == 6
    graph = insert(joined("add", "pool3", "pool3"))(example())
    assert (graph.largest_sent("j"), graph.shapes["j"]) == (8, (6, 2, 2))
    assert (graph.schema, example().schema) == (3, 1)
