"""How late a frame is, told by the camera's clock; and how it travels."""

import io

import numpy as np
import pytest
from PIL import Image

from snn_runtime.image import decode
from snn_runtime.video.reader import Lag, bmp


def lags(pairs: list[tuple[float, float]]) -> list[float]:
    """Lags of frames with a stamp, each looked at at a time."""
    lag = Lag()
    return [lag.of(stamp, now) for stamp, now in pairs]


def test_frames_in_time_are_not_late() -> None:
    assert max(lags([(n / 25, 100 + n / 25) for n in range(1, 1000)])) < 1e-9
    jitter = [0.0, 0.03, 0.01]
    found = lags([(n / 25, 100 + n / 25 + jitter[n % 3]) for n in range(1, 1000)])
    assert max(found) == pytest.approx(0.03, abs=0.001)


def test_frames_that_wait_longer_and_longer_are_late() -> None:
    found = lags(
        [(n / 25, 100 + n / 20) for n in range(1, 301)]
    )  # 25 a second come, 20 are decoded
    assert found[-1] == pytest.approx(299 * (1 / 20 - 1 / 25), rel=0.1)
    assert found == sorted(found)


def test_what_waited_while_nobody_looked_is_late_until_it_is_passed() -> None:
    before = [(n / 25, 100 + n / 25) for n in range(1, 26)]
    backlog = [(n / 25, 131.0 + n / 1000) for n in range(26, 776)]  # 30 s later, all at once
    after = [(n / 25, 100 + n / 25 + 0.8) for n in range(776, 800)]
    found = lags(before + backlog + after)
    assert found[25] == pytest.approx(30, abs=0.1) and max(found[-24:]) < 1


def test_a_clock_that_is_a_little_wrong_is_forgiven() -> None:
    day = [(n * 0.9995, float(n)) for n in range(1, 86_400)]
    assert max(lags(day)) < 0.01


def test_stamps_that_stand_still_or_go_back_tell_nothing() -> None:
    assert lags([(0.0, 1.0), (0.0, 2.0), (0.0, 9.0)]) == [0, 0, 0]
    assert lags([(50.0, 1.0), (0.0, 2.0), (1.0, 3.0)]) == [0, 0, 0]


@pytest.mark.parametrize("shape", [(9, 8, 3), (8, 9, 3), (8, 10, 3), (8, 11, 3), (9, 8), (9, 8, 1)])
def test_a_frame_travels_without_a_loss(shape: tuple[int, ...]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    data = b"".join(bmp(frame))
    colour = frame.reshape(*shape[:2], -1)[..., ::-1]
    expected = np.broadcast_to(colour, (*shape[:2], 3))
    assert np.array_equal(np.asarray(decode(data).image), expected)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), expected)
