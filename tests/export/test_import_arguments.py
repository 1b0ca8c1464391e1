"""What `import_network` takes, in the numbers of Python, numpy and torch, or refuses beforehand."""

from pathlib import Path
from typing import Any

import commands
import networks
import nir
import numpy as np
import official
import pytest
import torch
from graphs import example
from snntorch import Leaky
from test_import_nir import a_graph
from torch import nn

from snn_export import import_network
from snn_export.importers import Foreign
from snn_export.importing import open_file
from snn_runtime.errors import ModelError, UsageError
from snn_runtime.model_file import write

THREE = (0.4, 0.5, 0.6)


def network(channels: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    neurons = Leaky(0.9, threshold=0.3, init_hidden=True)
    return nn.Sequential(nn.Conv2d(channels, 4, 3), neurons, nn.Flatten(), nn.Linear(144, 4))


def imported(source: Any = None, **changes: Any) -> Foreign:
    said: dict[str, Any] = {"labels": tuple("abcd"), "image_size": (8, 8), "mean": 0.5, "std": 0.25}
    return import_network(network() if source is None else source, **said | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"mean": np.array(THREE, np.float32), "std": np.full(3, 0.25, np.float32)},
        {"mean": torch.tensor(THREE), "std": torch.tensor(0.25)},
        {"mean": [np.float64(each) for each in THREE], "std": np.float32(0.25)},
        {"mean": THREE, "image_size": torch.zeros(1, 3, 8, 8).shape[2:]},
        {"mean": THREE, "image_size": np.array([8, 8])},
        {"mean": THREE, "labels": np.array(list("abcd"))},
    ],
)
def test_numbers_of_numpy_and_torch_are_numbers(changes: dict[str, Any]) -> None:
    picture = imported(**changes).picture
    np.testing.assert_allclose(picture.mean, 255 * np.array(THREE), rtol=1e-6)
    assert picture.deviation == (63.75,) * 3
    assert all(type(each) is float for each in (*picture.mean, *picture.deviation))
    assert [type(each) for each in (picture.height, picture.width)] == [int, int]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"mean": "0.5"}, "mean is '0.5', expected one number or three"),
    ({"mean": None}, "mean is None, expected one number or three"),
    ({"std": np.ones((1, 3))}, "std is array([[1., 1., 1.]]), expected one number or three"),
    ({"mean": ()}, "--mean: has 0 values, expected 1 or 3"),
    ({"image_size": 8}, "image_size is 8, expected two whole numbers, height, width"),
    ({"image_size": (8,)}, "image_size is (8,), expected two whole numbers"),
    ({"image_size": "8x8"}, "image_size is '8x8', expected two whole numbers"),
    ({"image_size": (8.5, 8)}, "image_size is (8.5, 8), expected two whole numbers"),
    ({"image_size": (0, 8)}, "--image-size: is 0x8, expected 1 to 4096 a side"),
    ({"image_size": (-8, 8)}, "--image-size: is -8x8, expected 1 to 4096 a side"),
    ({"image_size": (8, 200_000)}, "--image-size: is 8x200000, expected 1 to 4096 a side"),
    ({"labels": "cat"}, "labels is the text 'cat', expected a sequence"),
    ({"labels": ()}, "labels: there are none, expected one a class"),
    ({"labels": None}, "labels is None, expected a name each class"),
    ({"labels": ["a", "b", "c", 4]}, "labels: number 3 is 4, expected text"),
    ({"fit": "squash"}, "fit is 'squash', expected crop or stretch"),
    ({"framework": "onnx"}, "framework is 'onnx', expected iir-official or"),
    ({"timestep": 0}, "timestep is 0, expected a number of seconds above 0"),
    ({"timestep": -1e-4}, "timestep is -0.0001, expected a number of seconds above 0"),
    ({"timestep": float("nan")}, "timestep is nan, expected a number of seconds above 0"),
]


@pytest.mark.parametrize(("changes", "says"), WRONG)
def test_what_is_no_such_value_is_refused_before_any_work(
    changes: dict[str, Any], says: str
) -> None:
    """Before a file is opened, but for what is needed of it."""
    ranged = "image_size" in changes or changes.get("mean") == ()
    with pytest.raises(UsageError) as refusal:
        imported(network() if ranged else "missing.pt", **changes)
    assert says in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("source", [b"net.pt", 3, nn.Linear], ids=str)
def test_what_is_no_network_is_refused(source: Any) -> None:
    with pytest.raises(UsageError, match=r"source is .*, expected a module or a path"):
        imported(source)


@pytest.mark.parametrize("name", ["mean", "std"])
def test_a_grey_network_takes_one_mean(name: str) -> None:
    assert imported(network(1), **{name: (0.5, 0.5, 0.5)}).lowered.channels == 1
    with pytest.raises(UsageError, match=f"--{name}: has 3 values, and one grey channel takes one"):
        imported(network(1), **{name: THREE})


