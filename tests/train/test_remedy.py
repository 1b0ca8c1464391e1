"""A stage that fails for good leaves its best state and names a command, and the command works."""

import json
import math
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from train.tiny import unless

from snn_export import trained
from snn_runtime.errors import UsageError
from snn_train import calibrate, checkpoint, remedy, stages, step, training
from snn_train.choices import REMEDIES
from snn_train.network import SpikingNetwork
from snn_train.records import StageOutcome
from snn_train.schedule import peak
from snn_train.state import Kept, Position, Run
from snn_train.validation import evaluate

if TYPE_CHECKING:
    from train.conftest import Answer

Command = Callable[..., "Answer"]
TINY = ("--data", "digits", "--network", "vgg5", "--width", "0.1", "--timesteps", "2,1",
        "--epochs", "1", "--threads", "1")  # fmt: skip


@pytest.fixture
def failed(train_snn: Command, tmp_path: Path) -> Callable[..., tuple[list[str], dict[str, Any]]]:
    """Run into exit code 8; return the command that is named, and the refused checkpoint."""

    def fail(stage: str, *flags: str) -> tuple[list[str], dict[str, Any]]:
        answer = train_snn(*unless(flags, TINY), "--out", tmp_path / "a run", *flags)
        assert answer.code == 8, answer.err
        last = answer.err.splitlines()[-1]
        file = tmp_path / "a run" / f"{stage}-refused.pt"
        assert f"stage {stage} failed 4 times, the last time: " in last
        if "not finite" in last:
            assert "loss is not finite (the steps were too large); its best" in last
        assert f"; its best state is in {file}; to go on: train-snn --resume " in last
        named = re.search(r"to go on: train-snn (.*) \[diverged\]$", last)
        assert named
        return shlex.split(named[1]), checkpoint.load(file)

    return fail


def goes_on(train_snn: Command, words: list[str]) -> "Answer":
    answer = train_snn(*words)
    assert answer.code == 0, answer.err
    folder = Path(words[1])
    assert (folder / "t1.pt").exists() and not list(folder.glob("*-refused.pt"))
    return answer


