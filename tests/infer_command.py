"""The command `snn-infer` for tests, and a model of three neurons: red, green and blue."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_inputs.pictures import encoded
from PIL import Image as Picture

from snn_runtime import model_file
from snn_runtime.graph import INPUT, Image, Population, Projection, Readout, SpikingGraph
from snn_runtime.infer import cli as infer

SIDE = 8


def png(colour: str, side: int = SIDE) -> bytes:
    return encoded(Picture.new("RGB", (side, side), colour), "PNG")


RED = png("red")


def colours() -> SpikingGraph:
    weight = np.zeros((3, 3, SIDE * SIDE), np.int8)
    weight[[0, 1, 2], [0, 1, 2]] = 1
    return SpikingGraph(
        image=Image(SIDE, SIDE, (128, 128, 128)),
        nodes=(
            Population(
                "colours",
                (Projection(INPUT, weight.reshape(3, -1)),),
                np.full(3, 0.5, np.float32),
            ),
        ),
        readout=Readout(
            "colours",
            np.eye(3, dtype=np.int8),
            np.full(3, 4, np.float32),
            np.zeros(3, np.float32),
        ),
        labels=("red", "green", "blue"),
    )


@dataclass(frozen=True)
class Outcome:
    code: int
    out: bytes
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """The JSON lines, after checking what must hold for all of them."""
        records = [json.loads(line) for line in self.out.splitlines()]
        summary = records.pop()["summary"]
        assert summary["ok"] == sum(record["ok"] for record in records)
        assert summary["ok"] + summary["failed"] == len(records)
        return records

    @property
    def codes(self) -> dict[str, str]:
        """Code by name of each input that failed."""
        return {
            os.path.basename(record["path"]): record["error"]["code"]
            for record in self.records
            if not record["ok"]
        }


Command = Callable[..., Outcome]


def start(model: Path, *arguments: str | Path, **settings: Any) -> subprocess.Popen[bytes]:
    """The command in a process of its own, without anything but a path in its environment."""
    root = Path(infer.__file__).parents[2]
    environment = {"PYTHONPATH": str(root), **settings.pop("env", {})}
    usual = "import sys; from snn_runtime.infer.cli import main; sys.exit(main())"
    program = settings.pop("program", usual)
    return subprocess.Popen(
        [sys.executable, "-c", program, "--model", model, *arguments],
        env=environment,
        stderr=settings.pop("stderr", subprocess.PIPE),
        preexec_fn=_heeds_signals,
        **settings,
    )


def _heeds_signals() -> None:
    """A shell starts background jobs with SIGINT ignored, nohup with SIGHUP, and that stays so."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def finish(process: subprocess.Popen[bytes], data: bytes | None = None) -> Outcome:
    out, err = process.communicate(data, timeout=20)
    assert b"Traceback" not in err
    return Outcome(process.returncode, out or b"", err.decode())


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "colours.onnx"
    model_file.write(colours(), path)
    return path


@pytest.fixture
def snn_infer(
    model: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> Command:
    """The command, in this process."""

    def call(*arguments: str | Path) -> Outcome:
        words = list(map(str, arguments))
        own = [] if "--model" in words else ["--model", str(model)]
        monkeypatch.setattr(sys, "argv", ["snn-infer", *own, *words])
        code = infer.main()
        out, err = capsysbinary.readouterr()
        assert b"Traceback" not in err
        return Outcome(code, out, err.decode())

    return call
