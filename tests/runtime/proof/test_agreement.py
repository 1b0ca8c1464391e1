"""What counts as explained by rounding, and what does not."""

from dataclasses import replace

import numpy as np
import pytest
from graphs import example, example_of_levels, pictures, spiking_graphs
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_runtime.graph import Population, SpikingGraph, reference
from snn_runtime.proof.agreement import follow, logits_of, unexplained


@given(spiking_graphs())
@settings(max_examples=20)
def test_the_reference_agrees_with_itself(graph: SpikingGraph) -> None:
    images = pictures(graph.image, 2)
    activity = reference.run(graph, images)
    assert unexplained(graph, images, activity.spikes) == dict.fromkeys(activity.spikes, 0)
    np.testing.assert_array_equal(logits_of(graph, activity.spikes), activity.logits)


@pytest.mark.parametrize("exact", [True, False])
@given(st.data())
@settings(max_examples=20)
def test_one_flipped_spike_is_found_where_it_is(exact: bool, data: st.DataObject) -> None:
    graph = example(exact)
    images = pictures(graph.image, 2)
    spikes = dict(reference.run(graph, images).spikes)
    name = data.draw(st.sampled_from(list(spikes)))
    spikes[name] = spikes[name].copy()
    position = data.draw(st.integers(0, spikes[name].size - 1))
    spikes[name].flat[position] ^= 1
    wrong = unexplained(graph, images, spikes)
    first = next(population for population, count in wrong.items() if count)
    assert (first, wrong[first]) == (name, 1)


def test_a_spike_too_many_is_found_at_every_level() -> None:
    graph = example_of_levels()
    images = pictures(graph.image, 2)
    activity = reference.run(graph, images)
    assert {int(sent.max()) for sent in activity.spikes.values()} == {1, 2, 3}
    for name, sent in activity.spikes.items():
        levels = next(node.levels for node in graph.populations if node.name == name)
        at = tuple(np.argwhere(sent == levels - 1)[0])
        more = sent.copy()
        more[at] += 1
        assert unexplained(graph, images, activity.spikes | {name: more})[name] == 1


@pytest.mark.parametrize("exact", [True, False])
def test_logits_must_come_of_the_spikes(exact: bool) -> None:
    """In float32 a picture may have other spikes where logits are computed; most have not."""
    graph = example(exact)
    activity = reference.run(graph, pictures(graph.image, 4))
    right, spikes = activity.logits, activity.spikes
    assert follow(graph, spikes, right)
    assert follow(graph, spikes, np.nextafter(right, np.float32(0))) != exact
    one = right.copy()
    one[0] += 1
    assert follow(graph, spikes, one) != exact
    class_of_all = right.copy()
    class_of_all[:, 0] *= 1.01
    for wrong in (right[:, ::-1], -1e3 * right, class_of_all, right * np.float32(np.nan)):
        assert not follow(graph, spikes, wrong)


def test_a_difference_does_not_cascade() -> None:
    """What follows correctly from a wrong spike is right: each population answers for itself."""
    graph = example()
    images = pictures(graph.image, 4)
    first = graph.populations[0]
    lower = replace(first, threshold=first.threshold - 2000)
    other = replace(graph, nodes=(lower, *graph.nodes[1:]))
    before, after = reference.run(graph, images).spikes, reference.run(other, images).spikes
    assert (before["fc1"] != after["fc1"]).any()
    wrong = unexplained(graph, images, after)
    assert wrong.pop("conv1") == (before["conv1"] != after["conv1"]).sum() > 0
    assert not any(wrong.values())


@pytest.mark.parametrize(("distance", "excused"), [(1e-8, True), (1e-3, False)])
def test_only_rounding_excuses_a_float_spike(distance: float, excused: bool) -> None:
    graph = example(exact=False)
    images = pictures(graph.image, 1)
    activity = reference.run(graph, images, keep_currents=True)
    last = graph.populations[-1]
    current = activity.currents[last.name][0]
    near = replace(last, threshold=(current + distance * np.abs(current)).astype(np.float32))
    nodes = tuple(near if node is last else node for node in graph.nodes)
    nearby = replace(graph, nodes=nodes)
    assert isinstance(nearby.nodes[-1], Population)
    everything = dict(activity.spikes) | {last.name: np.ones((1, 5), np.uint8)}
    counted = unexplained(nearby, images, everything)[last.name]
    assert (counted == 0) == excused
