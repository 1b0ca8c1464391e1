"""The bytes that spikes make necessary, against a count by the interpreter."""

import math
from dataclasses import replace

import numpy as np
import pytest
from graphs import example, pictures, spiking_graphs
from hypothesis import given, settings

from snn_bench.limit import Traffic, limit_ns, traffic
from snn_bench.propagation import propagate
from snn_runtime.graph import INPUT, Population, SpikingGraph
from snn_runtime.graph.projection import reaching_taps


def counted(graph: SpikingGraph, node: Population, events: dict[str, np.ndarray]) -> int:
    """With every weight 1 a neuron's current is the number of weights that it had to fetch."""
    ones = [replace(p, weight=np.ones_like(p.weight)) for p in node.projections]
    return int(replace(node, projections=tuple(ones)).compute(events).sum())


@given(spiking_graphs())
@settings(max_examples=50)
def test_bytes_are_those_the_interpreter_would_fetch(graph: SpikingGraph) -> None:
    images = pictures(graph.image, 3)
    sent = {node.name: (values != 0).astype(np.int64) for node, values in propagate(graph, images)}
    picture = np.ones((3, *graph.shapes[INPUT]), np.int64)
    silent = np.zeros_like(picture)
    *layers, readout = traffic(graph, images)
    for node, layer in zip(graph.populations, layers, strict=True):
        from_spikes = counted(graph, node, {**sent, INPUT: silent})
        weights = [p.weight for p in node.projections if p.source != INPUT]
        half = all(-8 <= w.min() and w.max() <= 7 for w in weights)
        each = 0.5 if half else 1.0
        assert layer.row_bytes * 3 == pytest.approx(from_spikes * each)
        nothing = {name: np.zeros_like(values) for name, values in sent.items()}
        assert layer.image_macs * 3 == counted(graph, node, {**nothing, INPUT: picture})
        seen = sum(p.weight.size for p in node.projections) - sum(w.size for w in weights)
        assert layer.weight_bytes == seen + math.ceil(each * sum(w.size for w in weights))
    last = sent[graph.readout.source].sum() * len(graph.labels)
    each = 0.5 if abs(graph.readout.weight.astype(int) + 0.5).max() <= 7.5 else 1.0
    assert readout.row_bytes * 3 == pytest.approx(last * each)


def test_weights_of_four_bits_are_half_a_byte() -> None:
    graph = example()
    node = graph.populations[1]
    (projection,) = node.projections
    for edge, half in [((-8, 7), True), ((-9, 7), False), ((-8, 8), False)]:
        weight = np.clip(projection.weight, *edge).astype(np.int8)
        other = replace(node, projections=(replace(projection, weight=weight),))
        nodes = tuple(other if n is node else n for n in graph.nodes)
        layer = traffic(replace(graph, nodes=nodes), pictures(graph.image, 2))[1]
        assert layer.weight_bytes == weight.size / (2 if half else 1)


def test_taps_at_the_border_and_under_strides() -> None:
    assert reaching_taps(4, 3, 1, 1).tolist() == [2, 3, 3, 2]
    assert reaching_taps(5, 3, 2, 1).tolist() == [1, 2, 1, 2, 1]
    assert reaching_taps(5, 1, 2, 0).tolist() == [1, 0, 1, 0, 1]
    assert reaching_taps(4, 4, 1, 0).tolist() == [1, 1, 1, 1]


def test_float32_weights_are_four_bytes() -> None:
    graph = example(exact=False)
    small = traffic(graph, pictures(graph.image, 2))
    assert small[1].weight_bytes == 4 * graph.populations[1].projections[0].weight.size


def test_limit_adds_layers_at_their_own_bandwidths() -> None:
    layers = [Traffic("a", 100.0, 10, 0), Traffic("b", 30.0, 99, 0), Traffic("first", 0.0, 7, 5)]
    assert limit_ns(layers, {10: 50.0, 99: 10.0}) == pytest.approx(5.0)
