"""A current that equals its threshold: neurons fire at it or do not, in integers as before."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn_export.fold import FoldedNetwork, FoldedReadout, Neurons, Synapse
from snn_export.quantise import to_int8
from snn_export.ties import Scale, whole_below
from snn_runtime.graph import Image, reference

BITS = st.sampled_from([8, 6, 4])


def a_network(magnitudes: np.ndarray, count: int, closed: bool, bits: int) -> FoldedNetwork:
    """`count` neurons that always fire, into neurons of weight m and threshold count · m."""
    always = Neurons("a", (Synapse("image", np.ones((count, 3, 1, 1))),), np.full(count, -1.0))
    weights = np.repeat(magnitudes[:, None], count, 1)
    judged = Neurons("b", (Synapse("a", weights),), magnitudes * count, closed)
    readout = FoldedReadout("b", np.ones((1, len(magnitudes))), np.zeros(1))
    return FoldedNetwork(Image(1, 1, (0, 0, 0)), (always, judged), readout, ("x",), bits)


@pytest.mark.parametrize("closed", [False, True])
@given(st.lists(st.integers(1, 2**12), min_size=1, max_size=40), st.integers(1, 9), BITS)
def test_a_tie_is_judged_as_before(
    closed: bool, magnitudes: list[int], count: int, bits: int
) -> None:
    """Small whole numbers, exact in any float; 127/13 is not."""
    folded = a_network(np.array(magnitudes, np.float64), count, closed, bits)
    fired = reference.run(to_int8(folded), np.zeros((1, 1, 1, 3), np.uint8)).spikes["b"]
    assert (fired == closed).all()


@given(
    st.floats(-1e3, 1e3),
    st.floats(1e-3, 1e3),
    st.floats(-0.5, 0.5),
    st.integers(-2000, 2000),
    st.integers(-50, 50),
    st.booleans(),
)
def test_the_whole_number_below_is_that_of_fractions(
    theta: float, largest: float, rest: float, taps: int, near: int, closed: bool
) -> None:
    """Beside whole numbers too: θ is moved to where the sum is next to one."""
    scale = Scale.of(np.array([largest]), 127)
    moved = (near - rest * taps) * largest / 127
    for own in (theta, moved, np.nextafter(moved, 9e9), np.nextafter(moved, -9e9)):
        exact = Fraction(float(own)) * 127 / Fraction(largest) + Fraction(rest) * taps
        found = whole_below(
            np.array([own]), np.array(closed), scale, np.array([rest]), np.array([[float(taps)]])
        )
        n = int(found[0])
        assert (n < exact <= n + 1) if closed else (n <= exact < n + 1)


def test_each_level_and_position_has_its_own() -> None:
    scale = Scale.of(np.array([13.0, 1.0]), 127)
    taps = np.zeros((3, 2, 2, 2))
    taps[0, 1, 0, 0] = 1
    theta = np.array([[13.0, 2.0], [26.0, 3.0]])
    closed = np.array([True, False])
    found = whole_below(theta, closed, scale, np.array([0.5, 0, 0]), taps)
    assert found.shape == (2, 2, 2, 2)
    assert (found[0, 0] == 126).all() and (found[1, 0] == 254).all()
    assert found[0, 1].tolist() == [[254, 253], [253, 253]]
    assert found[1, 1].tolist() == [[381, 381], [381, 381]]


def test_weights_that_no_float32_holds_are_none() -> None:
    folded = a_network(np.array([1e-310, 2.0]), 1, False, 8)
    graph = to_int8(folded)
    assert graph.populations[1].projections[0].weight.ravel().tolist() == [0, 127]
