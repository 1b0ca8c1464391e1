import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn_export.fold import FoldedNetwork, FoldedReadout, Neurons, Synapse
from snn_export.quantise import narrowed, to_int8
from snn_export.unrounded import to_float32
from snn_runtime.graph import Image, Pool, reference

IMAGE = Image(8, 8, (10, 128, 255))
SEEDS = st.integers(0, 2**32 - 1)


def a_network(rng: np.random.Generator, *, scale: float = 1.0) -> FoldedNetwork:
    """Image → a → sum pool → b, joined by an identity from the pool."""
    identity = Synapse("pool", np.full((4, 1, 1, 1), scale), groups=4)
    first = Synapse("image", rng.normal(0, scale, (4, 3, 3, 3)), (2, 2), (1, 1))
    second = Synapse("pool", rng.normal(0, scale, (4, 4, 3, 3)), (1, 1), (1, 1))
    nodes = (
        Neurons("a", (first,), rng.normal(0, 300 * scale, 4)),
        Pool("pool", "a", "sum", 2),
        Neurons("b", (second, identity), rng.normal(0, 5 * scale, 4)),
    )
    readout = FoldedReadout("b", rng.normal(size=(3, 16)), rng.normal(size=3))
    return FoldedNetwork(IMAGE, nodes, readout, ("x", "y", "z"))


@given(SEEDS, st.sampled_from([1e-6, 1.0, 1e6]))
def test_every_integer_current_is_judged_as_before(seed: int, scale: float) -> None:
    """k > qθ for every k the channel can reach: rounding θ, and clipping it, changes nothing."""
    folded = a_network(np.random.default_rng(seed), scale=scale)
    graph = to_int8(folded)
    for before, after in zip(
        (node for node in folded.nodes if isinstance(node, Neurons)), graph.populations, strict=True
    ):
        largest = np.max([np.abs(s.weight).reshape(4, -1).max(1) for s in before.synapses], axis=0)
        exact = before.threshold * (127 / largest)
        reach = graph.bounds[after.name]
        currents = np.arange(-reach, reach + 1)
        for channel in range(4):
            wanted = currents > exact[channel]
            assert ((currents > after.threshold[channel]) == wanted).all()


@given(SEEDS)
def test_all_projections_of_a_channel_share_one_grid(seed: int) -> None:
    folded = a_network(np.random.default_rng(seed))
    joined = folded.nodes[2]
    assert isinstance(joined, Neurons)
    weights = [p.weight for p in to_int8(folded).populations[1].projections]
    for channel in range(4):
        largest = max(float(np.abs(s.weight[channel]).max()) for s in joined.synapses)
        for synapse, weight in zip(joined.synapses, weights, strict=True):
            expected = np.rint(synapse.weight[channel] * (127 / largest))
            assert (weight[channel] == expected).all()
        assert max(int(np.abs(w[channel]).max()) for w in weights) == 127


@pytest.mark.parametrize(("theta", "fires"), [(-0.1, True), (0.1, False)])
def test_a_channel_without_weights_fires_always_or_never(theta: float, fires: bool) -> None:
    folded = a_network(np.random.default_rng(0))
    dead = Neurons(
        "a", (Synapse("image", np.zeros((4, 3, 3, 3)), (2, 2), (1, 1)),), np.full(4, theta)
    )
    graph = to_int8(FoldedNetwork(IMAGE, (dead, *folded.nodes[1:]), folded.readout, folded.labels))
    assert ((0 > graph.populations[0].threshold) == fires).all()


@given(SEEDS)
def test_the_readout_is_within_half_a_step(seed: int) -> None:
    folded = a_network(np.random.default_rng(seed))
    readout = to_int8(folded).readout
    restored = readout.weight * readout.scale[:, None].astype(np.float64)
    step = np.abs(folded.readout.weight).max(axis=1, keepdims=True) / 127
    assert (np.abs(restored - folded.readout.weight) <= 0.5001 * step).all()
    np.testing.assert_array_equal(readout.bias, folded.readout.bias.astype(np.float32))