def test_a_rate_begins_only_its_own_stage_again(
    new_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = new_run(tmp_path / "run", spiking_learning_rate=1e-3)
    run.position.step = 2
    remedy.apply(run, {"spiking_learning_rate": 1e-4})  # for later
    assert run.position == Position(0, step=2) and run.recipe.spiking_learning_rate == 1e-4
    remedy.apply(run, {"learning_rate": 1e-4})
    assert run.position == Position(0)
    run.position = Position(1, step=2)
    with pytest.raises(UsageError, match=r"--learning-rate 0.01: no stage .* --spiking-learning"):
        remedy.apply(run, {"learning_rate": 0.01})
    assert run.position.step == 2 and run.recipe.learning_rate == 1e-4
    remedy.apply(run, {"spiking_learning_rate": 1e-5})
    assert run.position == Position(1)


def deafen(monkeypatch: pytest.MonkeyPatch, layers: slice, factor: float) -> None:
    """Let the layers of every network at T = 1 fire too rarely, whatever is learnt."""
    true = calibrate.convert

    def deaf(before: SpikingNetwork, timesteps: int) -> SpikingNetwork:
        after = true(before, timesteps)
        if timesteps == 1:
            for layer in list(after.populations())[layers]:
                layer.neuron.threshold.data.mul_(factor)
        return after

    monkeypatch.setattr(stages, "convert", deaf)


def test_a_layer_out_of_its_limits(
    train_snn: Command,
    failed: Callable[..., tuple[list[str], dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deafen(monkeypatch, slice(1, 2), 1e4)
    words, refused = failed("t1", "--largest-drop", "0.05", "--recipe", "iir", "--hidden", "8")
    rates = refused["metrics"]["rates"].values()
    assert not all(0.005 <= rate <= 0.6 for rate in rates)
    assert refused["timesteps"] == 1 and refused["metrics"]["validation"] > 0
    network = trained.load(Path(words[1]) / "t1-refused.pt").network  # good for export-snn
    assert all(torch.equal(v, refused["network"][k]) for k, v in network.state_dict().items())
    assert "--rate-limits" in words
    low, high = map(float, words[words.index("--rate-limits") + 1].split(","))
    assert low <= min(rates) and max(rates) <= high
    again = train_snn(*words[:2])  # without the flag it fails at once, with the same advice
    assert again.code == 8 and shlex.join(words) in again.err
    goes_on(train_snn, words)
    last = checkpoint.load(Path(words[1]) / "t1.pt")
    assert last["settings"]["rate_limits"] == (low, high)


def test_thresholds_that_silence_a_layer_are_set_again(
    train_snn: Command, failed: Callable[..., tuple[list[str], dict[str, Any]]], tmp_path: Path
) -> None:
    """Nothing is left of such a network that could pass: the stage begins again from the ANN."""
    flags = ("--timesteps", "1", "--percentile", "100", "--learning-rate", "1e-4")
    words, refused = failed("t1", *flags)
    assert words[2:] == ["--percentile", "85"] and min(refused["metrics"]["rates"].values()) == 0
    answer = train_snn(*words, "--largest-drop", "1", "--rate-limits", "0,1")
    assert answer.code == 0, answer.err
    last = checkpoint.load(tmp_path / "a run" / "t1.pt")
    assert last["settings"]["percentile"] == 85 and min(last["metrics"]["rates"].values()) > 0.005


def test_a_percentile_is_for_the_stage_behind_the_ann(
    new_run: Callable[..., Run], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--percentile: .* is at ann"):
        remedy.apply(new_run(tmp_path), {"percentile": 60.0})


@pytest.mark.parametrize(
    ("tried", "suggested"), [(1e9, "0.002"), (0.016, "0.001"), (1.6e-3, "0.0001")]
)
def test_a_rate_is_suggested_that_is_known_to_train(
    new_run: Callable[..., Run], tmp_path: Path, tried: float, suggested: str
) -> None:
    run = new_run(tmp_path, learning_rate=tried)
    said = remedy.command(run, run.best, "loss is not finite")
    assert said == f"train-snn --resume {tmp_path} --learning-rate {suggested}"


def test_an_accuracy_that_fell_too_far(
    train_snn: Command,
    failed: Callable[..., tuple[list[str], dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def worse(network: SpikingNetwork, *rest: Any) -> tuple[float, dict[str, float]]:
        return 0.9 - 0.25 * (network.timesteps == 2), evaluate(network, *rest)[1]

    for module in (training, stages):
        monkeypatch.setattr(module, "evaluate", worse)
    words, refused = failed("t2")
    assert words[2:4] == ["--largest-drop", "0.251"]
    assert refused["metrics"]["validation"] == 0.65
    goes_on(train_snn, words)


def test_weights_that_are_not_finite_are_never_kept(
    train_snn: Command,
    failed: Callable[..., tuple[list[str], dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deafen(monkeypatch, slice(1, 2), 0.0)  # gradients are divided by the threshold
    words, refused = failed("t1", "--largest-drop", "1", "--recipe", "iir", "--hidden", "8")
    assert all(bool(tensor.isfinite().all()) for tensor in refused["network"].values())
    assert refused["metrics"]["rates"] and len(words) == 4
    answer = train_snn(*words[:2])
    assert answer.code == 8 and shlex.join(words) in answer.err


def test_a_loss_that_is_not_finite(
    train_snn: Command,
    failed: Callable[..., tuple[list[str], dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    true = step.step

    def broken(run: Run, *rest: Any) -> Any:
        measured = true(run, *rest)  # loss and accuracy
        bad = run.stage.timesteps and peak(run.recipe, run.stage) > 1e-3
        return measured * torch.tensor([math.nan, 1]) if bad else measured

    monkeypatch.setattr(step, "step", broken)
    words, refused = failed("t2", "--largest-drop", "1")
    assert words[2] == "--spiking-learning-rate" and float(words[3]) < 1e-3
    assert refused["metrics"]["rates"] and math.isfinite(refused["metrics"]["validation"])
    again = train_snn(*words[:2])  # without the flag its steps are taken again
    assert again.code == 8 and shlex.join(words) in again.err
    lines = (Path(words[1]) / "metrics.jsonl").read_text().splitlines()
    assert {json.loads(line)["stage"] for line in lines} == {"ann"}
    goes_on(train_snn, words)


def test_steps_far_too_large_leave_what_can_be_used(
    train_snn: Command, failed: Callable[..., tuple[list[str], dict[str, Any]]], tmp_path: Path
) -> None:
    """An epoch may still end with finite numbers, of which nothing can be learnt any more."""
    flags = ("--timesteps", "1", "--epochs", "2,3", "--optimiser", "sgd", "--learning-rate", "0.05")
    words, refused = failed("t1", *flags, "--spiking-learning-rate", "3e4", "--rate-limits", "0,1")
    assert all(bool(tensor.isfinite().all()) for tensor in refused["network"].values())
    assert words[2:] == ["--spiking-learning-rate", "0.05"]
    goes_on(train_snn, [*words, "--largest-drop", "1"])
    last = checkpoint.load(tmp_path / "a run" / "t1.pt")
    assert last["metrics"]["validation"] > 0.15
    assert max(float(tensor.abs().max()) for tensor in last["network"].values()) < 1e4


def test_a_network_that_guesses_is_not_let_pass(
    new_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = new_run(tmp_path, largest_drop=0.1)
    ann, rates = run.recipe.stages[0].name, {"conv1": 0.2, "conv2": 0.2, "conv3": 0.2}
    run.outcomes.append(
        StageOutcome(
            stage=ann, timesteps=0, validation=0.9, test=None, spike_rate=None, rates={}, epochs=1,
            seconds=1.0,
        )
    )  # fmt: skip
    run.position = Position(1)
    fell = "accuracy fell from …"
    guessing, poor = (Kept(accuracy, 1, rates, {}) for accuracy in (0.55, 0.65))
    assert "--spiking-learning-rate" in remedy.command(run, guessing, fell)
    assert remedy.command(run, poor, fell).endswith("--largest-drop 0.251")


def test_a_network_that_guesses_and_fires_too_often_is_not_let_pass(
    new_run: Callable[..., Run], tmp_path: Path
) -> None:
    """Its steps were too large."""
    run = new_run(tmp_path, largest_drop=1.0)
    run.position = Position(1)
    often = "conv1 fires at 90.00%, expected 0.5% to 60%"
    guessing, fair = (Kept(a, 1, {"conv1": 0.9, "conv2": 0.2}, {}) for a in (0.5, 0.9))
    assert "--spiking-learning-rate" in remedy.command(run, guessing, often)
    assert remedy.command(run, fair, often).endswith("--rate-limits 0.005,0.9")


def test_a_budget_that_is_missed(new_run: Callable[..., Run], tmp_path: Path) -> None:
    changes: dict[str, Any] = dict.fromkeys(REMEDIES) | {"spike_rate": 0.31}
    with pytest.raises(UsageError, match="--spike-rate: .* was begun without a budget"):
        remedy.apply(new_run(tmp_path), changes)
    run = new_run(tmp_path, spike_rate=0.1)
    run.position = Position(len(run.recipe.stages) - 1)
    names = [layer.plan.name for layer in run.network.populations()]
    state = Kept(0.9, 3, dict.fromkeys(names, 0.31), {})
    assert remedy.command(run, state, "spike rate is …") == (
        f"train-snn --resume {tmp_path} --spike-rate 0.31"
    )
    remedy.apply(run, changes)
    assert run.active_budget and not run.active_budget.problem(0.31)
    assert run.recipe.spike_rate == 0.31


def test_a_run_that_is_done_has_nothing_to_change(train_snn: Command, tmp_path: Path) -> None:
    flags = (*TINY, "--out", tmp_path / "run", "--largest-drop", "1", "--rate-limits", "0,1")
    assert train_snn(*flags).code == 0
    answer = train_snn("--resume", tmp_path / "run", "--largest-drop", "0.5")
    assert answer.code == 2 and "--largest-drop: the run in" in answer.err