def test_an_argument_without_effect_is_refused(tmp_path: Path) -> None:
    nir.write(tmp_path / "net.nir", a_graph())
    said = {"source": tmp_path / "net.nir", "image_size": None}
    assert (
        imported(**said, timestep=np.float32(1e-3)).notes[0].startswith("one Euler step of 0.001")
    )
    with pytest.raises(
        UsageError, match="program is for weights of snntorch and spikingjelly, and"
    ):
        imported(**said, program="nowhere.py:build")
    torch.save(network().state_dict(), tmp_path / "net.pt")
    with pytest.raises(UsageError, match="timestep is for NIR graphs, and .*net.pt is of snntorch"):
        imported(tmp_path / "net.pt", program="nowhere.py:build", timestep=7.0)


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        (torch.ones(2, 400, dtype=torch.complex64), "'3.weight' holds complex numbers"),
        (torch.ones(2, 400, device="meta"), "'3.weight' has a shape and no numbers"),
        (torch.ones(2, 400).to_sparse(), "'3.weight' is no dense tensor"),
        (torch.ones(1, 1).expand(2, 400), "'3.weight' repeats a few numbers"),
    ],
    ids=["complex", "meta", "sparse", "repeated"],
)
def test_weights_that_are_no_real_numbers_are_refused(
    odd: torch.Tensor, says: str, tmp_path: Path
) -> None:
    """torch copies complex numbers into real weights without their imaginary part."""
    torch.save({"0.weight": torch.ones(4, 3, 3, 3), "3.weight": odd}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=says) as refusal:
        open_file(tmp_path / "w.pt", "snntorch", "net.py:build")
    assert refusal.value.code == "bad_checkpoint"


def test_an_onnx_file_is_told_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write(example(), path)
    with pytest.raises(ModelError, match="is an ONNX file, and no checkpoint"):
        open_file(path)


def test_a_size_that_the_file_says_otherwise_is_refused(tmp_path: Path) -> None:
    """Its weights mean rows and columns of the file's own size."""
    path = tmp_path / "net.nir"
    nir.write(path, a_graph())
    assert imported(path, image_size=(12, 12)).picture.height == 12
    with pytest.raises(UsageError, match="image_size is 6x24, but .*net.nir says 12x12; leave it"):
        imported(path, image_size=(6, 24))
    flags = ("--labels", "a,b,c,d", "--mean", "0", "--std", "1", "--image-size", "6x24")
    code, error = commands.refusal([path, tmp_path / "m.onnx", *flags])
    assert code == 2 and "--image-size is 6x24, but" in error


def test_a_checkpoint_of_ours_is_named_before_what_it_lacks(tmp_path: Path) -> None:
    described = networks.experiment()
    networks.save(described, networks.network(described), tmp_path / "t1.pt")
    for size in (None, (8, 8)):
        with pytest.raises(UsageError, match="t1.pt: is a checkpoint of train-snn, which export"):
            imported(tmp_path / "t1.pt", image_size=size)


PROGRAM = """
import snntorch
from torch import nn


class Strict(nn.Sequential):
    def load_state_dict(self, state, **options):
        raise KeyError("boom")


def parts():
    neurons = snntorch.Leaky(0.9, init_hidden=True)
    return nn.Conv2d(3, 4, 3), neurons, nn.Flatten(), nn.Linear(144, 4)


def build():
    return nn.Sequential(*parts())


def strict():
    return Strict(*parts())
"""


def test_two_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    """One of them is written with the prefix of DataParallel: nobody knows which is meant."""
    (tmp_path / "net.py").write_text(PROGRAM)
    state = network().state_dict()
    both = state | {f"module.{key}": tensor + 1 for key, tensor in state.items()}
    torch.save(both, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"w.pt: holds '0.weight' twice, with and without what a"):
        imported(tmp_path / "w.pt", program=f"{tmp_path / 'net.py'}:build")
    authors = official.vgg(official.VGG["vgg5"], 64)
    twice = authors | {f"module.{key}": tensor for key, tensor in authors.items()}
    official.save(tmp_path / "vgg.pth", twice)
    with pytest.raises(ModelError, match="vgg.pth: holds '.*' twice"):
        imported(tmp_path / "vgg.pth")


def test_whatever_a_users_module_raises_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(PROGRAM)
    torch.save(network().state_dict(), tmp_path / "w.pt")
    with pytest.raises(ModelError, match="does not fit .*:strict: 'boom'"):
        imported(tmp_path / "w.pt", program=f"{tmp_path / 'net.py'}:strict")


@pytest.mark.parametrize("lacks", ["lazy", "meta"])
def test_a_module_without_numbers_is_refused(lacks: str) -> None:
    made = network()
    if lacks == "lazy":
        made[3] = nn.LazyLinear(4)
    else:
        made = made.to("meta")
    with pytest.raises(ModelError, match="Sequential: cannot be copied"):
        imported(made)