def test_float32_keeps_the_weights() -> None:
    folded = a_network(np.random.default_rng(3))
    graph = to_float32(folded)
    assert not graph.exact
    for before, after in zip(
        (node for node in folded.nodes if isinstance(node, Neurons)), graph.populations, strict=True
    ):
        for synapse, projection in zip(before.synapses, after.projections, strict=True):
            np.testing.assert_array_equal(synapse.weight.astype(np.float32), projection.weight)
        np.testing.assert_array_equal(before.threshold.astype(np.float32), after.threshold)


def test_channels_of_many_inputs_are_held_below_24_bits() -> None:
    """One as it is, one of large sums, and two whose thresholds lie far beyond any current."""
    rng, image = np.random.default_rng(0), Image(24, 24, (0, 0, 0))
    weight = rng.normal(0, 1, (4, 3, 24, 24))
    weight[0] *= rng.random((3, 24, 24)) < 0.1
    theta = np.array([500.0, -500.0, 1e7, -1e7])
    readout = FoldedReadout("a", rng.normal(size=(3, 4)), rng.normal(size=3))
    node = Neurons("a", (Synapse("image", np.sign(weight) + weight / 100),), theta)
    folded = FoldedNetwork(image, (node,), readout, ("x", "y", "z"))
    graph = to_int8(folded)
    (made,) = graph.populations
    assert graph.bounds["a"] < 2**24
    largest = np.abs(made.projections[0].weight.reshape(4, -1).astype(int)).max(1)
    assert largest[0] == 127 and (largest[1:] < 40).all() and (largest > 15).all()
    assert narrowed(folded, graph) == {"a": 3}
    pictures = rng.integers(0, 256, (20, 24, 24, 3), dtype=np.uint8)
    fired = reference.run(graph, pictures).spikes["a"].reshape(20, 4)
    wanted = reference.run(to_float32(folded), pictures).spikes["a"].reshape(20, 4)
    np.testing.assert_array_equal(fired, wanted)
    assert not fired[:, 2].any() and fired[:, 3].all()


@given(SEEDS, st.sampled_from([1e-6, 1e6]), st.integers(1, 3))
def test_thresholds_beyond_23_bits_are_never_or_always_exceeded(
    seed: int, scale: float, levels: int
) -> None:
    rng, image = np.random.default_rng(seed), Image(26, 26, (0, 128, 255))
    theta = np.sort(rng.normal(0, 1e6 * scale, (levels, 2)), axis=0)
    synapse = Synapse("image", rng.normal(0, scale, (2, 3, 26, 26)))
    readout = FoldedReadout("a", rng.normal(size=(2, 2)), rng.normal(size=2))
    node = Neurons("a", (synapse,), theta[0] if levels == 1 else theta)
    graph = to_int8(FoldedNetwork(image, (node,), readout, ("x", "y")))
    (made,) = graph.populations
    assert (np.abs(made.threshold) < 2**23).all() and graph.bounds["a"] < 2**24
    weight = made.projections[0].weight
    ratio = weight.reshape(2, -1)[:, 0] / synapse.weight.reshape(2, -1)[:, 0]
    exact = theta * np.abs(ratio)
    reach = np.abs(weight.reshape(2, -1).astype(int)).sum(1) * 255
    beyond = np.abs(exact) > 1.1 * reach  # far enough that rounding weights does not matter
    assert ((made.threshold.reshape(exact.shape) > reach) == (exact > 0))[beyond].all()


def test_a_readout_of_many_inputs_is_held_below_24_bits() -> None:
    image, rng = Image(64, 64, (0, 0, 0)), np.random.default_rng(0)
    node = Neurons("a", (Synapse("image", rng.normal(size=(48, 3, 1, 1))),), np.zeros(48))
    weight = np.sign(rng.normal(size=(2, 48 * 64 * 64)))
    folded = FoldedNetwork(image, (node,), FoldedReadout("a", weight, np.zeros(2)), ("x", "y"))
    graph = to_int8(folded)
    assert 80 < int(graph.readout.weight.max()) < 127
    assert narrowed(folded, graph) == {"readout": 2}
    np.testing.assert_allclose(graph.readout.weight * graph.readout.scale[:, None], weight, 1e-2)
