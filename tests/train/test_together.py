"""Several processes, as torchrun starts them: what they compute is what one alone computes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from same import assert_same
from train import budget_together, steps_together

from snn_runtime.errors import ModelError, ResourceError
from snn_runtime.files import MARK
from snn_train import checkpoint
from snn_train.parallel import join

if TYPE_CHECKING:
    from train.conftest import Trainer, Trainers

TORCHRUN = (sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone",
            "--nproc-per-node", "2", "--no-python")  # fmt: skip
TRAIN = "from snn_train.cli import main; raise SystemExit(main())"
TINY = ("--data", "digits", "--network", "vgg5", "--width", "0.1", "--timesteps", "1",
        "--largest-drop", "1", "--format", "json")  # fmt: skip


def team(
    trainers: "Trainers",
    processes: int,
    module: str,
    *argv: object,
    environment: dict[str, str] | None = None,
) -> list["Trainer"]:
    """A module in so many processes, with the environment that torchrun would give them."""
    (port,) = free_ports(1)
    place = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    return [
        trainers.fork(
            module,
            *argv,
            environment=place | {"RANK": rank, "LOCAL_RANK": rank} | (environment or {}),
        )
        for rank in map(str, range(processes))
    ]


def free_ports(count: int) -> list[str]:
    with ExitStack() as held:
        servers = [held.enter_context(socket.create_server(("localhost", 0))) for _ in range(count)]
        return [str(server.getsockname()[1]) for server in servers]


def forked(
    trainers: "Trainers", processes: int, module: str, *argv: object
) -> tuple[list[int], list[dict[str, Any]], str]:
    """A module in so many processes: how they ended, what the first printed as JSON, and what they
    said besides."""
    ranks = team(trainers, processes, module, *argv)
    codes = [process.wait() for process in ranks]
    said = "".join(process.output.read_text() for process in ranks).splitlines()
    records = [line for line in said if line.startswith("{")]
    return codes, list(map(json.loads, records)), "\n".join(x for x in said if x not in records)


@pytest.fixture(scope="module")
def found(
    trainers: "Trainers", tmp_path_factory: pytest.TempPathFactory
) -> dict[int, dict[str, Any]]:
    """What one process and what two compute in every case of `steps_together`."""
    directory = tmp_path_factory.mktemp("together")
    answers = {}
    for processes in (1, 2):
        file = directory / f"{processes}.pt"
        codes, _, said = forked(trainers, processes, "train.steps_together", file)
        assert not any(codes), said
        answers[processes] = torch.load(file, weights_only=True)
    return answers


@pytest.mark.parametrize("case", steps_together.CASES)
def test_two_processes_take_the_steps_of_one(found: dict[int, Any], case: str) -> None:
    one, two = found[1][case], found[2][case]
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-6)
    for name, weights in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], weights, rtol=1e-4, atol=1e-6)
    # Weights that differ in the last bits may move a spike over its threshold.
    assert two["accuracy"] == pytest.approx(one["accuracy"], abs=0.01)
    assert two["rates"] == pytest.approx(one["rates"], abs=0.001)


def test_a_run_of_two_processes_has_the_loss_curve_of_one(
    trainers: "Trainers", tmp_path: Path
) -> None:
    flags = (*TINY, "--epochs", "3,2", "--seed", "1")
    losses = []
    for processes in (1, 2):
        out = tmp_path / str(processes)
        codes, lines, said = forked(trainers, processes, "snn_train.cli", *flags, "--out", out)
        assert not any(codes), said
        epochs = [line for line in lines if line["event"] == "epoch"]
        assert [line["stage"] for line in epochs] == ["ann"] * 3 + ["t1"] * 2  # one speaks
        losses.append([line["loss"] for line in epochs])
        assert ["parameters" in line.get("text", "") for line in lines].count(True) == 1
        assert lines[-1]["event"] == "end" and (out / "t1.pt").is_file()
        assert not list(out.glob(f"{MARK}*"))
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_torchrun_stops_them_together_they_save_and_one_goes_on_alone(
    trainers: "Trainers", tmp_path: Path
) -> None:
    """With torchrun itself, which passes a signal on."""
    directory = tmp_path / "run"
    command = (*TORCHRUN, sys.executable, "-c", TRAIN, *TINY, "--epochs", "400,1", "--out")
    process = subprocess.Popen(
        [*command, directory],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 200
    while not (directory / "previous.pt").is_file():  # an epoch is behind them
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "stopped, everything is saved" in json.loads(out.splitlines()[-1])["text"]
    goes_on_alone(trainers, directory)


def test_interrupted_together_they_save_and_one_goes_on_alone(
    trainers: "Trainers", tmp_path: Path
) -> None:
    directory = tmp_path / "run"
    flags = (*TINY, "--epochs", "400,1", "--out", directory)
    ranks = team(trainers, 2, "snn_train.cli", *flags)
    deadline = time.monotonic() + 200
    while not (directory / "previous.pt").is_file():
        assert time.monotonic() < deadline, ranks[0].output.read_text()
        time.sleep(0.05)
    for process in ranks:
        process.signal(signal.SIGINT)
    assert [process.wait() for process in ranks] == [130, 130]
    said = ranks[0].output.read_text().splitlines()
    assert any("stopped, everything is saved" in line for line in said)
    goes_on_alone(trainers, directory)


def goes_on_alone(trainers: "Trainers", directory: Path) -> None:
    """One process takes up what several have saved, and loses nothing of it."""
    saved = checkpoint.load(directory / "latest.pt")
    assert saved["position"]["step"] > 0 or saved["position"]["epoch"] > 0
    deadline = time.monotonic() + 200
    again = trainers.start("--resume", directory)
    before = len(saved["records"])
    while not checkpoint_epochs(directory) > before:
        assert time.monotonic() < deadline, again.output.read_text()
        time.sleep(0.05)
    again.signal(signal.SIGTERM)
    assert again.wait() == 143
    records = checkpoint.load(directory / "latest.pt")["records"]
    assert_same(dict(enumerate(records[:before])), dict(enumerate(saved["records"])))


def checkpoint_epochs(directory: Path) -> int:
    """How many epochs are saved; none at a moment in which the state is being replaced."""
    try:
        return len(checkpoint.load(directory / "latest.pt")["records"])
    except ModelError:
        return 0


def test_two_processes_of_different_speeds_keep_to_one_plan(
    trainers: "Trainers", tmp_path: Path
) -> None:
    codes, _, said = forked(trainers, 2, "train.budget_together", tmp_path)
    assert not any(codes), said
    first, second = (json.loads((tmp_path / rank).read_text()) for rank in "01")
    assert first["epochs"] == second["epochs"] and first["trained"] == second["trained"]
    seconds = budget_together.SECONDS
    # By the first one's clock; an epoch is nearly a tenth of the budget at the end.
    assert 0.9 * seconds <= first["used"] <= seconds
    assert abs(first["used"] - second["used"]) > 5  # which no plan of its own would make good
    assert any("epochs from here" in note for note in first["notes"])
    assert second["notes"] == []


def test_a_team_is_left_while_an_exception_holds_the_network(trainers: "Trainers") -> None:
    """A thread of gloo that lets go of a tensor, and who waits for it, may both want the GIL."""
    codes, _, said = forked(trainers, 2, "train.leave_together", *free_ports(12))
    assert not any(codes), said


def test_a_batch_that_cannot_be_shared_evenly_is_refused(
    trainers: "Trainers", tmp_path: Path
) -> None:
    flags = (*TINY, "--batch-size", "63", "--out", tmp_path / "run")
    codes, _, said = forked(trainers, 2, "snn_train.cli", *flags)
    assert all(codes)
    assert "--batch-size 63: 2 processes cannot share it evenly [bad_flag]" in said


def test_processes_that_do_not_meet_are_no_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise RuntimeError("connectFullMesh failed")

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.distributed, "init_process_group", refused)
    with pytest.raises(ResourceError, match="do not reach each other: connect") as error:
        join("cpu")
    assert error.value.code == "peer_lost"


def test_a_process_that_is_killed_costs_no_epoch(trainers: "Trainers", tmp_path: Path) -> None:
    """torchrun --max-restarts starts all again with the same command: the run goes on, to the bits
    of one that nobody disturbed. On the machine of a process that had to be ended, and was not
    killed, its count of restarts may stay 0: it plays no part."""
    flags = (*TINY, "--epochs", "5,1", "--threads", "1", "--out")
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    torchrun = {"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "0"}
    first, second = team(trainers, 2, "snn_train.cli", *flags, killed, environment=torchrun)
    deadline = time.monotonic() + 200
    while checkpoint_epochs(killed) < 1:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    second.signal(signal.SIGKILL)
    assert second.wait() == -signal.SIGKILL
    assert first.wait() == 7 and "[peer_lost]" in first.output.read_text()
    assert 0 < checkpoint_epochs(killed) < 6  # in the middle
    for directory, environment in ((killed, torchrun), (whole, {})):
        ranks = team(trainers, 2, "snn_train.cli", *flags, directory, environment=environment)
        assert [process.wait() for process in ranks] == [0, 0]
    found, expected = (
        [json.loads(line) for line in (each / "metrics.jsonl").read_text().splitlines()]
        for each in (killed, whole)
    )
    kept = ("stage", "epoch", "loss", "training", "validation")
    assert [[each[name] for name in kept] for each in found] == [
        [each[name] for name in kept] for each in expected
    ]
    assert_same(*(checkpoint.load(each / "t1.pt")["network"] for each in (killed, whole)))
