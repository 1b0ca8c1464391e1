"""Runs with a budget of time, on a clock that counts steps."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from snn_train import api, step
from snn_train.calibrate import settle
from snn_train.data import DataSet
from snn_train.progress import Progress
from snn_train.records import EpochRecord
from snn_train.state import Run
from snn_train.time_budget import PICTURES
from snn_train.validation import evaluate

TINY: dict[str, Any] = {
    "network": "vgg5", "width": 0.1, "batch_size": 12, "largest_drop": 1.0,
    "rate_limits": (0.0, 1.0), "precision": "float32",
}  # fmt: skip


class Compiled(nn.Module):
    """What torch.compile makes of a network: a step of it takes a third of the time."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits


class Clock:
    """Every step takes some seconds, every picture that is judged or settled with a tenth of one,
    the pictures at the end a few, nothing else any time at all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, data: DataSet) -> None:
        self.now, self.steps, self.power = 5000.0, {"ann": 1.0, "t1": 1.5, "t2": 2.5}, 0.0
        """`power`: how the time depends on the width."""

        def slow_plot(run: Run) -> None:
            self.spend(PICTURES)

        take, judge = step.step, evaluate

        def slow_step(run: Run, student: Any, *rest: Any) -> Any:
            own = self.steps[run.stage.name] / (3 if isinstance(student, Compiled) else 1)
            self.spend(own * (run.recipe.width / 0.1) ** self.power)
            return take(run, student, *rest)

        def slow_judge(network: Any, images: Any, *rest: Any) -> Any:
            self.spend(0.1 * len(images))
            return judge(network, images, *rest)

        def slow_settle(network: Any, batches: Iterable[Any]) -> None:
            def slow() -> Iterator[Any]:
                for images in batches:
                    self.spend(0.1 * len(images))
                    yield images

            settle(network, slow())

        monkeypatch.setattr("snn_train.beginning.load", lambda *_: data)
        monkeypatch.setattr("snn_train.found.load", lambda *_: data)
        monkeypatch.setattr(api, "plot", slow_plot)
        monkeypatch.setattr(torch, "compile", Compiled)
        monkeypatch.setattr(step, "step", slow_step)
        monkeypatch.setattr("snn_train.stages.settle", slow_settle)
        for module in ("training", "stages", "probe"):
            monkeypatch.setattr(f"snn_train.{module}.evaluate", slow_judge)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def spend(self, seconds: float) -> None:
        """Let time pass, without the roundings of a sum of tenths."""
        self.now = round(self.now + seconds, 6)


class Told(Progress):
    """Keeps the notes; stops after so many epochs; `then` is called after each."""

    def __init__(self, epochs: int = 10**6, then: Callable[[int], None] = lambda n: None) -> None:
        self.notes: list[str] = []
        self.left, self.then, self.seen = epochs, then, 0

    def note(self, text: str) -> None:
        self.notes.append(text)

    def epoch(self, record: EpochRecord) -> None:
        self.left -= 1
        self.seen += 1
        self.then(self.seen)

    def stop(self) -> bool:
        return self.left < 1


def train(out: Path, progress: Progress, **changes: Any) -> Run:
    return api.train("digits", "iir-bn", out, progress=progress, **{**TINY, **changes})
