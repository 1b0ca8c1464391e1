"""What is wrong with a file is said first, by name, before what is wrong with the flags."""

import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import commands
import networks
import numpy as np
import official
import pytest
import torch
from architectures import neuron
from snntorch import Leaky
from test_import_nir import a_graph
from torch import nn

from snn_export.importers import nir_file
from snn_runtime.errors import ModelError

LABELS = ("--labels", "a,b,c")
FLAGS = (*LABELS, "--image-size", "8x8", "--mean", "0", "--std", "1")
PROGRAM = """
import snntorch
from torch import nn


def build():
    neurons = snntorch.Leaky(0.9, init_hidden=True)
    return nn.Sequential(nn.Conv2d(1, 2, 3), neurons, nn.Flatten(), nn.Linear(72, 3))


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.module = build()

    def forward(self, x):
        return self.module(x)


def dense():
    neurons = [snntorch.Leaky(0.9, init_hidden=True) for _ in range(2)]
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 1000), neurons[0], nn.Linear(1000, 10), neurons[1]
    )


class First(nn.Module):
    def __init__(self):
        super().__init__()
        self.before, self.fc = build()[:3], nn.Linear(72, 3)

    def forward(self, x):
        return self.fc(self.before(x))[0]
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(PROGRAM)
    return tmp_path / "net.py"


def network() -> nn.Sequential:
    torch.manual_seed(0)
    neurons = Leaky(0.9, init_hidden=True)
    return nn.Sequential(nn.Conv2d(1, 2, 3), neurons, nn.Flatten(), nn.Linear(72, 3))


def missing(path: Path) -> None:
    """Nothing is there."""


def truncated(path: Path) -> None:
    torch.save(network().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-200])


def legacy(path: Path) -> None:
    torch.save(network().state_dict(), path, _use_new_zipfile_serialization=False)


def legacy_tar(path: Path) -> None:
    with tarfile.open(path, "w") as tar:
        tar.add(__file__, "storages")


def bare_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"w": [1.0]}))


def whole_module(path: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(2, 2), neuron.IFNode()), path)


def with_a_numpy_scalar(path: Path) -> None:
    torch.save({"state_dict": network().state_dict(), "acc": np.float64(0.5)}, path)


def weights(path: Path) -> None:
    torch.save(network().state_dict(), path)


def at_three_steps(path: Path) -> None:
    official.save(path, official.vgg(official.VGG["vgg5"], 64), timesteps=3)


def ours_at_three_steps(path: Path) -> None:
    described = networks.experiment()
    networks.save(described, networks.network(described), path, timesteps=3)


def damaged_nir(path: Path) -> None:
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))


CASES: list[tuple[Callable[[Path], None], int, str]] = [
    (missing, 5, "no such file"),
    (truncated, 5, "was cut short or overwritten; copy it again"),
    (legacy, 5, "format of torch before 1.6; load it where you trust it and save its weights"),
    (legacy_tar, 5, "format of torch before 1.6; load it where you trust it and save its weights"),
    (bare_pickle, 5, "is no torch zip but a bare pickle, which is never run"),
    (whole_module, 5, "whole torch.nn.modules.container.Sequential, which is never loaded"),
    (with_a_numpy_scalar, 5, "its entry 'acc' is of numpy"),
    (with_a_numpy_scalar, 5, "make it a number with .item()"),
    (weights, 2, "holds weights of snntorch or spikingjelly and no program; add --module FILE"),
    (at_three_steps, 5, "is at T=3, export needs T=1"),
    (ours_at_three_steps, 5, "is at T=3, export needs T=1"),
    (damaged_nir, 5, "is no NIR graph to read"),
]


@pytest.mark.parametrize("given", [(), LABELS, ("--mean", "0")])
@pytest.mark.parametrize(("make", "code", "says"), CASES)
def test_the_file_comes_first(
    tmp_path: Path, make: Callable[[Path], None], code: int, says: str, given: tuple[str, ...]
) -> None:
    path = tmp_path / "net.pth"
    make(path)
    found, error = commands.refusal([path, tmp_path / "m.onnx", *given])
    assert found == code and says in error, error
    assert error.count("\n") == 1 and error.strip().isprintable()


def exported(path: Path, program: Path, builder: str, *flags: str) -> tuple[int, str]:
    module = ("--module", f"{program}:{builder}")
    return commands.refusal([path, path.with_name("m.onnx"), *FLAGS, *module, *flags])


@pytest.mark.parametrize("builder", ["build", "Wrapped"])
@pytest.mark.parametrize("prefix", ["", "module.", "module.module.", "module._orig_mod."])
def test_names_under_wrappers_are_those_of_the_module(
    tmp_path: Path, program: Path, prefix: str, builder: str
) -> None:
    """Of DataParallel, twice, and torch.compile; a network may have a part called module, too."""
    state = {f"{prefix}{key}": value for key, value in network().state_dict().items()}
    torch.save(state, tmp_path / "net.pth")
    assert exported(tmp_path / "net.pth", program, builder) == (0, "")
    torch.save(network().state_dict(), tmp_path / "bare.pth")
    first = commands.load(tmp_path / "m.onnx").graph.digest()
    assert exported(tmp_path / "bare.pth", program, "build") == (0, "")
    second = commands.load(tmp_path / "m.onnx").graph
    if builder == "build":
        assert second.digest() == first


def test_the_authors_names_under_two_wrappers_are_read(tmp_path: Path) -> None:
    state = official.vgg(official.VGG["vgg5"], 64)
    official.save(tmp_path / "net.pth", {f"module.{key}": value for key, value in state.items()})
    flags = (*LABELS, "--image-size", "32x32", "--mean", "0", "--std", "1")
    assert commands.refusal([tmp_path / "net.pth", tmp_path / "m.onnx", *flags]) == (0, "")


def test_a_part_of_what_a_layer_gives_is_refused_by_the_operations_name(
    tmp_path: Path, program: Path
) -> None:
    names = {"0": "before.0", "1": "before.1", "3": "fc"}
    state = {
        f"{names[key.split('.')[0]]}.{key.split('.')[1]}": value
        for key, value in network().state_dict().items()
    }
    torch.save(state, tmp_path / "net.pth")
    code, error = exported(tmp_path / "net.pth", program, "First")
    assert code == 5 and "getitem: takes the part 0 of what fc gives" in error, error


def test_what_needs_more_than_24_bits_has_coarser_weights_and_says_so(
    tmp_path: Path, program: Path
) -> None:
    """snnTorch's own tutorial: 784-1000-10 on pictures of 28×28."""
    torch.manual_seed(0)
    neurons = [Leaky(0.9, init_hidden=True) for _ in range(2)]
    layers = (nn.Linear(784, 1000), neurons[0], nn.Linear(1000, 10), neurons[1])
    torch.save(nn.Sequential(nn.Flatten(), *layers).state_dict(), tmp_path / "net.pth")
    flags = ["--labels", "0,1,2,3,4,5,6,7,8,9", "--image-size", "28x28", "--mean", "0.1307",
             "--std", "0.3081", "--module", f"{program}:dense"]  # fmt: skip
    done = commands.export(tmp_path, tmp_path / "net.pth", "m.onnx", *flags)
    assert done.returncode == 0, done.stderr
    assert "channels have coarser weights than 8 bits allow" in done.stdout
    narrower = commands.export(tmp_path, tmp_path / "net.pth", "6.onnx", *flags, "--int-bits", "6")
    assert narrower.returncode == 0 and "coarser" not in narrower.stdout


