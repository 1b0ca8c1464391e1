"""Two pictures in one against what one would do to each by hand."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from snn_train.batches import Batch, Second, Split
from snn_train.data import DataSet
from snn_train.data.augmentation import Augmentation
from snn_train.data.mixing import LARGEST_SHARE, Mixing, mixed
from snn_train.defaults import default_recipe
from snn_train.parallel import Team
from snn_train.state import Run
from snn_train.step import loss_of, targets

NewRun = Callable[..., Run]


def drawn(count: int, seed: int = 0, mixup: int = 0, cutmix: int = 0) -> Mixing:
    how = Augmentation(mixup=mixup, cutmix=cutmix)
    return Mixing.of(how, count, torch.Generator().manual_seed(seed))


def test_so_many_percent_are_mixed_each_in_one_way() -> None:
    mixing = drawn(20000, mixup=30, cutmix=50)
    blended, cut = mixing.blended > 0, mixing.cut > 0
    assert not (blended & cut).any()
    assert blended.float().mean() == pytest.approx(0.3, abs=0.02)
    assert cut.float().mean() == pytest.approx(0.5, abs=0.02)
    for share in (mixing.blended[blended], mixing.cut[cut]):
        assert 0 < share.min() and share.max() <= LARGEST_SHARE
        assert share.mean() == pytest.approx(LARGEST_SHARE / 2, abs=0.02)


@given(seed=st.integers(0, 10**6), height=st.integers(1, 40), width=st.integers(1, 40))
def test_what_is_in_a_picture_is_its_share(seed: int, height: int, width: int) -> None:
    mixing = drawn(8, seed, mixup=40, cutmix=40)
    images, share = mixed(torch.zeros(8, 3, height, width), torch.ones(8, 3, height, width), mixing)
    torch.testing.assert_close(images.mean((1, 2, 3)), share)
    for image, cut, blended in zip(images, mixing.cut, mixing.blended, strict=True):
        if not cut:
            assert torch.allclose(image, blended)
            continue
        assert set(image.unique().tolist()) <= {0.0, 1.0}
        rows, columns = image[0].any(1).nonzero()[:, 0], image[0].any(0).nonzero()[:, 0]
        assert int(image[0].sum()) == len(rows) * len(columns)  # one rectangle without holes
        if len(rows):
            assert len(rows) == int(rows[-1] - rows[0]) + 1
            assert len(columns) == int(columns[-1] - columns[0]) + 1


def test_a_square_may_lie_anywhere() -> None:
    images, _ = mixed(torch.zeros(900, 3, 4, 4), torch.ones(900, 3, 4, 4), drawn(900, cutmix=100))
    covered = images[:, 0].mean(0)
    assert (covered > 0.1).all() and torch.allclose(covered, covered.rot90(2), atol=0.08)


def test_the_loss_is_of_both_labels_each_by_its_share() -> None:
    torch.manual_seed(0)
    logits, wanted = torch.randn(6, 3), torch.randn(6, 3)
    labels, others = torch.arange(6) % 3, torch.arange(1, 7) % 3
    share, weights, theirs = torch.rand(6), torch.rand(6), torch.rand(6)
    recipe = default_recipe("iir-bn").change(distillation=0.6)
    part = slice(1, 5)

    def one(index: int, label: Tensor) -> Tensor:
        chosen = slice(index, index + 1)
        return loss_of(logits[chosen], label[chosen], wanted[chosen], recipe)

    batch = Batch(torch.zeros(6), labels, weights, second=Second(others, share, theirs))
    mine = [weights[i] * (1 - share[i]) * one(i, labels) for i in range(1, 5)]
    other = [theirs[i] * share[i] * one(i, others) for i in range(1, 5)]
    found = [loss_of(logits[part], y, wanted[part], recipe, w) for y, w in targets(batch, part)]
    torch.testing.assert_close(torch.stack(found).sum(), torch.stack(mine + other).sum() / 4)


def test_epochs_of_mixed_pictures(new_run: NewRun, tiny_data: DataSet, tmp_path: Path) -> None:
    how = Augmentation(alternate=True, shift=1, mixup=50, cutmix=30)
    run = new_run(tmp_path, augmentation=how, batch_size=8)
    split = Split(run, tiny_data)
    whole = list(split.epoch(run))
    assert len(whole) == split.steps
    second = [batch.second for batch in whole if batch.second is not None]
    assert len(second) == len(whole) and any(each.share.any() for each in second)
    assert any(not torch.equal(b.labels, s.labels) for b, s in zip(whole, second, strict=True))

    run.position.step = 2  # a run that goes on in the middle sees the same
    for batch, again in zip(whole[2:], split.epoch(run), strict=True):
        assert torch.equal(batch.images, again.images)
    run.position.step = 0
    halves = []
    for rank in range(2):
        run.team = Team(rank, 2)
        halves.append(list(split.epoch(run)))
    for batch, *parts in zip(whole, *halves, strict=True):
        assert torch.equal(batch.images, torch.cat([part.images for part in parts]))
        assert batch.second is not None
        shares = [part.second.share for part in parts if part.second is not None]
        assert torch.equal(batch.second.share, torch.cat(shares))

    run = new_run(tmp_path, augmentation=replace(how, mixup=0, cutmix=0), batch_size=8)
    for batch, plain in zip(whole, split.epoch(run), strict=True):
        assert batch.second is not None and plain.second is None
        alone = batch.second.share == 0
        assert torch.equal(batch.images[alone], plain.images[alone])
        assert torch.equal(batch.labels, plain.labels)
