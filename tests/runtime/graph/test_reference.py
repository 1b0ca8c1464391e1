"""The interpreter against arithmetic by hand and an independent implementation."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from graphs import example, pictures, spiking_graphs
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_runtime.graph import (
    INPUT,
    Elementwise,
    Image,
    Pool,
    Population,
    Projection,
    Readout,
    SpikingGraph,
    reference,
)


def tiny() -> SpikingGraph:
    """Two neurons look at a picture of 1 x 2: one adds the reds, the other subtracts them."""
    weight = np.array([[1, 1, 0, 0, 0, 0], [1, -1, 0, 0, 0, 0]], np.int8)
    neurons = Population("n", (Projection(INPUT, weight),), np.array([2.5, -3.5], np.float32))
    readout = Readout(
        "n",
        np.array([[100, 27]], np.int8),
        np.array([0.1], np.float32),
        np.array([0.5], np.float32),
    )
    return SpikingGraph(Image(1, 2, (10, 0, 0)), (neurons,), readout, ("only",))


def test_by_hand() -> None:
    images = np.zeros((4, 1, 2, 3), np.uint8)
    images[:, 0, :, 0] = [[11, 12], [11, 11], [6, 10], [7, 10]]
    activity = reference.run(tiny(), images, keep_currents=True)
    assert activity.currents["n"].tolist() == [[3, -1], [2, 0], [-4, -4], [-3, -3]]
    assert activity.spikes["n"].tolist() == [[1, 1], [0, 1], [0, 0], [0, 1]]
    tenth, half = np.float32(0.1), np.float32(0.5)
    expected = [[tenth * np.float32(s) + half] for s in (127, 27, 0, 27)]
    assert activity.logits.dtype == np.float32
    assert activity.logits.tolist() == expected


def test_a_logit_rounds_twice() -> None:
    """Once after the product and once after the sum, which one fused operation would not do."""
    scale, bias = np.array([1 + 2**-23], np.float32), np.array([-127], np.float32)
    graph = replace(tiny(), readout=replace(tiny().readout, scale=scale, bias=bias))
    images = np.zeros((1, 1, 2, 3), np.uint8)
    images[:, 0, :, 0] = [[11, 12]]
    once = (scale.astype(np.float64) * 127 + bias).astype(np.float32)
    twice = scale * np.float32(127) + bias
    assert once != twice
    assert reference.run(graph, images).logits == twice


def test_pools_drop_the_remainder() -> None:
    sent = np.arange(15).reshape(1, 1, 3, 5)
    assert Pool("p", "s", "max", 2).compute({"s": sent}).tolist() == [[[[6, 8]]]]
    assert Pool("p", "s", "sum", 2).compute({"s": sent}).tolist() == [[[[12, 20]]]]
    assert Pool("p", "s", "sum", 3).compute({"s": sent}).tolist() == [[[[54]]]]


def in_torch(
    graph: SpikingGraph, images: npt.NDArray[np.uint8]
) -> tuple[dict[str, npt.NDArray[np.uint8]], npt.NDArray[np.float32]]:
    """The same network by torch's operators in float64."""
    torch.set_num_threads(1)  # waking threads costs more than these few numbers
    functional = torch.nn.functional
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).double()
    sent = {INPUT: pixels - torch.tensor(graph.image.offset).double().view(1, 3, 1, 1)}
    spikes = {}
    for node in graph.nodes:
        if isinstance(node, Pool):
            source, k = sent[node.source], node.kernel
            if node.kind == "max":
                sent[node.name] = functional.max_pool2d(source, k)
            else:
                sent[node.name] = functional.avg_pool2d(source, k, divisor_override=1)
            continue
        if isinstance(node, Elementwise):
            x, y = sent[node.first], sent[node.second]
            gated = torch.minimum(x, y) if node.kind == "and" else (x > y).double()
            sent[node.name] = x + y if node.kind == "add" else gated
            continue
        current: torch.Tensor | float = 0.0
        for p in node.projections:
            weight = torch.from_numpy(p.weight).double()
            if weight.ndim == 2:
                current = current + sent[p.source].flatten(1) @ weight.T
            else:
                current = current + functional.conv2d(
                    sent[p.source], weight, None, p.stride, p.padding, 1, p.groups
                )
        assert isinstance(current, torch.Tensor)
        theta = torch.from_numpy(node.threshold).double()
        if theta.ndim < 3:
            theta = theta.view(node.levels, 1, -1, *[1] * (current.ndim - 2))
        else:
            theta = theta[None, None]
        sent[node.name] = (current > theta).double().sum(0)
        spikes[node.name] = sent[node.name].byte().numpy()
    weight = torch.from_numpy(graph.readout.weight).double()
    sums = (sent[graph.readout.source].flatten(1) @ weight.T).float().numpy()
    return spikes, sums * graph.readout.scale + graph.readout.bias


@given(spiking_graphs(), st.integers(1, 4))
@settings(max_examples=80)
def test_equals_torch(graph: SpikingGraph, count: int) -> None:
    images = pictures(graph.image, count)
    activity = reference.run(graph, images)
    spikes, logits = in_torch(graph, images)
    assert list(activity.spikes) == list(spikes)
    for name, bits in spikes.items():
        np.testing.assert_array_equal(activity.spikes[name], bits, err_msg=name)
    np.testing.assert_array_equal(activity.logits, logits)


@given(spiking_graphs(), st.data())
@settings(max_examples=40)
def test_raising_a_threshold_never_adds_spikes(graph: SpikingGraph, data: st.DataObject) -> None:
    images = pictures(graph.image, 3)
    before = reference.run(graph, images).spikes
    chosen = data.draw(st.sampled_from(graph.populations))
    step = np.float32(data.draw(st.integers(0, 200)))
    raised = tuple(
        replace(node, threshold=node.threshold + step) if node is chosen else node
        for node in graph.nodes
    )
    after = reference.run(replace(graph, nodes=raised), images).spikes
    assert (after[chosen.name] <= before[chosen.name]).all()


@given(spiking_graphs())
@settings(max_examples=30)
def test_each_image_stands_alone(graph: SpikingGraph) -> None:
    images = pictures(graph.image, 4)
    together = reference.run(graph, images)
    for i in range(4):
        alone = reference.run(graph, images[i : i + 1])
        np.testing.assert_array_equal(together.logits[i : i + 1], alone.logits)
        for name, bits in alone.spikes.items():
            np.testing.assert_array_equal(together.spikes[name][i : i + 1], bits)


@pytest.mark.parametrize("exact", [True, False])
def test_an_empty_batch_keeps_its_shapes(exact: bool) -> None:
    graph = example(exact)
    activity = reference.run(graph, pictures(graph.image, 0), keep_currents=True)
    assert activity.logits.shape == (0, 3)
    assert activity.spikes["conv3"].shape == (0, 6, 4, 4)
    assert activity.currents["fc1"].shape == (0, 8)
    number = np.int64 if exact else np.float64
    assert {current.dtype for current in activity.currents.values()} == {np.dtype(number)}
