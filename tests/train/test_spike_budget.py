"""The spike budget: penalties in closed form, the controller, and runs that end on target."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from same import assert_same
from torch import Tensor
from train.tiny import Recorder

from snn_export import trained
from snn_runtime.errors import DivergedError
from snn_train import api, checkpoint
from snn_train.choices import RecipeName, Regulariser
from snn_train.data import DataSet
from snn_train.layout import Architecture
from snn_train.network import SpikingNetwork
from snn_train.progress import Progress, epoch_line
from snn_train.records import TIMES, EpochRecord
from snn_train.spike_budget import (
    SpikeBudget,
    hoyer_penalty,
    start_recording,
    stop_recording,
    synaptic_penalty,
)
from snn_train.stage import Stage
from snn_train.state import Run, resume
from snn_train.training import Stopped, train_run
from snn_train.validation import keep_if_best

if TYPE_CHECKING:
    from train.conftest import Answer

NewRun = Callable[..., Run]
Command = Callable[..., "Answer"]
CPU = torch.device("cpu")


def small(
    recipe: RecipeName = "iir-bn", timesteps: int = 1, network: str = "vgg5"
) -> SpikingNetwork:
    torch.manual_seed(1)
    architecture = Architecture(network, recipe, 0.1, image_height=8, image_width=8, classes=4)
    made = SpikingNetwork(architecture, timesteps)
    with torch.no_grad():
        for layer in made.populations():
            layer.neuron.threshold.fill_(0.5)
    return made


def images() -> Tensor:
    return torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(2))


# The penalties.


def test_the_synaptic_penalty_is_the_rate_weighted_by_what_spikes_cost() -> None:
    network = small()
    # Channels 6, 13, 13. conv1 sends 4×4 to conv2, conv2 4×4 to conv3, which sends 2×2.
    macs = {"conv1": 9 * 6 * 13 * 16, "conv2": 9 * 13 * 13 * 16, "conv3": 13 * 4 * 4}
    rates = {"conv1": 0.5, "conv2": 0.125, "conv3": 0.25}
    found = {name: torch.tensor(rate, requires_grad=True) for name, rate in rates.items()}
    penalty = synaptic_penalty(network, found)
    total = sum(macs.values())
    assert penalty.item() == pytest.approx(sum(rates[k] * macs[k] for k in macs) / total)
    assert penalty.item() == pytest.approx(network.spike_rate(rates))
    gradients = torch.autograd.grad(penalty, list(found.values()))
    assert [float(each) for each in gradients] == pytest.approx([macs[k] / total for k in found])


def test_the_hoyer_penalty_and_its_gradient_are_the_papers() -> None:
    u = torch.tensor([0.5, 1.5, -1.0, -0.2], requires_grad=True)
    # Clipped to (½, 1, 0, 0): Σ|u| = 1.5, Σu² = 1.25, H = 1.8.
    penalty = hoyer_penalty([u])
    assert penalty.item() == pytest.approx(1.8 / 4)
    assert hoyer_penalty([u, torch.ones(2)]).item() == pytest.approx((1.8 + 2) / 6)
    (gradient,) = torch.autograd.grad(penalty, u)
    inside = 2 * (1.5 / 1.25) * (1 - 0.5 * 1.5 / 1.25) / 4  # dH/du = 2 S₁/S₂ (1 − u S₁/S₂)
    assert gradient.tolist() == pytest.approx([inside, 0, 0, 0])


def test_the_hoyer_penalty_is_least_where_one_membrane_holds_all() -> None:
    one = torch.zeros(50)
    one[7] = 0.3
    assert float(hoyer_penalty([one])) == pytest.approx(1 / 50)
    assert float(hoyer_penalty([torch.full((50,), 0.3)])) == pytest.approx(1)
    silent = torch.full((50,), -1.0, requires_grad=True)
    penalty = hoyer_penalty([silent])
    (gradient,) = torch.autograd.grad(penalty, silent)
    assert penalty.item() == 0 and bool((gradient == 0).all())


@pytest.mark.parametrize("regulariser", ["synaptic", "hoyer"])
def test_penalties_raise_thresholds_and_lower_shifts(regulariser: Regulariser) -> None:
    network = small().train()
    start_recording(network, regulariser)
    network(images())
    penalty, _ = stop_recording(network)
    last = network.populations()[-1]  # it alone drives no other
    assert last.norm is not None
    weights = [layer.synapse.weight for layer in network.populations()]
    threshold, shift, *turned = torch.autograd.grad(
        penalty, [last.neuron.threshold, last.norm.shift, *weights]
    )
    assert float(threshold.sum()) < 0 < float(shift.sum())
    assert all(bool(each.any()) for each in turned)


@pytest.mark.parametrize("timesteps", [1, 3])
@pytest.mark.parametrize("recipe", ["iir", "iir-bn"])
def test_a_recorded_pass_is_the_same_pass(recipe: RecipeName, timesteps: int) -> None:
    network = small(recipe, timesteps, "resnet12").eval()
    network.rates = {}
    logits = network(images())
    rates = {name: rate.item() for name, rate in network.rates.items()}
    network.rates = None
    for regulariser in ("synaptic", "hoyer"):
        start_recording(network, regulariser)
        assert torch.equal(network(images()), logits)
        kept = [layer.neuron.membranes for layer in network.populations()]
        if regulariser == "hoyer":
            assert [len(m) for m in kept if m] == [timesteps] * len(network.populations())
            expected = hoyer_penalty([torch.stack(m) for m in kept if m])
        penalty, rate = stop_recording(network)
        assert float(rate) == pytest.approx(network.spike_rate(rates))
        assert penalty.item() == float(rate if regulariser == "synaptic" else expected.detach())
        assert network.rates is None and not rate.requires_grad
        assert all(layer.neuron.membranes is None for layer in network.populations())


# The control.


def controlled(target: float, natural: float, offset: float = 1.0) -> float:
    """The validated rate at the end of a stage whose network drifts back to its natural rate, can
    move only so fast, and less and less, and fires `offset` times as much in validation."""
    budget, rate, steps = SpikeBudget.of(target, CPU), natural, 600
    for done in range(steps):
        budget.observe(torch.tensor(rate), done, steps)
        force = 0.5 * math.log(natural / rate) - math.tanh(float(budget.strength()))
        rate *= math.exp(0.03 * (1 - done / steps) * force)
        if done % 20 == 19:
            budget.correct(offset * rate)
    return offset * rate


@pytest.mark.parametrize("offset", [0.7, 0.9, 1.0, 1.1, 1.5])
@pytest.mark.parametrize(("target", "natural"), [(0.05, 0.2), (0.15, 0.2), (0.2, 0.2), (0.3, 0.1)])
def test_the_control_reaches_a_target_from_either_side(
    target: float, natural: float, offset: float
) -> None:
    assert controlled(target, natural, offset) == pytest.approx(target, rel=0.03)


def test_the_wanted_rate_falls_from_where_the_stage_began() -> None:
    budget, steps, wanted = SpikeBudget.of(0.05, CPU), 100, []
    for done in range(steps):
        budget.observe(torch.tensor(0.2), done, steps)
        wanted.append(float(budget.wanted))
    assert wanted[0] == pytest.approx(0.2) and wanted[20] == pytest.approx(0.1)
    assert wanted[40:] == pytest.approx([0.05] * 60)
    assert wanted == sorted(wanted, reverse=True)


@pytest.mark.parametrize("share", [0.6, 1.0, 1.5])
def test_a_network_that_begins_at_its_target_is_left_there(share: float) -> None:
    """Where augmented pictures make other spikes than those of validation, as in T = 1 that is
    trained on with `cutout`."""
    budget, steps = SpikeBudget.of(0.08, CPU), 500
    for done in range(steps):
        budget.observe(torch.tensor(0.08 * share), done, steps)
        assert abs(float(budget.strength())) < 0.03
        if done % 5 == 0:
            budget.correct(0.08)
    assert float(budget.wanted) == pytest.approx(0.08)


@pytest.mark.parametrize("rate", [0.0, math.nan, math.inf])
def test_a_rate_that_is_none_leaves_the_strength_finite(rate: float) -> None:
    budget = SpikeBudget.of(0.1, CPU)
    for done in range(50):
        budget.observe(torch.tensor(rate), done, 50)
        budget.correct(rate)
    assert math.isfinite(float(budget.strength())) and math.isfinite(float(budget.level))


def test_the_price_is_the_strength_over_the_wanted_rate() -> None:
    budget = SpikeBudget.of(0.1, CPU)
    budget.observe(torch.tensor(0.2), 0, 10)
    for done in range(1, 10):
        budget.observe(torch.tensor(0.2), done, 10)
        assert float(budget.price() * budget.wanted) == pytest.approx(float(budget.strength()))
        assert float(budget.price()) > 0  # what was wanted is below 0.2 already
    assert float(budget.strength()) == pytest.approx(math.sinh(3))  # and no further


def test_states_are_judged_by_the_budget_first(new_run: NewRun, tmp_path: Path) -> None:
    run = new_run(tmp_path, spike_rate=0.2)
    names = [layer.plan.name for layer in run.network.populations()]

    def offer(rate: float, accuracy: float) -> bool:
        return keep_if_best(run, accuracy, dict.fromkeys(names, rate), 0, run.best.accuracy)

    run.position.stage = len(run.experiment.recipe.stages) - 1
    assert offer(0.3, 0.9)
    assert offer(0.15, 0.5)  # outside as well, but nearer
    assert not offer(0.26, 0.99)
    assert offer(0.2, 0.4)  # within
    assert offer(0.208, 0.45) and not offer(0.2, 0.44)  # within, accuracy decides
    assert not offer(0.23, 1.0)
    assert run.best.accuracy == 0.45


def test_only_the_last_stage_has_to_meet_the_budget(new_run: NewRun, tmp_path: Path) -> None:
    run, budgets = new_run(tmp_path, spike_rate=0.2), []
    for stage in range(3):
        run.position.stage = stage
        budgets.append(run.active_budget)
    assert budgets == [None, None, run.spike_budget] and run.spike_budget is not None
    run.position.stage = 3
    assert run.finished and run.active_budget is None
    ann_alone = new_run(tmp_path, stages=(Stage(0, 1),), spike_rate=0.2)
    assert ann_alone.active_budget is None


def test_a_tenth_either_way_may_end_a_run() -> None:
    budget = SpikeBudget.of(0.2, CPU)
    assert [budget.problem(rate) for rate in (0.181, 0.2, 0.219)] == [""] * 3
    assert budget.problem(0.223) == "spike rate is 22.30%, expected 20.00% to within a tenth of it"
    assert budget.problem(0.17) and budget.problem(math.nan)
    assert [budget.distance(rate) for rate in (0.191, 0.2, 0.209)] == [0] * 3
    assert budget.distance(0.1) == pytest.approx(0.45)


# Runs.


def finish(run: Run, data: DataSet) -> dict[str, Any]:
    """Carry the run to its end; what `latest.pt` then holds, without how long it took."""
    train_run(run, data, Progress())
    content = checkpoint.load(run.directory / "latest.pt")
    for record in content["records"] + content["outcomes"]:
        for name in TIMES:
            record.pop(name, None)
    return {k: content[k] for k in ("network", "best", "records", "outcomes", "budget")}


@pytest.mark.parametrize(
    ("recipe", "regulariser", "last"),
    [
        ("iir-bn", "synaptic", 1),
        ("iir-bn", "hoyer", 2),
        ("iir", "synaptic", 2),
        ("iir", "hoyer", 1),
    ],
)
def test_stopped_after_every_step_the_controller_ends_with_the_same_bits(
    new_run: NewRun,
    tiny_data: DataSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recipe: str,
    regulariser: str,
    last: int,
) -> None:
    monkeypatch.setattr(SpikeBudget, "problem", lambda *_: "")  # six steps are too few to get there
    settings: dict[str, Any] = {"stages": (Stage(0, 2), Stage(3, 1), Stage(last, 2))}
    settings |= {"spike_rate": 0.3, "regulariser": regulariser}
    whole = finish(new_run(tmp_path / "whole", recipe, **settings), tiny_data)
    pieces = tmp_path / "pieces"
    new_run(pieces, recipe, **settings).save()
    for _ in range(15):
        with pytest.raises(Stopped):
            train_run(resume(pieces, CPU), tiny_data, Recorder(stopping=lambda: True))
    assert_same(finish(resume(pieces, CPU), tiny_data), whole)
    assert whole["budget"]["target"] == 0.3 and float(whole["budget"]["level"]) != 0
    strengths = [record.get("strength") for record in whole["records"]]
    assert strengths[:3] == [None] * 3 and all(strengths[3:])


def test_runs_from_before_there_were_budgets_go_on(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path
) -> None:
    whole = finish(new_run(tmp_path / "whole"), tiny_data)
    old = new_run(tmp_path / "old")
    with pytest.raises(Stopped):
        train_run(old, tiny_data, Recorder(stopping=lambda: True))
    content = checkpoint.load(old.directory / "latest.pt")
    assert content.pop("budget") is None
    for key in ("spike_rate", "regulariser"):
        del content["settings"][key]
    checkpoint.save(old.directory / "latest.pt", content)
    assert_same(finish(resume(old.directory, CPU), tiny_data), whole)
    assert not any("strength" in record or "target" in record for record in whole["records"])


def test_a_run_that_misses_its_budget_says_so(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path
) -> None:
    expected = "stage t1 failed 4 times.*spike rate is .*expected 2.00% to within a tenth of it"
    with pytest.raises(DivergedError, match=expected):
        train_run(new_run(tmp_path, spike_rate=0.02), tiny_data, Progress())
    assert (tmp_path / "t2.pt").exists() and not (tmp_path / "t1.pt").exists()


def test_a_run_that_misses_its_budget_leaves_what_it_reached(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, refused = new_run(tmp_path, spike_rate=0.02), tmp_path / "t1-refused.pt"
    with pytest.raises(DivergedError, match=f"its best state is in {refused};.*--spike-rate"):
        train_run(run, tiny_data, Progress())
    kept = checkpoint.load(refused)
    assert_same(kept["network"], run.best.weights)
    assert kept["timesteps"] == 1 and kept["metrics"]["validation"] == run.best.accuracy
    assert kept["metrics"]["spike_rate"] == run.network.spike_rate(run.best.rates)
    assert trained.load(refused).metrics == kept["metrics"]  # good for export-snn
    monkeypatch.setattr(SpikeBudget, "problem", lambda self, rate: "")  # the last try succeeds
    train_run(resume(tmp_path, CPU), tiny_data, Progress())
    assert (tmp_path / "t1.pt").exists() and not refused.exists()


@pytest.mark.parametrize("target", [0.1, 0.25])
@pytest.mark.parametrize("regulariser", ["synaptic", "hoyer"])
def test_digits_end_within_a_tenth_of_the_target(
    train_snn: Command, tmp_path: Path, regulariser: str, target: float
) -> None:
    answer = train_snn("--data", "digits", "--width", 0.25, "--timesteps", 1, "--epochs", "4,12",
                       "--threads", 1, "--largest-drop", 0.5, "--out", tmp_path / "run",
                       "--spike-rate", target, "--regulariser", regulariser)  # fmt: skip
    assert answer.code == 0, answer.err
    reached = checkpoint.load(tmp_path / "run" / "t1.pt")["metrics"]
    assert reached["spike_rate"] == pytest.approx(target, rel=0.1)
    assert reached["test"] > 0.7
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    last = [record for record in records if record["stage"] == "t1"]
    assert {record["target"] for record in last} == {target}
    assert len({record["strength"] for record in last}) == len(last)
    assert answer.out.count(f"for {target:.1%} at strength") == len(last)


# The command line.


def test_an_epochs_line_shows_target_and_strength() -> None:
    record = EpochRecord(
        stage="t1", attempt=0, epoch=3, epochs=10, loss=0.5, validation=0.987, seconds=1.0,
        images_per_second=12.0, spike_rate=0.123, rates={"a": 0.1, "b": 0.256},
        target=0.08, strength=-0.0317,
    )  # fmt: skip
    assert "  spikes 12.3% for 8.0% at strength -0.0317 (% a layer: 10 26)" in epoch_line(record)


@pytest.mark.parametrize(
    ("flags", "rate", "regulariser"),
    [
        ([], None, "synaptic"),
        (["--spike-rate", "0.08"], 0.08, "synaptic"),
        (["--spike-rate", "0.08", "--regulariser", "hoyer"], 0.08, "hoyer"),
        (["--spike-rate", "0.6", "--recipe", "iir", "--hidden", "4"], 0.6, "synaptic"),
    ],
)
def test_flags_end_up_in_the_checkpoint(
    train_snn: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    rate: float | None,
    regulariser: str,
) -> None:
    monkeypatch.setattr(api, "train_run", lambda *_: None)
    answer = train_snn("--data", "digits", "--out", tmp_path, "--format", "json", *flags)
    assert answer.code == 0, answer.err
    settings = checkpoint.load(tmp_path / "latest.pt")["settings"]
    assert (settings["spike_rate"], settings["regulariser"]) == (rate, regulariser)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--spike-rate", "0"], "'0' is not a number from 0.005 to 0.6"),
        (["--spike-rate", "-0.1"], "'-0.1' is not a number from 0.005 to 0.6"),
        (["--spike-rate", "1"], "'1' is not a number from 0.005 to 0.6"),
        (["--spike-rate", "8"], "a share of 1"),
        (["--spike-rate", "nan"], "'nan' is not a number"),
        (["--spike-rate", "8%"], "'8%' is not a number"),
        (["--spike-rate", "0.1", "--regulariser", "l1"], "hoyer"),
        (["--regulariser", "hoyer"], "--regulariser hoyer: needs"),
    ],
)
def test_rates_that_cannot_be_met_are_refused(
    train_snn: Command, tmp_path: Path, flags: list[str], expected: str
) -> None:
    answer = train_snn("--data", "digits", "--out", tmp_path / "run", *flags)
    assert answer.code == 2 and answer.err.count("\n") == 1
    assert answer.err.startswith("train-snn: error: ") and expected in answer.err
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_keeps_its_regulariser(train_snn: Command, tmp_path: Path) -> None:
    answer = train_snn("--resume", tmp_path, "--regulariser", "hoyer")
    assert answer.code == 2 and "--regulariser cannot change a run" in answer.err
