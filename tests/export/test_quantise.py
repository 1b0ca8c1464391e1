import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn_export.fold import FoldedNetwork, FoldedReadout, Neurons, Synapse
from snn_export.quantise import to_float32, to_int8
from snn_runtime.graph import Image, Pool

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
