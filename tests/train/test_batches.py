"""Batches against the pictures that they are made of."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from snn_train.batches import alternating, batches
from snn_train.data import DataSet
from snn_train.data.augmentation import Augmentation
from snn_train.state import Run


def test_pictures_that_alternate_show_their_other_side_in_the_next_epoch(
    new_run: Callable[..., Run], tiny_data: DataSet, tmp_path: Path
) -> None:
    run = new_run(tmp_path, augmentation=Augmentation(alternate=True))
    images: Any = tiny_data.train_images
    both: Any = (images, images.flip(2))
    plain, turned = (run.experiment.normalisation(side) for side in both)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(3))
    before = ~alternating(run, 40)
    for epoch in range(3):
        run.position.epoch = epoch
        sides = alternating(run, 40)
        assert 8 < int(sides.sum()) < 32
        assert torch.equal(sides, alternating(run, 40))
        for index, batch in zip(
            torch.split(order, 9), batches(run, images, torch.split(order, 9)), strict=True
        ):
            mirrored = sides[index][:, None, None, None]
            assert torch.equal(batch, torch.where(mirrored, turned[index], plain[index]))
        assert torch.equal(sides, ~before)
        before = sides
