"""Tiny data, tiny runs, and a process that trains in others it can afford to lose."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refused
from train import tiny

from snn_train import cli, saving, state
from snn_train.choices import RecipeName
from snn_train.data import DataSet
from snn_train.data.augmentation import Augmentation
from snn_train.experiment import Experiment, digest
from snn_train.recipe import Recipe
from snn_train.stage import Stage

torch.set_num_threads(1)

STAGES = (Stage(0, 2), Stage(2, 1), Stage(1, 2))


@pytest.fixture(autouse=True)
def hasty_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a power cut needs fsync, and hundreds of them can take minutes; no test waits for space
    on a disk that it has filled itself."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(saving, "PAUSE", 0.0)


@pytest.fixture
def tiny_data() -> DataSet:
    return tiny.data()


@pytest.fixture
def new_run(tiny_data: DataSet) -> Callable[..., state.Run]:
    """A run on `tiny_data`: 3 steps an epoch, 5 epochs, gradients, dropout and all."""

    def make(
        directory: Path,
        recipe: RecipeName = "iir-bn",
        network: str = "vgg5",
        dropout: float = 0.1,
        **settings: Any,
    ) -> state.Run:
        # A network this small gives anything; only what a test is about may stop it.
        chosen: dict[str, Any] = {
            "name": recipe,
            "network": network,
            "width": 0.1,
            "hidden": 8 if recipe == "iir" else 0,
            "dropout": dropout,
            "batch_size": 12,
            "augmentation": Augmentation(flip=True, shift=1),
            "largest_drop": 1.0,
            "learning_rate": 5e-3,
            "distillation": 0.5,
            "percentile": 80.0 if recipe == "iir" else 60.0,
        }
        experiment = Experiment(
            Recipe(**{"stages": STAGES} | chosen | settings),
            "tiny",
            digest(tiny_data),
            tiny_data.labels,
            (8, 8),
            tiny_data.fit,
            tiny_data.normalisation(),
            "train-snn",
        )
        directory.mkdir(exist_ok=True)
        return state.start(experiment, directory, torch.device("cpu"))

    return make


@pytest.fixture
def only_traced(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Any]]:
    """Lets what is compiled from then on be traced as for torch.compile, but run by torch, since
    the C++ compiler would take a minute; returns the list of what comes to be compiled."""

    def begin() -> list[Any]:
        real, calls = torch.compile, list[Any]()

        def traced(what: Any) -> Any:
            calls.append(what)
            return partial(real, backend="aot_eager")(what)

        monkeypatch.setattr(torch, "compile", traced)
        return calls

    return begin


@dataclass
class Answer:
    code: int
    out: str
    err: str


@pytest.fixture
def train_snn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """The command in this process, as its console script calls it."""

    def call(*argv: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["train-snn", *map(str, argv)])
        capsys.readouterr()
        code = cli.main()
        return Answer(code, *capsys.readouterr())

    return call


@pytest.fixture
def refused_unbegun(
    train_snn: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., None]:
    """Flags that end with exit code 2 and one line, before anything is written."""

    def call(*flags: str, expected: list[str]) -> None:
        monkeypatch.chdir(tmp_path)
        refused(train_snn(*flags), 2, *expected)
        assert list(tmp_path.iterdir()) == []

    return call


# Importing takes seconds and a run of digits one: import once, then fork for every run. The three
# named are what a run imports late, torch._dynamo as soon as there is an optimiser.
NURSERY = """
import json, os, resource, signal, sys, time
from importlib import import_module
import matplotlib.pyplot, sklearn.datasets, torch._dynamo
from snn_train import cli, saving
os.fsync = lambda _: None
saving.PAUSE = 0
print(flush=True)
for line in sys.stdin:
    what, *rest = json.loads(line)
    if what == "start":
        module, argv, output, file_size, environment = rest
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), 1)
            os.dup2(1, 2)
            if file_size:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
            os.environ.update(environment)
            for number in (signal.SIGINT, signal.SIGHUP):  # which shells and nohup have ignored
                signal.signal(number, signal.SIG_DFL)
            sys.argv = ["train-snn", *argv]
            sys.exit(import_module(module).main())
        print(child, flush=True)
    else:
        (child,) = rest
        for _ in range(30000):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                break
            time.sleep(0.01)
        else:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
"""


class Trainers:
    """Starts `train-snn`, or another module, in processes of its own."""

    def __init__(self, directory: Path) -> None:
        self.output = directory
        self.started = 0
        self.nursery = subprocess.Popen(
            [sys.executable, "-c", NURSERY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        self._answer()

    def start(self, *argv: object, file_size: int = 0) -> "Trainer":
        return self.fork("snn_train.cli", *argv, "--threads", "1", file_size=file_size)

    def fork(
        self,
        module: str,
        *argv: object,
        file_size: int = 0,
        environment: dict[str, str] | None = None,
    ) -> "Trainer":
        """Start a module's `main` with these arguments."""
        self.started += 1
        output = self.output / f"{self.started}.txt"
        self._ask("start", module, [*map(str, argv)], str(output), file_size, environment or {})
        return Trainer(self, int(self._answer()), output)

    def run(self, *argv: object, file_size: int = 0) -> Answer:
        trainer = self.start(*argv, file_size=file_size)
        return Answer(trainer.wait(), trainer.output.read_text(), "")

    def wait(self, pid: int) -> int:
        self._ask("wait", pid)
        return int(self._answer())

    def close(self) -> None:
        with self.nursery:
            assert self.nursery.stdin is not None
            self.nursery.stdin.close()

    def _ask(self, *question: object) -> None:
        assert self.nursery.stdin is not None
        self.nursery.stdin.write(json.dumps(question) + "\n")
        self.nursery.stdin.flush()

    def _answer(self) -> str:
        assert self.nursery.stdout is not None
        return self.nursery.stdout.readline()


@dataclass
class Trainer:
    """One `train-snn` at work."""

    trainers: Trainers
    pid: int
    output: Path

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)  # not reaped before `wait`, so the number is still its own

    def wait(self) -> int:
        return self.trainers.wait(self.pid)


@pytest.fixture(scope="session")
def trainers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainers]:
    made = Trainers(tmp_path_factory.mktemp("output"))
    yield made
    made.close()
