"""A run that begins with an ANN trained before: torchvision's, or our own ann.pt, to the bit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from same import assert_same
from train.tiny import Recorder
from train.torchvision_like import vgg, vgg_state

from snn_runtime.errors import InputError, ModelError, UsageError
from snn_runtime.image import Fit
from snn_train import api, beginning, checkpoint, found, pretrained_ann
from snn_train.batches import Split
from snn_train.data import DataSet
from snn_train.defaults import default_recipe
from snn_train.parallel import ALONE
from snn_train.pretrained import FINE_TUNE
from snn_train.pretrained_ann import PretrainedAnn
from snn_train.progress import Progress
from snn_train.schedule import peak
from snn_train.stage import Stage
from snn_train.state import Run, resume
from snn_train.training import Stopped, train_run

CPU = torch.device("cpu")
FITS: tuple[Fit, ...] = ("crop", "stretch")


def test_torchvisions_network_is_stage_0(tiny_data: DataSet, tmp_path: Path) -> None:
    torch.save(vgg_state(vgg("vgg11_bn")), tmp_path / "vgg11_bn.pt")
    begun = PretrainedAnn.load(tmp_path / "vgg11_bn.pt")
    made = begun.continued(tiny_data, "train-snn", timesteps=(1,), epochs=(2, 3))
    assert made.recipe.network == "vgg11_bn" and made.recipe.fine_tune == FINE_TUNE
    assert made.recipe.stages == (Stage(0, 2), Stage(1, 3))
    assert made.normalisation.offset == (124, 116, 104)
    run = begun.start(made, tiny_data, tmp_path, CPU, ALONE)
    assert run.network.timesteps == 0 and run.position.stage == 0 and run.outcomes == []
    weights = run.network.state_dict()
    assert all(torch.equal(weights[key], value) for key, value in begun.weights.items())
    assert len(run.network.readout.weight) == 2


@pytest.fixture
def ann(new_run: Callable[..., Run], tiny_data: DataSet, tmp_path: Path) -> Path:
    made = new_run(tmp_path / "first", stages=(Stage(0, 2), Stage(1, 1)), rate_limits=(0.0, 1.0))
    train_run(made, tiny_data, Progress())
    return tmp_path / "first" / "ann.pt"


def test_our_own_ann_of_the_same_classes_is_stage_0_done(
    ann: Path, tiny_data: DataSet, tmp_path: Path
) -> None:
    """And a run that is stopped after every step ends with the same bits."""

    def make(directory: Path) -> Run:
        directory.mkdir()
        begun = PretrainedAnn.load(ann)
        made = begun.continued(
            tiny_data, "train-snn --ann", timesteps=(2, 1), epochs=(1, 1),
            rate_limits=(0.0, 1.0), largest_drop=1.0, batch_size=12,
        )  # fmt: skip
        assert made.command == "train-snn && train-snn --ann"
        return begun.start(made, tiny_data, directory, CPU, ALONE)

    run = make(tmp_path / "whole")
    assert [stage.name for stage in run.recipe.stages] == ["ann", "t2", "t1"]
    train_run(run, tiny_data, Progress())
    assert [(o.stage, o.epochs) for o in run.outcomes] == [("ann", 2), ("t2", 1), ("t1", 1)]
    assert {record.stage for record in run.records} == {"t2", "t1"}
    kept, before = checkpoint.load(tmp_path / "whole" / "ann.pt"), checkpoint.load(ann)
    assert_same(dict(kept["network"]), dict(before["network"]))
    make(tmp_path / "pieces").save()
    for _ in range(6):
        with pytest.raises(Stopped):
            train_run(resume(tmp_path / "pieces", CPU), tiny_data, Recorder(stopping=lambda: True))
    train_run(resume(tmp_path / "pieces", CPU), tiny_data, Progress())
    ends = [checkpoint.load(tmp_path / name / "t1.pt")["network"] for name in ("whole", "pieces")]
    assert_same(dict(ends[0]), dict(ends[1]))


def test_our_own_ann_learns_other_classes(ann: Path, tiny_data: DataSet, tmp_path: Path) -> None:
    labels = torch.arange(40) % 3
    data = replace(tiny_data, labels=("a", "b", "c"), train_labels=labels, test_labels=labels[:12])
    begun = PretrainedAnn.load(ann)
    made = begun.continued(data, "train-snn", timesteps=(1,), epochs=(1, 1), seed=3)
    run = begun.start(made, data, tmp_path, CPU, ALONE)
    assert run.position.stage == 0 and run.recipe.fine_tune == FINE_TUNE
    weights = run.network.state_dict()
    for key, value in begun.weights.items():
        assert key.startswith("readout.") or torch.equal(weights[key], value)
    assert len(run.network.readout.weight) == 3
    assert Split(run, data).batch_size <= 40


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 3), (3, 2)])
def test_an_ann_has_no_thresholds_of_its_own(
    before: int, after: int, new_run: Callable[..., Run], tiny_data: DataSet, tmp_path: Path
) -> None:
    made = new_run(tmp_path / "first", stages=(Stage(0, 1), Stage(1, 1)), levels=before, seed=3)
    with pytest.raises(Stopped):
        train_run(made, tiny_data, Recorder(stopping=lambda: made.position.stage == 1))
    begun = PretrainedAnn.load(tmp_path / "first" / "ann.pt")
    experiment = begun.continued(
        tiny_data, "", levels=after, epochs=(1,), rate_limits=(0.0, 15.0), largest_drop=1.0, seed=5,
        batch_size=12,
    )  # fmt: skip
    assert experiment.recipe.split == (0.1, 3, 1.0)  # its seed chose what selects
    run = begun.start(experiment, tiny_data, tmp_path, CPU, ALONE)
    train_run(run, tiny_data, Progress())
    assert len(run.network.populations()[0].neuron.steps) == after - 1


def test_what_does_not_go_together_is_refused(ann: Path, tiny_data: DataSet) -> None:
    begun = PretrainedAnn.load(ann)
    with pytest.raises(ValueError, match="--fine-tune: the classes of .*ann.pt are trained"):
        begun.continued(tiny_data, "", fine_tune=0.5)
    with pytest.raises(ValueError, match="--epochs 4,5: expected at most 1 numbers, the ANN is tr"):
        begun.continued(tiny_data, "", epochs=(4, 5), timesteps=(1,))
    with pytest.raises(ValueError, match="--learning-rate: and --spiking-learning-rate: choose on"):
        begun.continued(tiny_data, "", learning_rate=0.1, spiking_learning_rate=0.1)
    large = replace(tiny_data, train_images=torch.zeros(40, 9, 9, 3, dtype=torch.uint8))
    with pytest.raises(InputError, match="pictures are not 8x8, as .*ann.pt sees them"):
        begun.continued(large, "")
    with pytest.raises(ModelError, match="is at T=1, --ann needs an ann.pt"):
        PretrainedAnn.load(ann.with_name("t1.pt"))
    with pytest.raises(UsageError, match="--image-size: .*ann.pt has its own"):
        api.train(f"imagefolder:{ann.parent}", ann=ann, image_size=(8, 8))
    for fit in FITS:  # also the one that is usual: the file's may be another
        with pytest.raises(UsageError, match="--fit: .*ann.pt has its own"):
            api.train(f"imagefolder:{ann.parent}", ann=ann, fit=fit)
    with pytest.raises(UsageError, match="not with both"):
        api.train("digits", ann=ann, begin_with=ann.with_name("t1.pt"))


def test_a_rate_that_is_given_is_that_of_the_stages_to_come(
    ann: Path, tiny_data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = replace(default_recipe(), spiking_learning_rate=2e-5)  # as ImageNet's has
    monkeypatch.setattr(pretrained_ann, "default", lambda *_: usual)
    for name, rate in (("learning_rate", 0.03), ("spiking_learning_rate", 0.04)):
        changes: dict[str, Any] = {name: rate}
        recipe = PretrainedAnn.load(ann).continued(tiny_data, "", **changes).recipe
        assert peak(recipe, recipe.stages[1]) == rate


def test_a_run_that_ends_while_its_ann_is_judged_goes_on(
    train_snn: Callable[..., Any], ann: Path, tiny_data: DataSet, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(beginning, "load", lambda *_: tiny_data)
    monkeypatch.setattr(found, "load", lambda *_: tiny_data)
    flags = ("--epochs", "1", "--threads", "1", "--rate-limits", "0,1", "--largest-drop", "1")
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(api, "judge_first", lambda *_: 1 / 0)
        answer = train_snn("--data", "digits", "--ann", ann, "--out", tmp_path / "on", *flags)
        assert answer.code == 1
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "4711")  # as torchrun starts it again
    answer = train_snn("--data", "digits", "--ann", ann, "--out", tmp_path / "on", *flags)
    assert answer.code == 0, answer.err
    assert [o["stage"] for o in checkpoint.load(tmp_path / "on" / "t1.pt")["history"]] == [
        "ann",
        "t1",
    ]


def test_the_command_takes_an_ann(
    train_snn: Callable[..., Any], ann: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "train_run", lambda *_: None)
    answer = train_snn("--data", "digits", "--ann", ann, "--out", tmp_path / "on",
                       "--format", "json")  # fmt: skip
    assert answer.code == 0, answer.err
    content = checkpoint.load(tmp_path / "on" / "latest.pt")
    assert content["timesteps"] == 0 and content["architecture"]["width"] == 0.1
    assert content["settings"]["fine_tune"] == FINE_TUNE and len(content["labels"]) == 10
