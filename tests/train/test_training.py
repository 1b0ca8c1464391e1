"""The loop: stopped anywhere it ends with the same bits, and what goes wrong is rolled back."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from in_memory import in_memory
from same import assert_same
from torch import Tensor
from train.tiny import After, Recorder, never

from snn_runtime.errors import DivergedError, ResourceError
from snn_runtime.files import MARK, SUFFIX, write_atomic
from snn_train import batches, checkpoint, stages, training
from snn_train import step as steps_module
from snn_train.calibrate import convert
from snn_train.data import DataSet
from snn_train.data.augment import augment
from snn_train.events import convolution
from snn_train.network import SpikingNetwork
from snn_train.recipe import Recipe
from snn_train.records import TIMES, EpochRecord, StageOutcome
from snn_train.schedule import learning_rate as rate_of
from snn_train.stage import Stage
from snn_train.stages import RETRIES
from snn_train.state import Run, resume
from snn_train.training import StageTrainer, Stopped, train_run
from snn_train.validation import evaluate, within_chance

NewRun = Callable[..., Run]
STEPS = 15
"""Of a whole run of `new_run`: 3 an epoch."""


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def without_times(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k not in TIMES} for record in records]


def outcome(directory: Path) -> dict[str, Any]:
    """All that a run leaves, apart from how long it took."""
    left: dict[str, Any] = {
        name: checkpoint.load(directory / name)["network"] for name in ("ann.pt", "t2.pt", "t1.pt")
    }
    latest = checkpoint.load(directory / "latest.pt")
    left["records"] = without_times(latest["records"])
    left["outcomes"] = without_times(latest["outcomes"])
    return left


def go_on(directory: Path, data: DataSet, stop: Callable[[], bool] = never) -> None:
    train_run(resume(directory, torch.device("cpu")), data, Recorder(stopping=stop))


def test_numbers_that_no_line_of_the_last_epoch_shows_are_explained(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, recorder: Recorder
) -> None:
    run = new_run(tmp_path)
    train_run(run, tiny_data, recorder)
    said = {note.split(":")[0]: note for note in recorder.notes}
    for reached in run.outcomes:
        last = [record for record in recorder.records if record.stage == reached.stage][-1]
        same = (reached.validation, reached.spike_rate) == (last.validation, last.spike_rate)
        if not same:
            assert "kept as it was after epoch" in said[reached.stage]
            assert f"validation {reached.validation:.2%}" in said[reached.stage]
    assert (
        "normalisations averaged anew (settled): validation" in said["t1"]
        and "  spikes " in said["t1"]
    )


def test_where_the_last_epoch_is_what_is_kept_nothing_is_said(
    new_run: NewRun,
    tiny_data: DataSet,
    tmp_path: Path,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stages, "settle", lambda *_: None)
    train_run(new_run(tmp_path, stages=(Stage(0, 1), Stage(1, 1))), tiny_data, recorder)
    assert recorder.notes == []


@pytest.mark.parametrize("recipe", ["iir-bn", "iir"])
def test_stopped_after_any_step_a_run_ends_with_the_same_bits(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, recipe: str
) -> None:
    whole = tmp_path / "whole"
    train_run(new_run(whole, recipe), tiny_data, Recorder())
    expected = outcome(whole)
    for steps in range(1, STEPS + 1):
        directory = tmp_path / str(steps)
        with pytest.raises(Stopped):
            train_run(new_run(directory, recipe), tiny_data, Recorder(stopping=After(steps)))
        go_on(directory, tiny_data)
        assert_same(outcome(directory), expected)


@pytest.mark.parametrize(
    ("recipe", "network", "settings"),
    [
        ("iir-bn", "vgg5", {"optimiser": "adamw"}),
        ("iir-bn", "vgg5", {"precision": "bfloat16"}),
        ("iir-bn", "resnet12", {"optimiser": "sgd"}),
        ("iir-bn", "resnet12", {"optimiser": "muon", "precision": "bfloat16"}),
        ("iir", "vgg5", {"optimiser": "adam"}),
        ("iir", "resnet12", {"optimiser": "adamw"}),
    ],
)
def test_stopped_after_every_step_a_run_ends_with_the_same_bits(
    new_run: NewRun,
    tiny_data: DataSet,
    tmp_path: Path,
    recipe: str,
    network: str,
    settings: dict[str, Any],
) -> None:
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    train_run(new_run(whole, recipe, network, **settings), tiny_data, Recorder())
    new_run(pieces, recipe, network, **settings).save()
    for _ in range(STEPS):
        with pytest.raises(Stopped):
            go_on(pieces, tiny_data, After(1))
    go_on(pieces, tiny_data)
    assert_same(outcome(pieces), outcome(whole))


def test_a_run_by_events_that_was_stopped_ends_with_the_same_bits(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each layer is by events where few enough fire, in the steps of one run as of the other."""
    real, chosen = convolution._few, list[bool]()

    def few(*given: Any) -> bool:
        chosen.append(real(*given))
        return chosen[-1]

    def begun(directory: Path) -> Run:
        stages = (Stage(0, 1), Stage(2, 1), Stage(1, 2), Stage(1, 1, 4))
        run = new_run(directory, stages=stages, percentile=88.0, precision="bfloat16")
        run.compiled = True
        return run

    monkeypatch.setattr(torch, "compile", lambda module: module)
    monkeypatch.setattr(convolution, "_few", few)
    train_run(begun(tmp_path / "whole"), tiny_data, Recorder())
    whole = [*chosen]
    assert any(whole)
    for steps in (5, 8, 14):  # in each of the spiking stages
        chosen.clear()
        directory = tmp_path / str(steps)
        with pytest.raises(Stopped):
            train_run(begun(directory), tiny_data, Recorder(stopping=After(steps)))
        go_on(directory, tiny_data)
        assert_same(outcome(directory), outcome(tmp_path / "whole"))
        assert chosen == whole


