"""Two classes that differ in brightness, and what a run says of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from snn_train.data import DataSet
from snn_train.pace import Pace
from snn_train.progress import Progress
from snn_train.records import EpochRecord


def data() -> DataSet:
    """40 pictures of 8×8 to train on and 12 to test."""
    generator = torch.Generator().manual_seed(1)

    def part(count: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(count) % 2
        noise = torch.randint(0, 120, (count, 8, 8, 3), generator=generator)
        return (noise + 100 * labels.view(-1, 1, 1, 1)).to(torch.uint8), labels

    return DataSet("tiny", ("dark", "bright"), *part(40), *part(12))


def never() -> bool:
    return False


class After:
    """Says stop after so many steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self) -> bool:
        self.left = max(0, self.left - 1)
        return self.left == 0


@dataclass
class Recorder(Progress):
    """Remembers what it was told."""

    records: list[EpochRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    paces: list[Pace] = field(default_factory=list)
    stopping: Callable[[], bool] = never

    @property
    def losses(self) -> list[float]:
        return [record.loss for record in self.records]

    def epoch(self, record: EpochRecord) -> None:
        self.records.append(record)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def step(self, pace: Pace) -> None:
        self.paces.append(pace)

    def stop(self) -> bool:
        return self.stopping()


def unless(given: Sequence[str], usual: Sequence[str]) -> list[str]:
    """Return those of the usual flags, each with a value, that are not given."""
    pairs = zip(usual[::2], usual[1::2], strict=True)
    return [word for flag, value in pairs if flag not in given for word in (flag, value)]
