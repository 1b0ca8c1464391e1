"""Which signals stop a run."""

import signal
from collections.abc import Iterator

import pytest

from snn_train.signals import STOPPING, Interruption


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = [signal.getsignal(number) for number in STOPPING]
    yield
    for number, handler in zip(STOPPING, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_stops_a_run(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_DFL)
    interruption = Interruption()
    signal.raise_signal(number)
    assert interruption() and interruption.received == number


@pytest.mark.parametrize("number", STOPPING)
def test_what_nohup_or_a_shell_has_ignored_stays_ignored(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_IGN)
    interruption = Interruption()
    signal.raise_signal(number)
    assert not interruption()
