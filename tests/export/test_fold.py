import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn_export.fold import Norm, Synapse, check_pooled_before_norm, fold_norm, fold_threshold
from snn_runtime.errors import ModelError

SEEDS = st.integers(0, 2**32 - 1)


def a_norm(rng: np.random.Generator, channels: int) -> Norm:
    return Norm(
        rng.normal(0, 1, channels),
        rng.normal(0, 1, channels),
        rng.normal(0, 1, channels),
        rng.uniform(0.01, 4, channels),
        1e-5,
    )


@given(SEEDS)
def test_folded_neurons_fire_as_the_normalised_ones(seed: int) -> None:
    """Against the unfolded formula, negative gains included."""
    rng = np.random.default_rng(seed)
    weight, bias, inputs = rng.normal(size=(5, 7)), rng.normal(size=5), rng.normal(size=(50, 7))
    norm, theta = a_norm(rng, 5), rng.uniform(0.1, 2, 5)
    current = inputs @ weight.T + bias
    normalised = norm.gain * (current - norm.mean) / np.sqrt(norm.variance + norm.epsilon)
    neurons = fold_threshold("n", (fold_norm(Synapse("s", weight, offset=bias), norm),), theta)
    margin = np.abs(normalised + norm.shift - theta)
    fires = inputs @ neurons.synapses[0].weight.T > neurons.threshold
    wanted = normalised + norm.shift > theta
    assert (fires == wanted)[margin > 1e-9].all()


@given(SEEDS)
def test_constants_of_all_synapses_end_in_one_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    synapses = tuple(
        Synapse(name, rng.normal(size=(4, 3)), offset=rng.normal(size=4)) for name in "ab"
    )
    theta = rng.uniform(0.1, 1, 4)
    neurons = fold_threshold("n", synapses, theta)
    expected = theta - np.asarray(synapses[0].offset) - np.asarray(synapses[1].offset)
    np.testing.assert_allclose(neurons.threshold, expected, rtol=1e-12)
    assert all(synapse.offset == 0 for synapse in neurons.synapses)


def test_a_scalar_threshold_serves_every_channel() -> None:
    neurons = fold_threshold("n", (Synapse("s", np.ones((3, 2))),), np.array([0.7]))
    assert neurons.threshold.tolist() == [0.7, 0.7, 0.7]


@pytest.mark.parametrize("theta", [0.0, -0.5])
def test_thresholds_that_are_not_positive_are_refused(theta: float) -> None:
    with pytest.raises(ModelError, match=r"conv1: threshold .* is not positive"):
        fold_threshold("conv1", (Synapse("s", np.ones((2, 2))),), np.array([1.0, theta]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(bad: float) -> None:
    good = Synapse("s", np.ones((1, 2)))
    with pytest.raises(ModelError, match="conv1: a weight is not finite"):
        fold_threshold("conv1", (Synapse("s", np.array([[1.0, bad]])),), np.ones(1))
    with pytest.raises(ModelError, match="conv1: a threshold is not finite"):
        fold_threshold("conv1", (good,), np.array([bad]))
    with pytest.raises(ModelError, match="conv1: a normalisation or bias is not finite"):
        fold_threshold(
            "conv1", (Synapse("s", np.ones((1, 2)), offset=np.array([bad])),), np.ones(1)
        )


@pytest.mark.parametrize("gain", [0.0, -1.0])
def test_max_pooling_before_a_gain_that_is_not_positive_is_refused(gain: float) -> None:
    norm = Norm(np.array([1.0, gain]), np.zeros(2), np.zeros(2), np.ones(2), 1e-5)
    with pytest.raises(ModelError, match="conv3: channel 1 is max-pooled"):
        check_pooled_before_norm("conv3", norm)
