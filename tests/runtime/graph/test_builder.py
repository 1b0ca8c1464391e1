"""Graphs made node by node: the same as made at once, and refused where they go wrong."""

import re
from pathlib import Path

import numpy as np
import pytest

from snn_runtime.errors import ModelError
from snn_runtime.graph import (
    Builder,
    Image,
    Pool,
    Population,
    Projection,
    Readout,
    SpikingGraph,
)

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "python.md"


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.int8)


def halves(channels: int) -> np.ndarray:
    return np.full(channels, 0.5, np.float32)


def test_a_graph_with_branches_is_that_of_its_records() -> None:
    net = Builder(Image(6, 8, (1, 2, 3)))
    stem = net.neurons("stem", ones(4, 3, 3, 3), halves(4), stride=(1, 2), padding=(1, 1))
    assert (stem, net.last, net.shape) == ("stem", "stem", (4, 6, 4))
    net.neurons("left", ones(4, 2, 1, 1), halves(4), groups=2)
    net.pool("right", "max", 2, stem)
    assert net.shape == (4, 3, 2)
    both = (Projection("left", ones(5, 96)), Projection("right", ones(5, 24)))
    net.add(Population("joined", both, halves(5)))
    assert net.shapes == {
        "image": (3, 6, 8),
        "stem": (4, 6, 4),
        "left": (4, 6, 4),
        "right": (4, 3, 2),
        "joined": (5,),
    }
    scale, bias = np.ones(2, np.float32), np.zeros(2, np.float32)
    built = net.graph(ones(2, 5), scale, bias, ["a", "b"], provenance='{"x": 1}')
    nodes = (
        Population("stem", (Projection("image", ones(4, 3, 3, 3), (1, 2), (1, 1)),), halves(4)),
        Population("left", (Projection("stem", ones(4, 2, 1, 1), groups=2),), halves(4)),
        Pool("right", "stem", "max", 2),
        Population("joined", both, halves(5)),
    )
    readout = Readout("joined", ones(2, 5), scale, bias)
    whole = SpikingGraph(Image(6, 8, (1, 2, 3)), nodes, readout, ("a", "b"), '{"x": 1}')
    assert (built.digest(), built.provenance) == (whole.digest(), whole.provenance)
    assert net.graph(ones(2, 24), scale, bias, "ab", "right").readout.source == "right"


def test_a_node_that_does_not_fit_is_refused_at_once() -> None:
    net = Builder(Image(6, 8, (1, 2, 3)))
    with pytest.raises(ModelError, match="dense: weights .* do not fit a source of shape"):
        net.neurons("dense", ones(4, 7), halves(4))
    with pytest.raises(ModelError, match="pool: source 'nowhere' is not an earlier node"):
        net.pool("pool", "sum", 2, "nowhere")
    with pytest.raises(ModelError, match="floats: weights are int8, the readout's are float32"):
        Builder(net.image, exact=False).neurons("floats", ones(2, 144), halves(2))
    assert net.nodes == [] and net.last == "image"


def test_the_example_of_the_reference_runs() -> None:
    (example,) = re.findall(
        r"```python\n(from snn_runtime.graph.*?)```", PAGE.read_text(), re.DOTALL
    )
    space = {
        "weights": {"conv1": ones(4, 3, 3, 3), "conv2": ones(4, 4, 3, 3), "readout": ones(2, 1024)},
        "thresholds": {"conv1": halves(4), "conv2": halves(4)},
        "scale": np.ones(2, np.float32),
        "bias": np.zeros(2, np.float32),
    }
    exec(example, space)
    graph = space["graph"]
    assert isinstance(graph, SpikingGraph)
    assert graph.shapes["pool"] == (4, 16, 16) and graph.largest_sent("pool") == 2
