"""Which signals stop a run."""

import os
import signal
from collections.abc import Iterator

import pytest

from snn_train.signals import STOPPING, Interruption


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """No signal is ignored at first, as SIGINT is in the background of a shell."""
    before = [signal.signal(number, signal.SIG_DFL) for number in STOPPING]
    yield
    for number, handler in zip(STOPPING, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_stops_a_run(number: signal.Signals) -> None:
    interruption = Interruption()
    signal.raise_signal(number)
    assert interruption() and interruption.received == number


@pytest.mark.parametrize("number", STOPPING)
def test_what_nohup_or_a_shell_has_ignored_stays_ignored(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_IGN)
    interruption = Interruption()
    signal.raise_signal(number)
    assert not interruption()


def test_the_first_says_what_happens_and_the_second_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    left = list[int]()
    monkeypatch.setattr(os, "_exit", left.append)
    interruption = Interruption("train-snn --resume 'my run'")
    signal.raise_signal(signal.SIGINT)
    assert interruption() and not left
    assert capfd.readouterr().err == (
        "  stopping after this step, then everything is saved; a second signal ends at once, "
        "without saving\n"
    )
    signal.raise_signal(signal.SIGTERM)
    assert left == [143]
    assert capfd.readouterr().err == (
        "  ended at once, what was learnt since the last save is lost; to go on: train-snn "
        "--resume 'my run'\n"
    )


@pytest.mark.parametrize(("again", "said"), [("train-snn --resume run", 1), (None, 0)])
def test_in_a_team_the_first_process_speaks_once_and_none_ends_at_once(
    again: str | None, said: int, capfd: pytest.CaptureFixture[str]
) -> None:
    interruption = Interruption(again, patient=True)
    for _ in range(3):
        signal.raise_signal(signal.SIGINT)
    assert interruption.received == signal.SIGINT
    lines = capfd.readouterr().err.splitlines()
    assert lines == ["  stopping after this step, then everything is saved"] * said
