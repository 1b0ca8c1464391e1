"""One step: in parts it is that of the whole batch; memory that runs out costs only time."""

import copy
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from same import assert_same
from torch import Tensor
from train.tiny import Recorder

from snn_runtime.errors import ResourceError
from snn_train import average, checkpoint
from snn_train.batches import Batch
from snn_train.choices import RecipeName
from snn_train.data import DataSet
from snn_train.network import SpikingNetwork
from snn_train.stage import Stage
from snn_train.state import Run, resume
from snn_train.step import is_out_of_memory, loss_of, parts, step
from snn_train.training import Stopped, train_run

NewRun = Callable[..., Run]
CPU = torch.device("cpu")
WITHOUT_NORMS: dict[str, Any] = {"recipe": "iir", "stages": (Stage(0, 1), Stage(1, 3))}
"""In the second stage: only normalisations see a part of a batch at a time."""


@pytest.mark.parametrize("count", [2, 3, 5, 12, 40, 257])
@pytest.mark.parametrize("size", [2, 3, 7, 12, 1000])
def test_parts_cover_the_batch_once_and_are_alike(count: int, size: int) -> None:
    cut = parts(count, size)
    assert [i for part in cut for i in range(count)[part]] == list(range(count))
    lengths = [part.stop - part.start for part in cut]
    assert max(lengths) - min(lengths) <= 1 and min(lengths) >= 2
    assert max(lengths) <= size or count // len(cut) < 4  # 3 in parts of 2 stay together


def steps_of(run: Run, images: Tensor, labels: Tensor) -> list[float]:
    batch = Batch(images, labels)
    return [float(step(run, run.network, None, batch, done, 4)[0]) for done in range(4)]


