"""The package's own verbs: what `train-snn` does, from Python."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from same import assert_same

import snn_train
from snn_runtime.errors import UsageError
from snn_train import api, checkpoint
from snn_train.beginning import pictures
from snn_train.data.augmentation import Augmentation, augmentation
from snn_train.optimiser import method
from snn_train.parallel import Team
from snn_train.pretrained import Pretrained
from snn_train.schedule import peak

TINY: dict[str, Any] = {"width": 0.1, "timesteps": (1,), "largest_drop": 1.0}
ONE_THREAD = snn_train.Machine(threads=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> snn_train.Run:
    out = tmp_path_factory.mktemp("api") / "run"
    return snn_train.train("digits", out=out, machine=ONE_THREAD, epochs=(2, 2), **TINY)


def test_the_package_shows_what_it_offers_and_loads_nothing() -> None:
    assert set(dir(snn_train)) == set(snn_train.__all__)
    for name in snn_train.__all__:
        assert getattr(snn_train, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = snn_train.trian
    code = "import snn_train, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_example_of_the_package_and_its_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs/reference/python.md").read_text()
    first, last = (line for line in str(snn_train.__doc__).splitlines() if line.startswith("run"))
    assert f"{first}\n{last}\n" in page
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {"snn_train": snn_train}
    exec(first, space)
    accuracy, file = eval(last, space)
    assert accuracy > 0.5
    assert file == Path("runs/digits/t1.pt") and file.exists()


def test_a_run_comes_back_with_its_records_and_files(run: snn_train.Run) -> None:
    assert [(r.stage, r.epoch) for r in run.records] == [
        ("ann", 1), ("ann", 2), ("t1", 1), ("t1", 2)
    ]  # fmt: skip
    assert [outcome.stage for outcome in run.outcomes] == ["ann", "t1"]
    content = checkpoint.load(run.checkpoint("t1"))
    assert snn_train.StageOutcome.from_dict(content["metrics"]) == run.outcomes[-1]
    assert content["command"] == (
        "snn_train.train('digits', epochs=(2, 2), width=0.1, timesteps=(1,), largest_drop=1.0)"
    )
    assert (run.directory / "training.png").exists()
    for row in run.records:
        assert snn_train.EpochRecord.from_dict(row.to_dict()) == row


class AfterOne(snn_train.Progress):
    """Stops after a step."""

    def stop(self) -> bool:
        return True


def test_stopped_and_resumed_it_ends_with_the_same_bits(
    run: snn_train.Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = snn_train.default_recipe("iir-bn", "digits").change(
        width=0.1, timesteps=(1,), epochs=(2, 2), largest_drop=1.0, precision=run.recipe.precision
    )
    with pytest.raises(snn_train.Stopped):
        snn_train.train("digits", recipe, tmp_path / "run", machine=ONE_THREAD, progress=AfterOne())
    with caplog.at_level(logging.INFO, "snn_train"):
        again = snn_train.resume(tmp_path / "run")
    assert "vgg5 width 0.1" in caplog.text and "  t1   2/2" in caplog.text
    weights = [checkpoint.load(each.checkpoint("t1"))["network"] for each in (again, run)]
    assert_same(weights[0], weights[1])
    with pytest.raises(UsageError, match="holds a run already"):
        snn_train.train("digits", out=tmp_path / "run", **TINY)
    with pytest.raises(UsageError, match="width cannot change a run that goes on"):
        snn_train.resume(tmp_path / "run", width=0.2)


def test_a_run_goes_on_compiled_as_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[torch.nn.Module] = []

    def compiled(module: torch.nn.Module) -> torch.nn.Module:
        calls.append(module)
        return module

    monkeypatch.setattr(torch, "compile", compiled)
    machine = snn_train.Machine(threads=1, compiled=True)
    out, changes = tmp_path / "run", TINY | {"epochs": (1, 1), "distillation": 0.0}
    with pytest.raises(snn_train.Stopped):
        snn_train.train("digits", out=out, machine=machine, progress=AfterOne(), **changes)
    for wanted, expected in ((None, 1), (False, 0), (None, 0), (True, 1), (None, 1)):
        calls.clear()
        again = snn_train.Machine(threads=1, compiled=wanted)
        with pytest.raises(snn_train.Stopped):
            snn_train.resume(out, machine=again, progress=AfterOne())
        assert len(calls) == expected
    assert len(calls) == 1
    snn_train.resume(out, machine=ONE_THREAD)
    assert len(calls) == 3  # the rest of the ANN, and T = 1


def test_it_is_said_that_what_selects_may_have_been_learnt(run: snn_train.Run) -> None:
    begun = Pretrained.load(run.checkpoint("t1"))
    grown = replace(begun, experiment=replace(begun.experiment, data_digest="of fewer"))
    others = replace(grown, experiment=replace(grown.experiment, labels=("odd", "even")))
    for given, noted in ((begun, False), (grown, True), (others, False)):
        notes = pictures(given, "digits", None, None, snn_train.Progress()).notes
        assert any("may have learnt what selects" in note for note in notes) == noted


def test_a_run_may_begin_with_another(run: snn_train.Run, tmp_path: Path) -> None:
    first = run.checkpoint("t1")
    for begun in ({"begin_with": first}, {"ann": run.checkpoint("ann")}):
        for changes in ({"recipe": run.recipe}, {"recipe": "iir"}, {"width": 0.5}):
            settings: dict[str, Any] = begun | changes
            with pytest.raises(UsageError, match=f"{next(iter(changes))}: that of .*pt is taken"):
                snn_train.train("digits", out=tmp_path / "other", **settings)
    assert not (tmp_path / "other").exists()
    onward = snn_train.train(
        "digits", out=tmp_path, begin_with=first, int_bits=4, epochs=(1,), machine=ONE_THREAD
    )
    assert [outcome.stage for outcome in onward.outcomes] == ["ann", "t1", "int4"]
    assert onward.recipe.stages == (snn_train.Stage(1, 1, 4),)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": "irr"}, "recipe 'irr' is none of iir-bn, iir"),
        ({"timesteps": (1, 2)}, "do not descend"),
        ({"augmentation": Augmentation(shift=8)}, "shift=8: images are 8x8"),
        ({"augmentation": Augmentation(cutout=9)}, "cutout=9: images are 8x8"),
        ({"network": "vgg7"}, "'vgg7' is none of vgg5"),
    ],
)
def test_what_does_not_go_together_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        snn_train.train("digits", out=tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()
    with pytest.raises(TypeError, match="widht"):
        snn_train.train("digits", out=tmp_path / "run", widht=0.1)


def test_a_batch_that_processes_cannot_share_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def joined(_: snn_train.Machine) -> Iterator[tuple[Team, torch.device]]:
        yield Team(0, 3), torch.device("cpu")

    monkeypatch.setattr(api, "joined", joined)
    monkeypatch.setattr(api, "fastest", lambda *_: "float32")
    for budget in (None, 600):
        with pytest.raises(UsageError, match="--batch-size 64: 3 processes cannot share it"):
            snn_train.train("digits", out=tmp_path / "run", budget=budget)
    assert not (tmp_path / "run").exists()


def test_changes_keep_what_they_do_not_name() -> None:
    recipe = snn_train.default_recipe("iir-bn", "digits").change(int_bits=4, timesteps=(3, 1))
    stages = recipe.change(epochs=(7, 2, 9, 5)).stages
    assert stages == (
        snn_train.Stage(0, 7), snn_train.Stage(3, 2), snn_train.Stage(1, 9),
        snn_train.Stage(1, 5, 4),
    )  # fmt: skip
    muon = recipe.change(optimiser="muon")
    assert (muon.learning_rate, muon.stages) == (0.05, recipe.stages)
    assert recipe.change(optimiser="muon", learning_rate=0.1).learning_rate == 0.1
    sgd = muon.change(optimiser="sgd")
    assert (sgd.learning_rate, sgd.weight_decay) == (0.05, 5e-4)
    assert sgd.change(optimiser="sgd", batch_size=9) == replace(sgd, batch_size=9)
    imagenet = snn_train.default_recipe("iir", "imagenet")  # with Adam at a rate of its own
    assert imagenet.change(optimiser="adamw").spiking_learning_rate is None
    for optimiser, rate, decay in (("adam", 1e-4, 0.0), ("adamw", 2e-3, 5e-4), ("sgd", 1e-2, 5e-4)):
        other = imagenet.change(optimiser=optimiser)
        for stage in other.stages:  # none trains at what was another's
            assert method(other, stage.timesteps) == (optimiser, decay)
            assert peak(other, stage) == rate
    assert recipe.change(optimiser="adam").learning_rate == recipe.learning_rate
    folder = snn_train.default_recipe("iir", "imagefolder:photos", 48).augmentation
    with pytest.raises(ValueError, match="shift is there twice"):
        augmentation("shift=6,cutout=12,shift=3")
    assert augmentation(str(folder)) == folder == Augmentation(flip=True, shift=6, cutout=12)