def test_no_normalisation_sees_one_picture_alone(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path
) -> None:
    settings = {"hidden": 5, "batch_size": 7, "rate_limits": (0.0, 1.0)}  # 36 = 5 · 7 + 1
    run = new_run(tmp_path, stages=(Stage(0, 1), Stage(1, 1)), **settings)
    train_run(run, tiny_data, Recorder())
    assert [outcome.stage for outcome in run.outcomes] == ["ann", "t1"]


def test_lost_at_any_write_a_run_ends_with_the_same_bits(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The n-th checkpoint is torn: the process is gone with it half written."""
    whole = tmp_path / "whole"
    made = new_run(whole)
    made.save()
    writes = 0

    def count(path: Path, data: bytes) -> None:
        nonlocal writes
        writes += 1
        write_atomic(path, data)

    monkeypatch.setattr(checkpoint, "write_atomic", count)
    train_run(made, tiny_data, Recorder())
    expected, total = outcome(whole), writes

    class Gone(BaseException):
        """No handler for ordinary errors may tidy up after this."""

    def tear(path: Path, data: bytes) -> None:
        nonlocal writes
        writes += 1
        if writes == last:
            path.with_name(f"{MARK}x{SUFFIX}").write_bytes(data[: len(data) // 2])
            raise Gone
        write_atomic(path, data)

    for last in range(1, total + 1):
        directory = tmp_path / str(last)
        made = new_run(directory)
        monkeypatch.setattr(checkpoint, "write_atomic", write_atomic)
        made.save()
        writes = 0
        monkeypatch.setattr(checkpoint, "write_atomic", tear)
        with pytest.raises(Gone):
            train_run(made, tiny_data, Recorder())
        go_on(directory, tiny_data)
        assert_same(outcome(directory), expected)
    assert total > 10


def test_a_damaged_latest_state_costs_time_but_no_bits(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    train_run(new_run(whole), tiny_data, Recorder())
    for steps in (2, 8, 14):
        directory = tmp_path / str(steps)
        with pytest.raises(Stopped):
            train_run(new_run(directory), tiny_data, Recorder(stopping=After(steps)))
        go_on_once = After(1)
        with pytest.raises(Stopped):
            go_on(directory, tiny_data, go_on_once)
        latest = directory / "latest.pt"
        latest.write_bytes(latest.read_bytes()[:-100])
        go_on(directory, tiny_data)
        assert_same(outcome(directory), outcome(whole))


def test_a_finished_run_can_be_resumed_and_changes_nothing(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path
) -> None:
    train_run(new_run(tmp_path), tiny_data, Recorder())
    before = outcome(tmp_path)
    go_on(tmp_path, tiny_data)
    assert_same(outcome(tmp_path), before)


def test_a_stages_checkpoint_says_what_was_reached(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, recorder: Recorder
) -> None:
    made = new_run(tmp_path)
    train_run(made, tiny_data, recorder)
    assert [record.stage for record in recorder.records] == ["ann", "ann", "t2", "t1", "t1"]
    assert recorder.records == made.records
    for outcome in made.outcomes:
        content = checkpoint.load(made.checkpoint(outcome.stage))
        assert StageOutcome.from_dict(content["metrics"]) == outcome
        assert [StageOutcome.from_dict(row) for row in content["history"]] == made.outcomes
        assert content["labels"] == ["dark", "bright"]
        network = SpikingNetwork(made.experiment.architecture, content["timesteps"])
        network.load_state_dict(content["network"])
        pictures, labels = tiny_data.test_images, tiny_data.test_labels
        accuracy, rates = evaluate(network, pictures, labels, made)
        assert (accuracy, rates) == (outcome.test, outcome.test_rates)
        measured = [r.validation for r in made.records if r.stage == outcome.stage]
        _, held_out = tiny_data.split(made.recipe.validation, made.recipe.seed)
        pictures, labels = tiny_data.train_images[held_out], tiny_data.train_labels[held_out]
        assert outcome.validation == evaluate(network, pictures, labels, made)[0]
        highest = kept = 0.0
        for share in measured:
            if share >= within_chance(highest, len(held_out)):
                highest, kept = max(highest, share), share
        assert outcome.validation >= kept  # settling the normalisations may add to it
        assert (outcome.spike_rate is None) == (outcome.stage == "ann")


class Watched:
    """A data set that notes when its test images are asked for."""

    def __init__(self, data: DataSet, recorder: Recorder) -> None:
        self.data, self.recorder = data, recorder
        self.epochs_seen: list[int] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("test"):
            self.epochs_seen.append(len(self.recorder.records))
        return getattr(self.data, name)


def test_the_test_set_is_not_looked_at_before_the_end(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, recorder: Recorder
) -> None:
    watched: Any = Watched(tiny_data, recorder)
    train_run(new_run(tmp_path), watched, recorder)
    assert watched.epochs_seen == [5, 5]  # its images and its labels, after all five epochs


def test_validation_images_are_never_trained_on(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[int] = set()
    trained, held_out = tiny_data.split(0.1, 0)
    pictures = in_memory(tiny_data.train_images)
    marked = {bytes(each.flatten().tolist()): index for index, each in enumerate(pictures)}

    def spy(images: Tensor, *rest: Any) -> Tensor:
        seen.update(marked[bytes(image.flatten().tolist())] for image in images)
        return augment(images, *rest)

    monkeypatch.setattr(batches, "augment", spy)
    train_run(new_run(tmp_path), tiny_data, Recorder())
    assert seen == set(trained.tolist()) and not seen & set(held_out.tolist())


# What goes wrong


def break_loss(
    monkeypatch: pytest.MonkeyPatch, broken: Callable[[int], bool], value: float = math.nan
) -> list[int]:
    """Make the loss NaN at the steps that `broken` says, counted over the whole run."""
    true_loss, steps = steps_module.loss_of, [0]

    def loss(logits: Tensor, *rest: Any) -> Tensor:
        steps[0] += 1
        result = true_loss(logits, *rest)
        return result * value if broken(steps[0]) else result

    monkeypatch.setattr(steps_module, "loss_of", loss)
    return steps


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("step", [1, 6, 7, 11])
def test_a_loss_that_is_not_finite_rolls_the_stage_back_and_halves_the_rate(
    new_run: NewRun,
    tiny_data: DataSet,
    tmp_path: Path,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    value: float,
) -> None:
    break_loss(monkeypatch, lambda now: now == step, value)
    rates: dict[tuple[int, int], float] = {}
    epochs = [Stage(0, 2), Stage(0, 2), Stage(2, 1), Stage(1, 2), Stage(1, 2)]
    stage = epochs[(step - 1) // 3]

    def spy(recipe: Recipe, stage_now: Stage, step: int, steps: int, attempt: int) -> float:
        rate = rate_of(recipe, stage_now, step, steps, attempt)
        if made.stage == stage:
            rates[attempt, step] = rate
        return rate

    monkeypatch.setattr(steps_module, "learning_rate", spy)
    made = new_run(tmp_path)
    train_run(made, tiny_data, recorder)
    assert [note for note in recorder.notes if "kept as it was" not in note] == [
        f"{stage.name}: loss is not finite; back to its best state, learning rate halved"
    ]
    steps = 3 * stage.epochs
    for at in range(steps):
        gentler = 0.5 * rate_of(made.recipe, stage, at, steps, 0)
        assert rates[1, at] == pytest.approx(gentler)
    attempts = {record.stage: record.attempt for record in made.records}
    assert attempts == {"ann": 0, "t2": 0, "t1": 0} | {stage.name: 1}
    for name in ("ann", "t2", "t1"):
        weights = checkpoint.load(tmp_path / f"{name}.pt")["network"].values()
        assert all(bool(tensor.isfinite().all()) for tensor in weights)


def test_a_retry_starts_from_the_best_state_with_a_new_optimiser(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_loss(monkeypatch, lambda now: now == 6)
    made, states = new_run(tmp_path), []
    train_epoch = StageTrainer.train_epoch

    def spy(trainer: StageTrainer) -> tuple[float, float]:
        run = trainer.run
        weights = {name: tensor.clone() for name, tensor in run.network.state_dict().items()}
        states.append((run.position.attempt, weights, len(run.optimiser.state)))
        return train_epoch(trainer)

    monkeypatch.setattr(StageTrainer, "train_epoch", spy)
    train_run(made, tiny_data, Recorder())
    # Epoch 1 was healthy and the best there was; epoch 2 broke; the retry begins after epoch 1.
    assert [attempt for attempt, _, _ in states[:3]] == [0, 0, 1]
    assert_same(states[2][1], states[1][1])
    assert states[2][2] == 0


def test_metrics_are_on_disk_after_every_epoch(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path
) -> None:
    written = tmp_path / "metrics.jsonl"
    run = new_run(tmp_path)

    def check() -> bool:
        lines = written.read_text().splitlines()
        assert [EpochRecord.from_dict(json.loads(line)) for line in lines] == run.records
        return len(lines) == 3

    with pytest.raises(Stopped):
        train_run(run, tiny_data, Recorder(stopping=check))
    written.write_text("")  # killed after its state was saved and before this was
    run = resume(tmp_path, torch.device("cpu"))
    with pytest.raises(Stopped):
        train_run(run, tiny_data, Recorder(stopping=check))
    go_on(tmp_path, tiny_data)
    assert len(written.read_text().splitlines()) == STEPS // 3


def test_after_four_failures_the_run_ends_and_the_last_good_state_is_there(
    new_run: NewRun,
    tiny_data: DataSet,
    tmp_path: Path,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_loss(monkeypatch, lambda now: now >= 8)  # from the second step at T = 2
    with pytest.raises(DivergedError, match="stage t2 failed 4 times.*loss is not finite"):
        train_run(new_run(tmp_path), tiny_data, recorder)
    retried = [note for note in recorder.notes if "kept as it was" not in note]
    assert len(retried) == RETRIES == 3
    assert DivergedError.exit_code == 8
    for name in ("ann.pt", "latest.pt", "previous.pt"):
        weights = checkpoint.load(tmp_path / name)["network"].values()
        assert all(bool(tensor.isfinite().all()) for tensor in weights)
    monkeypatch.undo()  # whatever it was is gone: the same folder carries on
    go_on(tmp_path, tiny_data)
    assert (tmp_path / "t1.pt").is_file()


def test_a_rollback_that_is_interrupted_ends_with_the_same_bits(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_at_t2(run: Run) -> None:
        with monkeypatch.context() as patched:
            # By its place, not by a count: a resumed run must break where the whole one did.
            true_loss = steps_module.loss_of

            def loss(*arguments: Any) -> Tensor:
                at = run.position
                bad = (at.stage, at.attempt, at.step) in ((1, 0, 1), (1, 1, 2))
                return true_loss(*arguments) * (math.nan if bad else 1)

            patched.setattr(steps_module, "loss_of", loss)
            train_run(run, tiny_data, Recorder(stopping=stop))

    stop: Callable[[], bool] = never
    whole = tmp_path / "whole"
    broken_at_t2(new_run(whole))
    for steps in range(6, 14):
        directory, stop = tmp_path / str(steps), After(steps)
        with pytest.raises(Stopped):
            broken_at_t2(new_run(directory))
        stop = never
        broken_at_t2(resume(directory, torch.device("cpu")))
        assert_same(outcome(directory), outcome(whole))


def test_spikes_that_vanish_between_stages_are_caught(
    new_run: NewRun,
    tiny_data: DataSet,
    tmp_path: Path,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:

    def deaf(before: SpikingNetwork, timesteps: int) -> SpikingNetwork:
        after = convert(before, timesteps)
        if timesteps == 1:
            for layer in after.populations():
                layer.neuron.threshold.data.mul_(100)
        return after

    monkeypatch.setattr(stages, "convert", deaf)
    # From the iir recipe: without normalisation nothing brings the spikes back.
    with pytest.raises(DivergedError, match=r"stage t1 failed 4 times.* fires at 0\.\d+%"):
        train_run(new_run(tmp_path, "iir"), tiny_data, recorder)
    assert all("expected 0.5% to 60%" in note for note in recorder.notes)
    kept = checkpoint.load(tmp_path / "t2.pt")
    assert kept["timesteps"] == 2 and min(kept["metrics"]["rates"].values()) > 0.005
    assert not (tmp_path / "t1.pt").exists()


def test_an_accuracy_that_falls_past_the_budget_is_caught(
    new_run: NewRun,
    tiny_data: DataSet,
    tmp_path: Path,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def worse(network: SpikingNetwork, *rest: Any) -> tuple[float, dict[str, float]]:
        accuracy, rates = evaluate(network, *rest)
        return (0.95 if network.timesteps == 0 else 0.8), rates

    monkeypatch.setattr(training, "evaluate", worse)
    monkeypatch.setattr(stages, "evaluate", worse)
    with pytest.raises(DivergedError, match="t2 failed.*fell from 95.00% to 80.00%, budget is 10%"):
        train_run(new_run(tmp_path, largest_drop=0.1), tiny_data, recorder)


def test_a_full_disk_ends_the_run_and_leaves_the_last_state(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, directory = tmp_path / "whole", tmp_path / "full"
    train_run(new_run(whole), tiny_data, Recorder())
    writes = [0]

    def full(path: Path, data: bytes) -> None:
        writes[0] += 1
        if writes[0] > 4:
            raise ResourceError("unwritable", f"{path}: cannot write {len(data):,} bytes")
        write_atomic(path, data)

    monkeypatch.setattr(checkpoint, "write_atomic", full)
    with pytest.raises(ResourceError):
        train_run(new_run(directory), tiny_data, Recorder())
    monkeypatch.undo()
    go_on(directory, tiny_data)
    assert_same(outcome(directory), outcome(whole))


def test_distillation_needs_its_teacher(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path
) -> None:
    with pytest.raises(Stopped):
        train_run(new_run(tmp_path), tiny_data, Recorder(stopping=After(7)))
    shutil.move(tmp_path / "ann.pt", tmp_path / "elsewhere.pt")
    with pytest.raises(ValueError, match="ann.pt: no such file"):
        go_on(tmp_path, tiny_data)


def test_the_loss_is_the_weighted_sum_it_says(new_run: NewRun, tmp_path: Path) -> None:
    settings = new_run(tmp_path, label_smoothing=0.2, distillation=0.3).recipe
    generator = torch.Generator().manual_seed(0)
    logits, wanted = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    labels = torch.arange(6) % 4
    target = torch.full((6, 4), 0.2 / 4, dtype=torch.float64)
    target[torch.arange(6), labels] += 0.8
    entropy = -(target * logits.log_softmax(1)).sum(1).mean()
    soft = (wanted / 2).softmax(1)
    divergence = (soft * (soft.log() - (logits / 2).log_softmax(1))).sum(1).mean()
    alone = steps_module.loss_of(logits, labels, None, settings)
    torch.testing.assert_close(alone, entropy)
    both = steps_module.loss_of(logits, labels, wanted, settings)
    torch.testing.assert_close(both, 0.7 * entropy + 0.3 * 4 * divergence)
