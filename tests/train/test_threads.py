"""Threads of training: no more than there is room for; on resume as many as at the beginning."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from snn_train import api, checkpoint, threads
from snn_train.threads import compute_with, crowded

if TYPE_CHECKING:
    from train.conftest import Answer

Command = Callable[..., "Answer"]


@pytest.fixture(autouse=True)
def afterwards_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_no_more_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable", lambda: 2)
    torch.set_num_threads(5)
    assert compute_with(None) == torch.get_num_threads() == 2
    torch.set_num_threads(1)  # as torchrun or OMP_NUM_THREADS may ask for
    assert compute_with(None) == torch.get_num_threads() == 1
    assert compute_with(None, 3) == torch.get_num_threads() == 3
    assert compute_with(4, 3) == torch.get_num_threads() == 4


def test_a_run_that_goes_on_with_too_many_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable", lambda: 2)
    assert crowded(2) is None
    assert crowded(8) == (
        "going on with 8 threads, as it began, for the same bits, where 2 would be fast "
        "(--threads 2)"
    )


def test_a_run_keeps_the_threads_that_it_began_with(
    train_snn: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its sums depend on them; what `train` finds is what it computes with."""
    computed: list[int] = []
    monkeypatch.setattr(api, "train_run", lambda *_: computed.append(torch.get_num_threads()))
    monkeypatch.setattr(threads, "usable", lambda: 2)
    directory = tmp_path / "run"

    def go(*flags: object) -> str:
        answer = train_snn(*flags, "--format", "json")
        assert answer.code == 0, answer.err
        assert checkpoint.load(directory / "latest.pt")["threads"] == computed[-1]
        return answer.out

    go("--data", "digits", "--width", 0.1, "--out", directory, "--threads", 5)
    torch.set_num_threads(1)
    assert "going on with 5 threads" in go("--resume", directory)
    assert "going on with" not in go("--resume", directory, "--threads", 3)
    torch.set_num_threads(1)
    go("--resume", directory)
    assert computed == [5, 5, 3, 3]


def test_a_run_from_before_threads_were_recorded(
    train_snn: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(api, "train_run", lambda *_: None)
    monkeypatch.setattr(threads, "usable", lambda: 2)
    latest = tmp_path / "run" / "latest.pt"
    json = ("--format", "json")
    small = ("--data", "digits", "--width", 0.1)
    assert train_snn(*small, "--out", latest.parent, "--threads", 5, *json).code == 0
    content = checkpoint.load(latest)
    del content["threads"]
    checkpoint.save(latest, content)
    assert train_snn("--resume", latest.parent, *json).code == 0
    assert checkpoint.load(latest)["threads"] == 2
