"""`--module`: files and packages of the user's, run by the installed command."""

import json
import subprocess
import sys
from pathlib import Path

import commands
import networks
import pytest
import torch
from snntorch import Leaky
from torch import nn

from snn_export.importers import detect

COMMAND = Path(sys.executable).with_name("export-snn")
FLAGS = ("--image-size", "8x8", "--labels", "a,b,c,d", "--mean", "0", "--std", "1")
PROGRAM = """
from __future__ import annotations

from dataclasses import dataclass

import snntorch
from torch import nn

print("imported")


@dataclass
class Config:
    width: int = 4


class Net(nn.Sequential):
    def forward(self, x):
        print("forward")
        return super().forward(x)


def build():
    print("built")
    width = Config().width
    neurons = snntorch.Leaky(0.9, threshold=0.3, init_hidden=True)
    return Net(nn.Conv2d(3, width, 3), neurons, nn.Flatten(), nn.Linear(36 * width, 4))
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(PROGRAM)
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "net.py").write_text("from .layers import build\n")
    (package / "layers.py").write_text(PROGRAM)
    torch.save(weights(), tmp_path / "weights.pt")
    return tmp_path


def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    neurons = Leaky(0.9, threshold=0.3, init_hidden=True)
    return nn.Sequential(nn.Conv2d(3, 4, 3), neurons, nn.Flatten(), nn.Linear(144, 4)).state_dict()


@pytest.mark.parametrize("module", ["net.py:build", "package.net:build"])
def test_the_installed_command_imports_a_file_or_a_package(place: Path, module: str) -> None:
    """A dataclass under postponed annotations looks for its module; what the program prints is no
    part of the answer."""
    done = subprocess.run(
        [COMMAND, "weights.pt", "m.onnx", *FLAGS, "--module", module, "--format", "json"],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["imported"] == "snntorch"
    assert {"imported", "built", "forward"} <= set(done.stderr.split())


def test_a_file_that_raises_leaves_no_module_behind(place: Path) -> None:
    (place / "bad.py").write_text("raise OSError('no such thing')\n")
    flags = (*FLAGS, "--module", f"{place / 'bad.py'}:build")
    code, error = commands.refusal([place / "weights.pt", place / "m.onnx", *flags])
    assert code == 2 and "cannot be imported (OSError: no such thing)" in error
    assert not any(name.endswith("bad") for name in sys.modules)


def test_the_name_of_a_file_takes_no_other_modules_place(place: Path) -> None:
    (place / "net.py").rename(place / "json.py")
    flags = (*FLAGS, "--module", f"{place / 'json.py'}:build")
    code, error = commands.refusal([place / "weights.pt", place / "m.onnx", *flags])
    sys.path.remove(str(place))
    assert code == 0, error
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    "beside", [{"name": "iir-snn"}, {"format": "iir-snn run"}, {"iir-snn": 1}, {"format": 3}]
)
def test_a_word_in_a_file_does_not_make_it_ours(place: Path, beside: dict[str, object]) -> None:
    torch.save({"args": beside, "epoch": "iir-snn", "state_dict": weights()}, place / "word.pt")
    assert detect(place / "word.pt", "net.py:build") is not None
    described = networks.experiment()
    networks.save(described, networks.network(described), place / "t1.pt")
    assert detect(place / "t1.pt", "net.py:build") is None
