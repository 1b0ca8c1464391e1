"""The state of a run: saved, found again, and never lost to a damaged file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from in_memory import in_memory
from torch import nn

from snn_runtime.errors import ModelError, ResourceError
from snn_train import checkpoint
from snn_train.data import DataSet
from snn_train.experiment import Experiment, digest
from snn_train.state import Position, Run, resume

NewRun = Callable[..., Run]
CPU = torch.device("cpu")


@pytest.fixture
def saved(new_run: NewRun, tmp_path: Path) -> Run:
    """A run with two saved states, at steps 1 and 2."""
    made = new_run(tmp_path / "run")
    for step in (1, 2):
        made.position = Position(step=step)
        made.save()
    return made


def at_step(directory: Path) -> int:
    return resume(directory, CPU).position.step


def test_a_run_comes_back_as_it_was(saved: Run) -> None:
    again = resume(saved.directory, CPU)
    assert again.experiment == saved.experiment
    assert again.position == saved.position
    assert (again.records, again.outcomes) == (saved.records, saved.outcomes)
    assert not again.finished and again.stage == saved.stage
    for name, tensor in saved.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], tensor)
        assert torch.equal(again.best.weights[name], tensor)


def test_two_states_are_kept(saved: Run) -> None:
    steps = {
        name: checkpoint.load(saved.directory / name)["position"]["step"]
        for name in ("latest.pt", "previous.pt")
    }
    assert steps == {"latest.pt": 2, "previous.pt": 1}


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("spoil", [damage, Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_lost_latest_state_falls_back_to_the_one_before(
    saved: Run, spoil: Callable[[Path], Any], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(saved.directory / "latest.pt")
    assert at_step(saved.directory) == 1
    assert "latest.pt" in caplog.text and "going on from previous.pt" in caplog.text


def test_a_damaged_state_never_takes_the_place_of_the_good_one(
    saved: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(saved.directory / "latest.pt")
    again = resume(saved.directory, CPU)

    def fail(*_: object) -> None:
        raise ResourceError("unwritable", "disk full")

    monkeypatch.setattr(checkpoint, "save", fail)
    with pytest.raises(ResourceError):
        again.save()
    assert at_step(saved.directory) == 1


def test_a_failed_save_leaves_a_state_to_resume(
    saved: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ResourceError("unwritable", "disk full")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save", fail)
        for _ in range(3):  # as often as it is tried
            with pytest.raises(ResourceError):
                saved.save()
    assert at_step(saved.directory) == 2


def test_nothing_to_resume_names_both_files(saved: Run, tmp_path: Path) -> None:
    damage(saved.directory / "latest.pt")
    damage(saved.directory / "previous.pt")
    with pytest.raises(ModelError, match=r"nothing to resume: .*latest\.pt.*; .*previous\.pt"):
        resume(saved.directory, CPU)
    with pytest.raises(ModelError, match="latest.pt: no such file"):
        resume(tmp_path, CPU)


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": {}},
        {"architecture": {"network": "vgg5", "extra": 1}},
        {"settings": {"stages": [[1, 1]]}},
        {"network": {}},
        {"optimiser": {}},
        {"position": {"stage": "x", "y": 1}},
        {"labels": None},
    ],
)
def test_a_checkpoint_that_is_no_run_is_refused(saved: Run, change: dict[str, Any]) -> None:
    content = checkpoint.load(saved.directory / "latest.pt")
    (saved.directory / "previous.pt").unlink()
    del content["format"], content["version"]
    checkpoint.save(saved.directory / "latest.pt", content | change)
    with pytest.raises(ModelError, match="holds no resumable run"):
        resume(saved.directory, CPU)


def test_a_stages_checkpoint_is_no_run(saved: Run) -> None:
    content = saved.experiment.describe() | {"timesteps": 1, "network": {}}
    for name in ("latest.pt", "previous.pt"):
        checkpoint.save(saved.directory / name, content)
    with pytest.raises(ModelError, match="holds no resumable run"):
        resume(saved.directory, CPU)


def test_an_experiment_survives_its_description(saved: Run) -> None:
    assert Experiment.of(saved.experiment.describe()) == saved.experiment


def test_randomness_depends_on_the_place_in_the_run_alone(new_run: NewRun, tmp_path: Path) -> None:
    def drawn(purpose: str, step: int, position: Position, seed: int = 0) -> int:
        made = new_run(tmp_path, seed=seed)
        made.position = position
        torch.rand(3)  # whatever else was drawn
        return int(torch.randint(0, 2**60, (1,), generator=made.random(purpose, step)))

    places = [
        drawn("order", 0, Position()),
        drawn("augmentation", 0, Position()),
        drawn("order", 1, Position()),
        drawn("order", 0, Position(stage=1)),
        drawn("order", 0, Position(attempt=1)),
        drawn("order", 0, Position(epoch=1)),
        drawn("order", 0, Position(), seed=1),
    ]
    assert len(set(places)) == len(places)
    assert drawn("order", 0, Position(loss=3.0, seconds=9.0)) == places[0]


def test_the_seed_decides_the_first_weights(new_run: NewRun, tmp_path: Path) -> None:
    def weights(seed: int) -> torch.Tensor:
        return new_run(tmp_path, seed=seed).network.readout.weight

    assert torch.equal(weights(1), weights(1)) and not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)],
)
def test_only_weights_decay(
    new_run: NewRun, tmp_path: Path, name: str, kind: type[torch.optim.Optimizer]
) -> None:
    made = new_run(tmp_path, recipe="iir", optimiser=name, weight_decay=0.3)
    assert type(made.optimiser) is kind
    decaying, others = made.optimiser.param_groups
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    modules = [m for m in made.network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert {id(p) for p in decaying["params"]} == {id(m.weight) for m in modules}
    everything = {id(p) for p in made.network.parameters()}
    assert {id(p) for p in others["params"]} == everything - {id(m.weight) for m in modules}


def test_muon_turns_what_is_normalised_and_nothing_else(new_run: NewRun, tmp_path: Path) -> None:
    made = new_run(tmp_path, "iir-bn", "resnet12", optimiser="muon", weight_decay=0.3)
    turned, decaying, others = made.optimiser.param_groups
    modules = [m for m in made.network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    readout = made.network.readout.weight
    assert turned["orthogonal"] and turned["weight_decay"] == 0
    assert {id(p) for p in turned["params"]} == {id(m.weight) for m in modules} - {id(readout)}
    assert [id(p) for p in decaying["params"]] == [id(readout)]
    assert decaying["weight_decay"] == 0.3 and others["weight_decay"] == 0
    known = turned["params"] + decaying["params"] + others["params"]
    assert {id(p) for p in known} == {id(p) for p in made.network.parameters()}


def test_the_digest_sees_every_pixel_and_label(tiny_data: DataSet) -> None:
    before = digest(tiny_data)
    assert digest(tiny_data) == before
    for part in (tiny_data.train_images, tiny_data.train_labels, tiny_data.test_images):
        tensor = in_memory(part)
        first = tensor.view(-1)[:1]
        kept = first.clone()
        first.add_(1)
        assert digest(tiny_data) != before
        first.copy_(kept)
    tiny_data.test_labels[-1] += 1
    assert digest(tiny_data) != before