@pytest.mark.parametrize(("compression", "told"), [("gzip", 0), (None, 1), ("lzf", 1)])
def test_nir_arrays_without_a_checksum_are_said(
    tmp_path: Path, compression: str | None, told: int
) -> None:
    h5py: Any = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "net.nir", "w") as file:
        file.create_dataset("node/weight", data=np.ones((3, 4)), compression=compression)
        file.create_dataset("node/stride", data=np.ones(2))
    notes = nir_file.unguarded(tmp_path / "net.nir")
    assert len(notes) == told
    if told:
        assert "1 arrays of the file carry no checksum, first node/weight" in notes[0]


def test_what_nir_writes_by_default_is_guarded(tmp_path: Path) -> None:
    """The names of edges are never compressed, and are no numbers."""
    nir: Any = pytest.importorskip("nir")
    nir.write(tmp_path / "net.nir", a_graph())
    assert nir_file.unguarded(tmp_path / "net.nir") == ()
    nir.write(tmp_path / "bare.nir", a_graph(), compression=None)
    (note,) = nir_file.unguarded(tmp_path / "bare.nir")
    assert "carry no checksum, first node/nodes/" in note


def test_a_nir_array_that_lost_a_part_is_refused(tmp_path: Path) -> None:
    """HDF5 would read zeros."""
    h5py: Any = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "net.nir", "w") as file:
        array = file.create_dataset("weight", (8,), "f4", chunks=(4,), compression="gzip")
        array[:4] = 1
    with pytest.raises(ModelError, match="'weight' is damaged: parts of it are missing"):
        nir_file.read(tmp_path / "net.nir")