@pytest.mark.parametrize("size", [2, 5, 11])
def test_steps_in_parts_are_those_of_the_whole_batch(
    new_run: NewRun, tmp_path: Path, size: int
) -> None:
    """In float64, where the order of additions moves no spike over its threshold."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(12, 3, 8, 8, generator=generator, dtype=torch.float64)
    labels = torch.arange(12) % 2
    losses, networks = [], []
    for number, part in enumerate((None, size)):
        stages = (Stage(2, 1), Stage(1, 1))
        run = new_run(tmp_path / str(number), "iir", stages=stages, dropout=0.0)
        run.network.double()
        run.position.stage, run.network.timesteps, run.micro_batch = 1, 1, part
        losses.append(steps_of(run, images, labels))
        networks.append(run.network.state_dict())
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)  # logits are compared in float32
    for name, whole in networks[0].items():
        torch.testing.assert_close(networks[1][name], whole, rtol=1e-4, atol=1e-6)


def test_weights_count_pictures_in_every_part_alike(new_run: NewRun, tmp_path: Path) -> None:
    recipe = new_run(tmp_path, distillation=0.5).recipe
    logits, wanted = torch.randn(2, 12, 2, generator=torch.Generator().manual_seed(3))
    labels, weights = torch.arange(12) % 2, torch.arange(12) / 6
    each = [float(loss_of(logits[i : i + 1], labels[i : i + 1], wanted[i : i + 1], recipe))
            for i in range(12)]  # fmt: skip
    whole = loss_of(logits, labels, wanted, recipe, weights)
    assert float(whole) == pytest.approx(float((torch.tensor(each) * weights).mean()))
    alone = loss_of(logits, labels, None, recipe, torch.ones(12))
    assert float(alone) == pytest.approx(float(loss_of(logits, labels, None, recipe)))


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """A device with room for so many pictures of a spiking network; the allocator is a fake."""

    def shrink(room: int) -> list[int]:
        forward, seen = SpikingNetwork.forward, []

        def limited(self: SpikingNetwork, images: Tensor) -> Tensor:
            if self.training and self.timesteps:
                seen.append(len(images))
                if len(images) > room:
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return forward(self, images)

        monkeypatch.setattr(SpikingNetwork, "forward", limited)
        return seen

    return shrink


def test_out_of_memory_halves_the_parts_and_keeps_the_batch(
    new_run: NewRun,
    tiny_data: DataSet,
    tmp_path: Path,
    small_memory: Callable[[int], list[int]],
) -> None:
    whole, halved = Recorder(), Recorder()
    train_run(new_run(tmp_path / "whole", **WITHOUT_NORMS, dropout=0.0), tiny_data, whole)
    seen = small_memory(4)
    run = new_run(tmp_path / "halved", **WITHOUT_NORMS, dropout=0.0)
    train_run(run, tiny_data, halved)
    assert [note for note in halved.notes if "kept as it was" not in note] == [
        "ran out of memory with 6 pictures at once; the batch goes on in parts of 3",
    ]
    assert seen[:6] == [12, 6, 3, 3, 3, 3] and set(seen[2:]) == {3}
    assert halved.losses == pytest.approx(whole.losses, rel=0.02)
    assert checkpoint.load(tmp_path / "halved" / "latest.pt")["micro_batch"] == 3
    assert resume(tmp_path / "halved", CPU).micro_batch == 3


def test_a_network_too_large_for_two_pictures_is_refused(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, small_memory: Callable[[int], list[int]]
) -> None:
    small_memory(1)
    with pytest.raises(ResourceError, match="out of memory with 2 pictures at once") as caught:
        train_run(new_run(tmp_path), tiny_data, Recorder())
    assert caught.value.exit_code == 7 and caught.value.code == "out_of_memory"


def test_other_errors_are_not_taken_for_memory(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: SpikingNetwork, images: Tensor) -> Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(SpikingNetwork, "forward", broken)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        train_run(new_run(tmp_path), tiny_data, Recorder())


def test_the_processors_own_allocator_is_understood() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


# Average


def test_the_average_follows_the_weights(new_run: NewRun, tmp_path: Path) -> None:
    run = new_run(tmp_path, ema=0.9)
    assert run.judged is run.average is not None
    expected = {name: value.clone() for name, value in run.network.state_dict().items()}
    for done in range(12):
        for parameter in run.network.parameters():
            parameter.data.add_(1 + done)
        average.follow(run.average, run.network, 0.9, done)
        decay = min(0.9, (1 + done) / (10 + done))
        for name, value in run.network.state_dict().items():
            if value.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * value
    for name, value in run.average.state_dict().items():
        torch.testing.assert_close(value, expected[name])


@pytest.mark.parametrize("recipe", ["iir-bn", "iir"])
def test_with_an_average_a_stopped_run_ends_with_the_same_bits(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, recipe: RecipeName
) -> None:
    train_run(new_run(tmp_path / "whole", recipe, ema=0.8), tiny_data, Recorder())
    new_run(tmp_path / "pieces", recipe, ema=0.8).save()
    for _ in range(15):
        with pytest.raises(Stopped):
            train_run(resume(tmp_path / "pieces", CPU), tiny_data, Recorder(stopping=lambda: True))
    train_run(resume(tmp_path / "pieces", CPU), tiny_data, Recorder())
    kept = [checkpoint.load(tmp_path / name / "t1.pt")["network"] for name in ("whole", "pieces")]
    assert_same(kept[0], kept[1])


def test_what_is_kept_is_the_average(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(tmp_path, "iir", ema=0.8, stages=(Stage(0, 1), Stage(1, 1)))
    averages: list[dict[str, Tensor]] = []
    follow = average.follow

    def spy(mine: SpikingNetwork, *rest: Any) -> None:
        follow(mine, *rest)
        averages.append(copy.deepcopy(mine.state_dict()))

    monkeypatch.setattr(average, "follow", spy)
    train_run(run, tiny_data, Recorder())
    assert_same(dict(checkpoint.load(tmp_path / "t1.pt")["network"]), dict(averages[-1]))


# Compilation


@pytest.mark.filterwarnings(  # of torch about itself
    "ignore:.*autograd.function.Function.*should not be instantiated:DeprecationWarning"
)
def test_compiled_steps_learn_the_same(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, only_traced: Callable[[], list[Any]]
) -> None:
    plain, compiled = Recorder(), Recorder()
    train_run(new_run(tmp_path / "plain", dropout=0.0), tiny_data, plain)
    calls = only_traced()
    run = new_run(tmp_path / "compiled", dropout=0.0, spike_rate=None)
    run.compiled = True
    train_run(run, tiny_data, compiled)
    assert len(calls) == 5  # three stages, and the teacher of two
    assert compiled.losses == pytest.approx(plain.losses, rel=0.02)


# What it is made of


def test_a_step_is_one_screen_in_the_order_it_names() -> None:
    source = inspect.getsource(step)
    assert len(source.splitlines()) <= 50
    order = ["learning_rate(", "forward(student", "loss_of(", "budget.penalty(", ".backward()",
             "optimiser.step()", "network.clamp()", "average.follow("]  # fmt: skip
    places = [source.index(call) for call in order]
    assert places == sorted(places)


def test_a_step_runs_through_five_files(new_run: NewRun, tmp_path: Path) -> None:
    run = new_run(tmp_path, stages=(Stage(1, 1),), dropout=0.0)
    batch = Batch(torch.randn(12, 3, 8, 8), torch.arange(12) % 2)
    files = set[str]()

    def note(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and "snn_train" in path.parts:
            files.add(path.stem)

    sys.setprofile(note)
    try:
        step(run, run.network, None, batch, 0, 4)
    finally:
        sys.setprofile(None)
    assert files == {"step", "schedule", "state", "network", "neuron"}
