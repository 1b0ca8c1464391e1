"""`export` from Python proves what the command proves."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import commands
import networks
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from snntorch import Leaky
from torch import Tensor, nn

import snn_export
from snn_export import export, import_network
from snn_export.importers import Foreign
from snn_runtime.errors import ModelError, ResourceError, UsageError, VerifyError

ROOT = Path(__file__).parents[2]
PAGES = ("docs/reference/importers/index.md", "docs/reference/python.md")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    neurons = Leaky(0.9, threshold=0.3, init_hidden=True)
    return nn.Sequential(nn.Conv2d(3, 4, 3), neurons, nn.Flatten(), nn.Linear(400, 2))


def imported(source: nn.Module | Path, **said: Any) -> Foreign:
    size = said.pop("image_size", (12, 12))
    return import_network(
        source, labels=("cat", "dog"), image_size=size, mean=0.5, std=(0.25,), **said
    )


def standardised(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> Tensor:
    """A convolution with weight standardisation, of which its weight says nothing."""
    assert isinstance(module, nn.Conv2d)
    deviation, mean = torch.std_mean(module.weight, (1, 2, 3), keepdim=True)
    return F.conv2d(inputs[0], (module.weight - mean) / deviation, module.bias)


def test_a_network_is_written_and_answers_as_it_did(tmp_path: Path) -> None:
    made = network()
    exported = export(imported(made), tmp_path / "m.onnx", weights="float32", threads=1)
    assert exported.proof.spikes > 0
    assert exported.parity is not None and exported.parity.same_label == 1
    assert exported.facts["parity"] == vars(exported.parity) and exported.accuracy is None
    assert repr(exported).startswith(f"<Exported {tmp_path / 'm.onnx'}: ")
    model = commands.load(tmp_path / "m.onnx")
    assert model.graph.digest() == exported.graph.digest()
    pixels = networks.pictures((12, 12), 32)
    with torch.no_grad():
        normalised = (torch.from_numpy(pixels).movedim(3, 1) / 255 - 0.5) / 0.25
        wanted = made(normalised)
    np.testing.assert_array_equal(model.logits(pixels).argmax(1), wanted.argmax(1).numpy())


@pytest.mark.parametrize("weights", ["int8", "float32"])
def test_what_is_more_than_its_layers_say_is_refused_and_not_written(
    tmp_path: Path, weights: Any
) -> None:
    made = network()
    made[0].register_forward_hook(standardised)
    with pytest.raises(VerifyError, match="neurons differ between snntorch and the exported graph"):
        export(imported(made), tmp_path / "m.onnx", weights=weights)
    assert list(tmp_path.iterdir()) == []


class Centred(nn.Conv2d):
    """A convolution with a forward of its own."""

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(input, weight, self.bias)


@pytest.mark.parametrize("kind", [nn.Conv2d, Centred])
@pytest.mark.parametrize("normal", [torch.nn.utils.parametrizations.weight_norm, lambda conv: conv])
def test_a_forward_of_ones_own_is_followed_whatever_makes_its_weights(
    kind: type[nn.Conv2d], normal: Callable[[nn.Module], nn.Module], tmp_path: Path
) -> None:
    """A parametrisation of torch lays a class of its own over the module's."""
    made = network()
    made[0] = normal(kind(3, 4, 3))
    parity = export(imported(made.eval()), tmp_path / "m.onnx").parity
    assert parity is not None and parity.same_label == 1


