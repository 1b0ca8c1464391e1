"""Real processes, killed and started again: no bit is lost, and each says how it ended."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from snn_runtime.files import MARK
from snn_train import checkpoint
from snn_train.records import TIMES

if TYPE_CHECKING:
    from train.conftest import Trainer, Trainers

TINY = ("--data", "digits", "--network", "vgg5", "--width", "0.1", "--timesteps", "2,1",
        "--epochs", "2,1,2", "--largest-drop", "1")  # fmt: skip
LONG = (*TINY[:-4], "--epochs", "500", "--largest-drop", "1")


@pytest.fixture(scope="module")
def whole(trainers: "Trainers", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody disturbed."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    answer = trainers.run(*TINY, "--out", directory)
    assert answer.code == 0, answer.out
    return directory


def weights(directory: Path, stage: str = "t1") -> dict[str, torch.Tensor]:
    network: dict[str, torch.Tensor] = checkpoint.load(directory / f"{stage}.pt")["network"]
    return network


def assert_same_bits(directory: Path, whole: Path) -> None:
    for stage in ("ann", "t2", "t1"):
        expected = weights(whole, stage)
        assert list(weights(directory, stage)) == list(expected)
        for name, tensor in weights(directory, stage).items():
            assert torch.equal(tensor, expected[name])


def once_started(directory: Path, trainer: "Trainer") -> "Trainer":
    """Wait for the first state, before which there is nothing to lose."""
    deadline = time.monotonic() + 300
    while not (directory / "latest.pt").exists():
        assert time.monotonic() < deadline, trainer.output.read_text()
        time.sleep(0.002)
    return trainer


def without_times(line: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in line.items() if k not in TIMES}


def metrics(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("number", "code", "times"),
    [
        (signal.SIGKILL, -9, 4),
        (signal.SIGINT, 130, 1),
        (signal.SIGTERM, 143, 3),
        (signal.SIGHUP, 129, 1),
    ],
)
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(
    trainers: "Trainers", whole: Path, tmp_path: Path, number: int, code: int, times: int
) -> None:
    moments, directory, met = random.Random(number), tmp_path / "run", 0
    command: tuple[object, ...] = (*TINY, "--out", directory)
    for turn in range(times):
        trainer = once_started(directory, trainers.start(*command))
        time.sleep(moments.uniform(0, 0.6) if turn else 0)
        trainer.signal(number)
        ended, said = trainer.wait(), trainer.output.read_text()
        command = ("--resume", directory)
        # Nothing to stop any more; or it was stopped before it could catch a signal.
        assert ended in (code, 0, -number), said
        met += ended == code
        if ended == code != -9:
            words = f"to go on: train-snn --resume {directory}", "interrupted", "stopped by signal"
            assert any(each in said for each in words), said
        if ended == 0:
            break
    answer = trainers.run("--resume", directory)
    assert answer.code == 0, answer.out
    assert_same_bits(directory, whole)
    assert met > 0
    assert not list(directory.glob("*.tmp")) and not list(directory.glob(f"{MARK}*"))
    assert list(map(without_times, metrics(directory))) == list(map(without_times, metrics(whole)))


def test_metrics_have_a_line_an_epoch_and_the_plot_is_a_picture(whole: Path) -> None:
    lines = metrics(whole)
    assert [(line["stage"], line["epoch"]) for line in lines] == [
        ("ann", 1), ("ann", 2), ("t2", 1), ("t1", 1), ("t1", 2)
    ]  # fmt: skip
    assert lines == checkpoint.load(whole / "latest.pt")["records"]
    assert (whole / "training.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_a_second_signal_ends_at_once_and_leaves_a_state(
    trainers: "Trainers", tmp_path: Path
) -> None:
    moments, taken = random.Random(2), []
    for attempt in range(3):
        directory = tmp_path / str(attempt)
        trainer = once_started(directory, trainers.start(*LONG, "--out", directory))
        time.sleep(moments.uniform(0.1, 0.5))
        begun = time.monotonic()
        trainer.signal(signal.SIGINT)
        time.sleep(0.01)
        trainer.signal(signal.SIGINT)
        assert trainer.wait() == 130
        said = trainer.output.read_text()
        assert said.count("  stopping after this step") == 1 and said.endswith(
            f"to go on: train-snn --resume {directory}\n"
        )
        taken.append(time.monotonic() - begun)
        states = [directory / name for name in ("latest.pt", "previous.pt")]
        assert any(state.exists() and checkpoint.load(state)["position"] for state in states)
    assert min(taken) < 1  # each is, but for a machine that is busy with something else


def test_one_folder_has_one_trainer(trainers: "Trainers", tmp_path: Path) -> None:
    directory = tmp_path / "run"
    first = once_started(directory, trainers.start(*LONG, "--out", directory))
    second = trainers.run("--resume", directory)
    assert second.code == 75
    line = f"train-snn: error: {directory} is locked by pid {first.pid} [locked]\n"
    assert second.out == line
    first.signal(signal.SIGTERM)
    assert first.wait() == 143
    third = trainers.start("--resume", directory)  # the lock went with its holder
    time.sleep(0.1)
    third.signal(signal.SIGKILL)
    assert third.wait() == -9


def test_a_full_disk_ends_with_7_and_the_run_goes_on_from_the_last_state(
    trainers: "Trainers", whole: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "run"
    # The first state fits; with the optimiser's memory in them the ones to come do not.
    limit = (whole / "latest.pt").stat().st_size * 3 // 4
    answer = trainers.run(*TINY, "--out", directory, file_size=limit)
    assert answer.code == 7, answer.out
    assert "cannot write" in answer.out and "[unwritable]" in answer.out
    assert "Traceback" not in answer.out
    states = [directory / name for name in ("latest.pt", "previous.pt")]
    assert any(state.exists() and checkpoint.load(state)["position"] for state in states)
    again = trainers.run("--resume", directory)
    assert again.code == 0, again.out
    assert_same_bits(directory, whole)


def test_the_console_script_starts(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("train-snn")
    answer = subprocess.run([script, "--version"], capture_output=True, text=True, cwd=tmp_path)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("train-snn ")
