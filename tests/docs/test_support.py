"""docs/reference/support.md: each row is a graph, each column something that runs it or refuses."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from snn_runtime.engines.event.backend import EventBackend
from snn_runtime.engines.onnxruntime.backend import OrtBackend
from snn_runtime.engines.tensorrt.lowering import Form, lower
from snn_runtime.errors import DeviceError
from snn_runtime.graph import (
    INPUT,
    Builder,
    Elementwise,
    Image,
    Node,
    Population,
    Projection,
    SpikingGraph,
    Weights,
    reference,
)
from snn_runtime.model_file import read_file, to_bytes
from snn_runtime.proof.forms import logits

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "support.md"
Spikes = Mapping[str, npt.NDArray[Any]]


class Small(Builder):
    """A graph of 8×8 pixels with drawn weights."""

    def __init__(self, *, exact: bool = True) -> None:
        super().__init__(Image(8, 8, (120, 110, 100)), exact=exact)
        self.rng = np.random.default_rng(0)

    def weight(self, *shape: int) -> Weights:
        if not self.exact:
            return self.rng.normal(0, 1, shape).astype(np.float32)
        return self.rng.integers(-7, 8, shape, np.int8)

    def threshold(self, *shape: int) -> npt.NDArray[np.float32]:
        return self.rng.integers(-20, 60, shape).astype(np.float32) + np.float32(0.5)

    def conv(self, name: str, source: str | None = None, **how: tuple[int, int]) -> "Small":
        inputs = self.shapes[source or self.last][0]
        padding = how.get("padding", (1, 1))
        self.neurons(name, self.weight(8, inputs, 3, 3), self.threshold(8), source, padding=padding)
        return self

    def done(self) -> SpikingGraph:
        size = int(np.prod(self.shape))
        ones = np.ones(3, np.float32)
        return self.graph(self.weight(3, size), ones, ones, ("a", "b", "c"))


def dense() -> SpikingGraph:
    net = Small().conv("a")
    net.neurons("b", net.weight(6, 512), net.threshold(6))
    return net.done()


def grouped() -> SpikingGraph:
    net = Small().conv("a")
    weight = net.weight(8, 4, 3, 3)
    net.neurons("b", weight, net.threshold(8), stride=(2, 2), padding=(1, 1), groups=2)
    return net.done()


def several() -> SpikingGraph:
    net = Small().conv("a").conv("b")
    both = tuple(Projection(source, net.weight(8, 8, 1, 1)) for source in ("a", "b"))
    net.add(Population("c", both, net.threshold(8)))
    return net.done()


def positions() -> SpikingGraph:
    net = Small()
    net.neurons("a", net.weight(8, 3, 3, 3), net.threshold(8, 8, 8), padding=(1, 1))
    return net.done()


def levels(count: int, kind: Literal["max", "sum"]) -> SpikingGraph:
    net = Small()
    theta = np.sort(net.threshold(count, 8), axis=0)
    net.neurons("a", net.weight(8, 3, 3, 3), theta, padding=(1, 1))
    net.pool("b", kind, 2)
    theta = np.sort(net.threshold(count, 8), axis=0)
    net.neurons("c", net.weight(8, 8, 3, 3), theta, padding=(1, 1))
    return net.done()


def pooled(kind: str) -> SpikingGraph:
    net = Small().conv("a")
    net.pool("b", "max" if kind == "max" else "sum", 2)
    return net.done()


def counts() -> SpikingGraph:
    net = Small().conv("a")
    net.pool("b", "sum", 2)
    return net.conv("c").done()


def joined(kind: Literal["add", "and", "iand"]) -> SpikingGraph:
    net = Small().conv("a").conv("b")
    net.add(Elementwise("c", kind, "a", "b"))
    return net.conv("d").done()


ROWS: dict[str, Callable[[], SpikingGraph]] = {
    "population, convolution": lambda: Small().conv("a").conv("b").done(),
    "population, dense": dense,
    "groups, strides, padding": grouped,
    "several projections into one population": several,
    "a threshold a position, reading the image": positions,
    "two thresholds a neuron, and a max pool": lambda: levels(2, "max"),
    "fifteen thresholds a neuron, and a sum pool": lambda: levels(15, "sum"),
    "pool, max": lambda: pooled("max"),
    "pool, sum": lambda: pooled("sum"),
    "counts into a convolution": counts,
    "elementwise, add": lambda: joined("add"),
    "elementwise, and": lambda: joined("and"),
    "elementwise, iand": lambda: joined("iand"),
    "float32 weights": lambda: Small(exact=False).conv("a").conv("b").done(),
}


def of_file(graph: SpikingGraph, images: npt.NDArray[np.uint8]) -> None:
    data = to_bytes(graph)
    assert read_file(data).graph.digest() == graph.digest()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    check(graph, images, None, session.run(None, {INPUT: images})[0])


def of_event(graph: SpikingGraph, images: npt.NDArray[np.uint8]) -> None:
    engine = EventBackend(graph, threads=1)
    check(graph, images, engine.spikes(images), engine.run(images))


def of_onnxruntime(graph: SpikingGraph, images: npt.NDArray[np.uint8]) -> None:
    engine = OrtBackend(graph, threads=1)
    check(graph, images, engine.spikes(images), engine.run(images))


def of_tensorrt(form: Form) -> Callable[[SpikingGraph, npt.NDArray[np.uint8]], None]:
    def run(graph: SpikingGraph, images: npt.NDArray[np.uint8]) -> None:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        network = lower(graph, form)
        model = network.op.model(network.sums(), *network.spikes()).SerializeToString()
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        sums, *fired = session.run(None, {INPUT: images})
        names = [node.name for node in graph.populations]
        check(graph, images, dict(zip(names, fired, strict=True)), logits(graph, sums))

    return run


COLUMNS: dict[str, Callable[[SpikingGraph, npt.NDArray[np.uint8]], None]] = {
    "model.onnx": of_file,
    "event": of_event,
    "onnxruntime": of_onnxruntime,
    **{f"tensorrt {form}": of_tensorrt(form) for form in get_args(Form)},
}


def check(
    graph: SpikingGraph,
    images: npt.NDArray[np.uint8],
    spikes: Spikes | None,
    found: npt.NDArray[np.float32],
) -> None:
    """Compare with the reference; float32 weights as rounding allows, here not at all in spikes."""
    right = reference.run(graph, images)
    for name, bits in (spikes or {}).items():
        np.testing.assert_array_equal(bits, right.spikes[name])
    if graph.exact:
        np.testing.assert_array_equal(found, right.logits)
    else:
        np.testing.assert_allclose(found, right.logits, rtol=1e-4, atol=1e-3)


def table() -> dict[str, dict[str, str]]:
    engines = PAGE.read_text().partition("\n## ")[0]
    lines = [line for line in engines.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[2:]}


def test_the_page_has_these_rows_and_columns() -> None:
    assert list(table()) == list(ROWS)
    assert all(list(row) == list(COLUMNS) for row in table().values())


def test_every_kind_of_node_has_a_row() -> None:
    assert {type(node) for make in ROWS.values() for node in make().nodes} == set(get_args(Node))


@pytest.mark.parametrize("name", ROWS)
def test_the_page_says_what_runs(name: str) -> None:
    graph = ROWS[name]()
    images = np.random.default_rng(1).integers(0, 256, (3, 8, 8, 3), np.uint8)
    assert any(
        bits.any() and not bits.all() for bits in reference.run(graph, images).spikes.values()
    )
    for column, run in COLUMNS.items():
        if table()[name][column] == "yes":
            run(graph, images)
        else:
            assert table()[name][column] == "no"
            with pytest.raises((DeviceError, AssertionError)):
                run(graph, images)
