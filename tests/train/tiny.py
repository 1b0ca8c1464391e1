"""Two classes that differ in brightness."""

import torch
from torch import Tensor

from snn_train.data import DataSet


def data() -> DataSet:
    """40 pictures of 8×8 to train on and 12 to test."""
    generator = torch.Generator().manual_seed(1)

    def part(count: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(count) % 2
        noise = torch.randint(0, 120, (count, 8, 8, 3), generator=generator)
        return (noise + 100 * labels.view(-1, 1, 1, 1)).to(torch.uint8), labels

    return DataSet("tiny", ("dark", "bright"), *part(40), *part(12))
