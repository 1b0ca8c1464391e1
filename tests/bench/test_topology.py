"""The benchmark's networks: the trainer's layers, and thresholds that cause the asked rates."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from graphs import example, pictures, spiking_graphs
from hypothesis import given, settings

from snn_bench.propagation import propagate
from snn_bench.rates import at_rate, entering_rates, thresholds
from snn_bench.scenes import folder_scenes
from snn_bench.topology import TOPOLOGIES, Design, Pooling, Topology, build
from snn_bench.workloads import synthetic
from snn_runtime.errors import InputError
from snn_runtime.graph import Image, Pool, Population, SpikingGraph, reference
from snn_runtime.image.scenes import random_scenes
from snn_train.layout import LayerPlan, plan

SMALL = 0.06


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("pooling", get_args(Pooling))
@pytest.mark.parametrize("hidden", [0, 4096])
def test_layers_are_the_trainers(topology: Topology, pooling: Pooling, hidden: int) -> None:
    design = Design(topology, pooling, hidden, width=SMALL)
    graph = build(design, 0.1)
    units = round(hidden * SMALL)
    layers = plan(topology.removesuffix("-224"), SMALL, units, (design.side, design.side))
    pools = {node.source: node for node in graph.nodes if isinstance(node, Pool)}
    assert [node.name for node in graph.populations] == [layer.name for layer in layers]
    for node, layer in zip(graph.populations, layers, strict=True):
        assert graph.shapes[node.name] == shape(layer)
        pool = pools.get(node.name)
        assert (pool.kernel if pool else 1) == layer.pool
        sources = [layer.source, *filter(None, [layer.shortcut])]
        expected = [pools[name].name if name in pools else name for name in sources]
        assert [p.source for p in node.projections] == expected
        assert node.projections[0].stride == (layer.stride, layer.stride)
    kinds = {node.kind for node in pools.values()}
    assert kinds == {"max" if pooling == "max" else "sum"}


def shape(layer: LayerPlan) -> tuple[int, ...]:
    size = (layer.height, layer.width) if layer.kind == "conv" else ()
    return (layer.channels, *size)


@pytest.mark.parametrize(
    ("design", "millions"),
    [
        (Design("vgg16"), 14.7),
        (Design("vgg16", "average"), 39.9),
        (Design("resnet20"), 11.3),
        (Design("vgg16-224", width=0.5), 35.6),
    ],
)
def test_networks_are_as_large_as_published(design: Design, millions: float) -> None:
    assert build(design, 0.1).parameters / 1e6 == pytest.approx(millions, rel=0.02)


@pytest.mark.parametrize(("bits", "most"), [(8, 127), (6, 31), (4, 7)])
def test_weights_fill_their_bits(bits: int, most: int) -> None:
    design = Design("resnet20", width=SMALL, weight_bits=bits)
    graph = build(design, 0.1)
    for node in graph.populations:
        for projection in node.projections:
            largest = abs(projection.weight.astype(int)).reshape(len(projection.weight), -1)
            assert (largest.max(axis=1) == most).all()
    assert design.name.endswith(", 4-bit weights") == (bits == 4)


@pytest.mark.parametrize(
    ("topology", "pooling", "rate", "bits"),
    [("vgg16", "max", 0.02, 8), ("vgg16", "average", 0.1, 4), ("resnet20", "max", 0.1, 8)],
)
def test_spikes_enter_each_layer_at_the_asked_rate(
    topology: Topology, pooling: Pooling, rate: float, bits: int
) -> None:
    design = Design(topology, pooling, hidden=1024, width=0.2, weight_bits=bits)
    (workload,) = synthetic(design, [rate], None)
    graph = workload.graph
    measured = entering_rates(graph, workload.images)
    assert measured == pytest.approx(interpreted_rates(graph, workload.images), abs=1e-9)
    read = {p.source for node in graph.populations for p in node.projections}
    assert measured.keys() == (read | {graph.readout.source}) - {"image"}
    # 0.1 % absolute, where there are a thousand neurons to choose among.
    for name, found in measured.items():
        neurons = np.prod(graph.shapes[name]) * len(workload.images)
        assert abs(found - rate) < max(0.001, 2 / neurons), name


def interpreted_rates(graph: SpikingGraph, images: np.ndarray) -> dict[str, float]:
    """By the definition: ones behind a max pool, counts / k² behind a sum pool."""
    spikes = reference.run(graph, images).spikes
    rates = {name: float(bits.mean()) for name, bits in spikes.items()}
    for node in graph.nodes:
        if isinstance(node, Pool):
            sent = node.compute({node.source: spikes[node.source].astype(np.int64)})
            rates[node.name] = float(sent.mean())
            if node.kind == "sum":
                rates[node.name] /= node.kernel**2
    read = {p.source for node in graph.populations for p in node.projections}
    read.add(graph.readout.source)
    return {name: rate for name, rate in rates.items() if name in read}


@given(spiking_graphs())
@settings(max_examples=30)
def test_propagation_is_the_interpreters(graph: SpikingGraph) -> None:
    images = pictures(graph.image, 3)
    spikes = reference.run(graph, images).spikes
    for node, sent in propagate(graph, images):
        if isinstance(node, Population):
            np.testing.assert_array_equal(sent, spikes[node.name])


def test_rates_of_any_graph_can_be_set() -> None:
    graph = example()
    images = random_scenes(graph.image.height, graph.image.width, 40)
    rates = entering_rates(at_rate(graph, images, 0.25), images)
    # A count behind the sum pool is what its population sends.
    assert rates["conv1"] == pytest.approx(0.25, abs=0.002)
    assert rates["pool2"] == pytest.approx(0.25, abs=0.01)
    assert rates["pool3"] == pytest.approx(0.25, abs=0.02)


def test_thresholds_are_half_integers_that_ties_do_not_mislead() -> None:
    rng = np.random.default_rng(0)
    current = rng.integers(-3, 4, (5, 40, 6, 6)).astype(np.float32)  # seven values only
    theta = thresholds(current, 0.2)
    assert (theta % 1 == 0.5).all()
    assert (current > theta[:, None, None]).mean() == pytest.approx(0.2, abs=0.002)


def test_scenes_are_smooth_and_fixed() -> None:
    image = Image(32, 48, (0, 0, 0))
    scenes = random_scenes(image.height, image.width, 4)
    assert scenes.shape == (4, 32, 48, 3) and scenes.dtype == np.uint8
    np.testing.assert_array_equal(scenes, random_scenes(image.height, image.width, 4))
    values = scenes.astype(float)
    neighbours = np.corrcoef(values[:, :, 1:].ravel(), values[:, :, :-1].ravel())[0, 1]
    assert neighbours > 0.9
    assert 30 < values.std() < 70


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no supported images"):
        folder_scenes(Image(8, 8, (0, 0, 0)), tmp_path, 4)