def test_our_own_networks_give_the_commands_facts_and_file(tmp_path: Path) -> None:
    described = networks.experiment("vgg5", size=(12, 12))
    networks.save(described, networks.network(described), tmp_path / "t1.pt")
    facts = export(tmp_path / "t1.pt", tmp_path / "python.onnx", bits=6).facts
    flags = ("--int-bits", "6", "--format", "json")
    done = commands.export(tmp_path, tmp_path / "t1.pt", "command.onnx", *flags)
    assert done.returncode == 0, done.stderr
    assert json.loads(json.dumps(facts)) == json.loads(done.stdout)
    assert (tmp_path / "python.onnx").read_bytes() == (tmp_path / "command.onnx").read_bytes()


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="nowhere"):
        export(imported(network()), tmp_path / "nowhere" / "m.onnx")
    described = networks.experiment("vgg5", size=(12, 12))
    networks.save(described, networks.network(described), tmp_path / "t3.pt", timesteps=3)
    with pytest.raises(ModelError, match="export needs T=1"):
        export(tmp_path / "t3.pt", tmp_path / "m.onnx")
    foreign = imported(network())
    with pytest.raises(UsageError, match="bits is 5, expected 8, 6 or 4"):
        export(foreign, tmp_path / "m.onnx", bits=5)
    with pytest.raises(UsageError, match="bits is 6, but float32 weights are no integers"):
        export(foreign, tmp_path / "m.onnx", bits=6, weights="float32")
    with pytest.raises(
        UsageError, match="weights is 'int4', but the integers have 8 bits; expected"
    ):
        export(foreign, tmp_path / "m.onnx", weights="int4")
    with pytest.raises(UsageError, match="weights is 'int2', expected int8, int4 or float32"):
        export(foreign, tmp_path / "m.onnx", weights="int2")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"network": nn.Linear(2, 2)}, "network is a Linear, expected the path of a checkpoint"),
        ({"data": Path("photos")}, "expected text such as 'imagefolder:photos'"),
        ({"labels": "ab"}, "labels is the text 'ab', expected a sequence"),
        ({"labels": 5}, "labels is 5, expected a name each class"),
        ({"labels": ["a", 2]}, "labels: number 1 is 2, expected text"),
        ({"labels": ["a", "b", "c"]}, "labels names 3 classes, the network has 2"),
        ({"path": None}, "path is None, expected that of the file to write"),
        ({"path": b"m.onnx"}, "path is b'm.onnx', expected that of the file"),
        ({"bits": 8.0}, r"bits is 8\.0, expected 8, 6 or 4"),
    ],
)
def test_arguments_of_another_kind_are_refused(
    tmp_path: Path, arguments: dict[str, Any], says: str
) -> None:
    given: dict[str, Any] = {"network": imported(network()), "path": tmp_path / "m.onnx"}
    given |= arguments
    with pytest.raises(UsageError, match=says):
        export(**given)
    assert not (tmp_path / "m.onnx").exists()


def test_classes_get_other_names(tmp_path: Path) -> None:
    export(imported(network()), tmp_path / "m.onnx", labels=["Katze", "Hund"], weights="float32")
    assert commands.load(tmp_path / "m.onnx").labels == ("Katze", "Hund")


def test_a_file_of_weights_is_the_module_that_they_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = network()
    torch.save(made.state_dict(), "weights.pt")
    (tmp_path / "net.py").write_text(
        "from snntorch import Leaky\nfrom torch import nn\ndef build():\n"
        "    neurons = Leaky(0.9, threshold=0.3, init_hidden=True)\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), neurons, nn.Flatten(), nn.Linear(400, 2))\n"
    )
    from_file = imported(Path("weights.pt"), program="net.py:build", framework="snntorch")
    for own in ("weights.pt", "net.py"):
        before = Path(own).read_bytes()
        with pytest.raises(ResourceError, match=f"{own}: is read, and is not replaced"):
            export(from_file, own)
        assert Path(own).read_bytes() == before
    expected = export(imported(made), "module.onnx").graph
    assert export(from_file, "file.onnx").graph.digest() == expected.digest()
    with pytest.raises(UsageError, match="weights.pt: holds weights of .* and no program"):
        imported(Path("weights.pt"), framework="snntorch")


def test_what_an_import_lacks_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Sequential does not say its image size: give image_size"):
        imported(network(), image_size=None)
    with pytest.raises(UsageError, match="program is for files, and a module is given"):
        imported(network(), program="net.py:build")
    with pytest.raises(ModelError, match="missing.pt: no such file"):
        imported(tmp_path / "missing.pt")
    described = networks.experiment("vgg5", size=(12, 12))
    networks.save(described, networks.network(described), tmp_path / "t1.pt")
    with pytest.raises(UsageError, match="a checkpoint of train-snn, which export takes itself"):
        imported(tmp_path / "t1.pt")


def test_habits() -> None:
    assert set(dir(snn_export)) >= {"export", "import_network", "Exported"}
    program = "import sys, snn_export; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
    with pytest.raises(AttributeError, match="no attribute 'exporter'"):
        _ = snn_export.exporter


@pytest.mark.parametrize("page", PAGES)
def test_the_example_of_a_page_runs_and_proves(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / page).read_text()
    (example,) = re.findall(r"```python\n(import snn_export.*?)```", text, flags=re.DOTALL)
    torch.manual_seed(0)
    neurons = Leaky(0.9, threshold=0.3, init_hidden=True)
    small = nn.Sequential(nn.Conv2d(3, 2, 5, 4), neurons, nn.Flatten(), nn.Linear(2 * 7 * 7, 2))
    exec(example, {"network": small})
    assert commands.load(tmp_path / "model.onnx").labels == ("cat", "dog")
    (tmp_path / "model.onnx").unlink()
    small[0].register_forward_hook(lambda module, inputs, output: 1.5 * output + 0.3)
    with pytest.raises(VerifyError):
        exec(example, {"network": small})
    assert not (tmp_path / "model.onnx").exists()
