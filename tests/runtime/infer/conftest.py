"""The command `snn-infer` in this process, and its small model."""

import sys
from pathlib import Path

import pytest
from infer_command import Command, Outcome, colours

from snn_runtime import model_file
from snn_runtime.infer import cli as infer


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
        argv = ["snn-infer", "--model", str(model), *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", argv)
        code = infer.main()
        out, err = capsysbinary.readouterr()
        assert b"Traceback" not in err
        return Outcome(code, out, err.decode())

    return call
