"""Logits to probabilities: right, in order, and the same bits everywhere."""

import hashlib
from decimal import Decimal, localcontext

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_runtime.calibration import UNCALIBRATED, Calibration, exponential

CALIBRATED = Calibration(temperature=0.8, floor=0.01)


def logits(count: int = 200, classes: int = 10, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 3, (count, classes)).astype(np.float32)


def test_the_exponential_is_right_to_the_last_place() -> None:
    x = np.concatenate([-np.geomspace(1e-9, 700, 2000), [0.0]])
    with localcontext() as context:
        context.prec = 50
        exact = [Decimal(float(value)).exp() for value in x]
        off = [
            abs(Decimal(float(e)) - true) / Decimal(float(np.spacing(e)))
            for e, true in zip(exponential(x), exact, strict=True)
        ]
    assert max(off) < 1.5
    assert exponential(np.array([-np.inf, -1e30, 0.0])).tolist() == [0.0, 0.0, 1.0]


def test_without_calibration_it_is_the_softmax() -> None:
    z = logits().astype(np.float64)
    softmax = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    np.testing.assert_allclose(UNCALIBRATED.probabilities(logits()), softmax, rtol=1e-14)


def test_probabilities_follow_the_formula() -> None:
    """Written out, class by class."""
    t, f = CALIBRATED.temperature, CALIBRATED.floor
    for row, p in zip(logits(), CALIBRATED.probabilities(logits()), strict=True):
        powers = [np.exp(np.float64(z) / t) for z in row]
        kept = [max(power / sum(powers) - f, f / 100) for power in powers]
        np.testing.assert_allclose(p, [each / sum(kept) for each in kept], rtol=1e-12)


@given(st.floats(0.05, 20), st.floats(0, 0.9), st.integers(1, 30), st.integers(0, 1000))
@settings(max_examples=30)
def test_no_class_overtakes_another(
    temperature: float, share: float, classes: int, seed: int
) -> None:
    z = logits(5, classes, seed)
    p = Calibration(temperature, share / classes).probabilities(z)
    order = np.argsort(z, 1)
    assert (np.diff(np.take_along_axis(p, order, 1)) >= 0).all()
    np.testing.assert_allclose(p.sum(1), 1)


def test_the_bits_are_the_same_everywhere() -> None:
    """These were computed on AVX2; any machine that adds and multiplies float64 has them."""
    p = CALIBRATED.probabilities(logits())
    assert hashlib.sha256(p.astype("<f8").tobytes()).hexdigest() == (
        "6e4535707ef2fc821bc97112bbe05e34f7f3577ffcb29215d55c067f1791581e"
    )
    alone = np.concatenate([CALIBRATED.probabilities(row[None]) for row in logits()])
    np.testing.assert_array_equal(alone, p)


def test_huge_logits_do_no_harm() -> None:
    p = CALIBRATED.probabilities(np.array([[3e38, -3e38, 0]], np.float32))
    assert p[0, 0] > 0.999 and np.isfinite(p).all()


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ([], "an object"),
        ({"temperature": "1", "floor": 0.0}, "finite numbers"),
        ({"temperature": float("inf"), "floor": 0.0}, "finite numbers"),
        ({"temperature": 1.0, "more": 0.0}, "temperature, floor"),
        ({"temperature": 0.0, "floor": 0.0}, "temperature is 0.0"),
        ({"temperature": 1.0, "floor": 0.25}, "below 1/4"),
        ({"temperature": 1.0, "floor": -0.25}, "floor is -0.25"),
    ],
)
def test_what_makes_no_probabilities_is_refused(record: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Calibration.of(record).check(4, {})


def test_a_record_reads_back() -> None:
    assert Calibration.of(CALIBRATED.record()) == CALIBRATED
