"""A teacher that answers once a stage: its answers, and the training that learns from them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from same import assert_same
from train.tiny import Recorder

from snn_train import checkpoint
from snn_train.batches import Split, alternating
from snn_train.data import DataSet
from snn_train.data.augmentation import Augmentation
from snn_train.experiment import Experiment
from snn_train.parallel import Team
from snn_train.stage import Stage
from snn_train.state import Run, resume
from snn_train.teacher import cached_logits
from snn_train.training import Stopped, train_run

NewRun = Callable[..., Run]
CPU = torch.device("cpu")
TURNED = Augmentation(alternate=True, shift=1)


def logits_of(run: Run, pictures: Any) -> Any:
    with torch.no_grad():
        return run.network.eval()(run.experiment.normalisation(pictures))


def test_it_answers_to_every_picture_and_its_mirror_image(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path
) -> None:
    run = new_run(tmp_path, augmentation=TURNED)
    split = Split(run, tiny_data)
    found = cached_logits(run, split, run.network.eval())
    images: Any = split.images
    assert found.dtype == torch.float32 and found.shape == (2, len(images), 2)
    torch.testing.assert_close(found[0], logits_of(run, images))
    torch.testing.assert_close(found[1], logits_of(run, images.flip(2)))
    run = new_run(tmp_path / "plain", augmentation=Augmentation(shift=1))
    assert cached_logits(run, split, run.network.eval()).shape == (1, len(images), 2)


def test_processes_share_the_work(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(tmp_path, augmentation=TURNED)
    split = Split(run, tiny_data)
    whole = cached_logits(run, split, run.network.eval())
    monkeypatch.setattr(Team, "sum", lambda _, values: values)
    each = []
    for rank in range(3):
        run.team = Team(rank, 3)
        each.append(cached_logits(run, split, run.network))
    assert all(0 < int(part.any(2).sum()) < 2 * len(split.images) for part in each)
    torch.testing.assert_close(sum(each), whole)


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_batch_brings_the_answers_to_its_own_pictures(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, mirrored: bool
) -> None:
    run = new_run(tmp_path, augmentation=Augmentation(alternate=mirrored), batch_size=7)
    split = Split(run, tiny_data)
    images: Any = split.images
    normalised = run.experiment.normalisation
    shown = torch.stack([normalised(images), normalised(images.flip(2))])
    split.teacher_logits = torch.arange(2.0 * len(images)).view(2, -1, 1)[: 1 + mirrored]
    for run.position.epoch in range(2):
        sides = alternating(run, len(images)) * mirrored
        seen = []
        for batch in split.epoch(run):
            assert batch.teacher_logits is not None
            code = batch.teacher_logits[:, 0].long()
            side, index = code // len(images), code % len(images)
            assert torch.equal(batch.images, shown[side, index])
            assert torch.equal(batch.labels, split.labels[index])
            assert torch.equal(side, sides[index].long())
            seen += index.tolist()
        assert len(seen) == len(set(seen)) > 30


def test_of_pictures_that_never_change_it_teaches_the_same(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path
) -> None:
    live, once = Recorder(), Recorder()
    unchanged: Any = {"augmentation": Augmentation(), "dropout": 0.0, "distillation": 0.9}
    train_run(new_run(tmp_path / "live", **unchanged), tiny_data, live)
    run = new_run(tmp_path / "once", cached_teacher=True, **unchanged)
    train_run(run, tiny_data, once)
    assert once.losses == pytest.approx(live.losses, rel=1e-4)
    said = [note for note in once.notes if note.startswith("the teacher answers")]
    assert len(said) == 2  # in the stages T = 2 and T = 1
    ignorant = Recorder()
    run = new_run(tmp_path / "without", **unchanged | {"distillation": 0.0})
    train_run(run, tiny_data, ignorant)
    assert ignorant.losses[2:] != pytest.approx(live.losses[2:], rel=1e-2)


def test_a_stopped_run_ends_with_the_same_bits(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path
) -> None:
    chosen: Any = {
        "cached_teacher": True,
        "augmentation": Augmentation(flip=True, shift=1),
        "stages": (Stage(0, 1), Stage(1, 2), Stage(1, 1, 4)),
    }
    train_run(new_run(tmp_path / "whole", **chosen), tiny_data, Recorder())
    new_run(tmp_path / "pieces", **chosen).save()
    for _ in range(10):
        with pytest.raises(Stopped):
            train_run(resume(tmp_path / "pieces", CPU), tiny_data, Recorder(stopping=lambda: True))
    train_run(resume(tmp_path / "pieces", CPU), tiny_data, Recorder())
    for name in ("t1.pt", "int4.pt"):
        kept = [checkpoint.load(tmp_path / run / name) for run in ("whole", "pieces")]
        assert_same(kept[0]["network"], kept[1]["network"])


def test_what_it_cannot_teach_is_refused(
    refused_unbegun: Callable[..., None],
    new_run: NewRun,
    tiny_data: DataSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing = ["--cached-teacher", "nothing is learnt from a teacher", "--distillation"]
    refused_unbegun("--data", "digits", "--cached-teacher", "--distillation", "0", expected=nothing)
    refused_unbegun("--data", "digits", "--recipe", "iir", "--cached-teacher", expected=nothing)
    flags = ["--cached-teacher", "--augment", "mixup=60,cutmix=40"]
    expected = ["--augment mixup=60,cutmix=40 mixes two pictures", "without mixup and cutmix"]
    refused_unbegun("--data", "digits", *flags, expected=expected)
    flags, expected = flags[1:2] + ["mixup=60,cutmix=41"], ["expected at most 100 percent together"]
    refused_unbegun("--data", "digits", *flags, expected=expected)
    recipe = new_run(tmp_path / "run").recipe.change(
        cached_teacher=True, augmentation=Augmentation(resized=True)
    )
    monkeypatch.setattr(DataSet, "on_disk", True)  # where alone pictures are resized
    with pytest.raises(ValueError, match="--augment resized .* the teacher saw all of it"):
        Experiment.on(tiny_data, recipe, tiny_data.normalisation(), "train-snn")
