"""One flipped bit in a file of any format: refused, or what was there before."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import networks
import official
import pytest
import snntorch
import torch
from torch import nn

from snn_export.cli import parse_args, read_network
from snn_export.importers import detect
from snn_export.quantise import to_int8
from snn_runtime.errors import SnnError

FLIPS = 60
FOREIGN = ["--labels", "a,b,c", "--mean", "0", "--std", "1"]
MODULE = """
import snntorch
from torch import nn


def build():
    neurons = [snntorch.Leaky(0.9, init_hidden=True) for _ in range(2)]
    return nn.Sequential(nn.Conv2d(1, 2, 3), neurons[0], nn.Flatten(), nn.Linear(72, 3), neurons[1])
"""


def of_train_snn(path: Path) -> list[str]:
    described = networks.experiment("vgg5", width=0.04)
    networks.save(described, networks.network(described), path)
    return []


def of_the_authors(path: Path) -> list[str]:
    torch.manual_seed(0)
    state = official.vgg(official.VGG["vgg4"], 49, inputs=1, dense=2, width=32)
    torch.save({"state_dict": state, "timesteps": 1}, path)
    return [*FOREIGN, "--image-size", "28x28"]


def of_snntorch(path: Path) -> list[str]:
    torch.manual_seed(0)
    builder = path.with_name("net.py")
    builder.write_text(MODULE)
    neurons = [snntorch.Leaky(0.9, init_hidden=True) for _ in range(2)]
    made = nn.Sequential(nn.Conv2d(1, 2, 3), neurons[0], nn.Flatten(), nn.Linear(72, 3), neurons[1])
    torch.save(made.state_dict(), path)
    return [*FOREIGN, "--image-size", "8x8", "--module", f"{builder}:build"]


@pytest.mark.parametrize("make", [of_train_snn, of_the_authors, of_snntorch])
def test_a_flipped_bit_is_refused_or_changes_nothing(
    tmp_path: Path, make: Callable[[Path], list[str]]
) -> None:
    path = tmp_path / "weights.pt"
    flags = make(path)

    def digest() -> str:
        args = parse_args([str(path), str(tmp_path / "m.onnx"), *flags])
        return to_int8(read_network(args).fold()).digest()

    whole, expected = path.read_bytes(), digest()
    rng = random.Random(3)
    refusals = 0
    for place in range(rng.randrange(9), len(whole), len(whole) // FLIPS):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            found = digest()
        except SnnError as error:
            refusals += 1
            assert error.exit_code == 5 and str(path) in str(error), error
        else:  # a date, or the padding between the members
            assert found == expected, place
    assert refusals > FLIPS / 5


def test_a_path_that_has_become_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SnnError, match="not a regular file"):
        detect(tmp_path / "pipe", None)
