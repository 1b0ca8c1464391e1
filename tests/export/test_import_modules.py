"""snnTorch and SpikingJelly: their own modules against the graph, neuron by neuron."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import architectures
import commands
import networks
import numpy as np
import pytest
import snntorch
import torch
import torch.nn.functional as F
from architectures import SNNTORCH, SPIKINGJELLY, Family, functional, layer, neuron
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from snn_export.fold import Neurons
from snn_export.importers import Picture, from_module
from snn_export.parity import compare
from snn_export.quantise import to_int8
from snn_export.unrounded import to_float32
from snn_runtime.engines.onnxruntime.backend import OrtBackend
from snn_runtime.errors import ModelError, VerifyError
from snn_runtime.graph import reference

FAMILIES = pytest.mark.parametrize("family", [SNNTORCH, SPIKINGJELLY], ids=lambda f: f.name)
surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")
GREY_FLAGS = ("--labels", "a,b,c,d", "--image-size", "12x12", "--mean", "0.1307", "--std", "0.3")


def pictures(picture: Picture, count: int = 4) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return networks.pictures((picture.height, picture.width), count)


@FAMILIES
@settings(max_examples=40)
@given(data=st.data())
def test_spikes_are_theirs_away_from_rounding(family: Family, data: st.DataObject) -> None:
    """`compare` raises for any other difference, and for logits beyond rounding."""
    network, picture = data.draw(architectures.networks(family))
    foreign = from_module(network, picture)
    images = pictures(picture)
    for lower in (to_float32, to_int8):
        try:
            graph = lower(foreign.fold())
        except ModelError as error:
            assert "several levels need a mean of whole grey levels" in error.message
            continue
        parity = compare(foreign, graph, OrtBackend(graph, threads=1), images)
        assert parity.rounded <= 2 + 1e-3 * parity.spikes
    assert foreign.framework == family.name


@FAMILIES
@pytest.mark.parametrize("lower", [to_float32, to_int8])
def test_a_current_on_the_threshold_is_judged_as_theirs(family: Family, lower: Any) -> None:
    """`>` in snnTorch, `>=` in SpikingJelly; whole numbers everywhere, so nothing may differ."""
    network = architectures.on_the_threshold(family)
    foreign = from_module(network, architectures.grey_levels(family))
    values = np.array([0, 49, 50, 51, 99, 100, 101, 255], np.uint8)
    images = np.random.default_rng(0).choice(values, (64, 4, 4, 3))
    theirs, _ = foreign.run(torch.from_numpy(images))
    activity = reference.run(lower(foreign.fold()), images, keep_currents=True)
    for name, spikes in activity.spikes.items():
        assert (spikes == theirs[name]).all()
    at_threshold = images[..., 0] == 100
    assert at_threshold.any()
    assert (activity.spikes["1"][:, 0][at_threshold] == (family is SPIKINGJELLY)).all()
    quiet = from_module(network, architectures.grey_levels(family)).fold()
    assert [getattr(n, "closed", None) for n in quiet.nodes] == [family is SPIKINGJELLY] * 2


class Tutorial(nn.Module):
    """A forward pass as snnTorch's tutorials write it, with explicit membranes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.lif1 = snntorch.Leaky(beta=0.9, threshold=0.2)
        self.conv2 = nn.Conv2d(6, 8, 3)
        self.lif2 = snntorch.Leaky(beta=0.9, threshold=0.02)
        self.fc1 = nn.Linear(8, 4)
        self.lif3 = snntorch.Leaky(beta=0.9)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mem1, mem2, mem3 = self.lif1.init_leaky(), self.lif2.reset_mem(), self.lif3.init_leaky()
        recorded = []
        for _ in range(1):
            spk1, mem1 = self.lif1(F.max_pool2d(self.conv1(x), 2), mem1)
            spk2, mem2 = self.lif2(F.avg_pool2d(self.conv2(spk1), 2), mem2)
            spk3, mem3 = self.lif3(self.fc1(spk2.view(x.size(0), -1)), mem3)
            recorded.append(spk3)
        return torch.stack(recorded, dim=0), mem3


class Residual(nn.Module):
    """SpikingJelly over the axis of time that forward itself adds, with a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = layer.Conv2d(3, 4, 3, padding=1)
        self.sn1 = neuron.LIFNode(v_threshold=0.2)
        self.block = nn.Sequential(
            layer.SeqToANNContainer(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)),
            neuron.IFNode(v_threshold=0.2),
            layer.Conv2d(4, 4, 3, padding=1),
        )
        self.down = layer.Conv2d(4, 8, 1, stride=2)
        self.conv3 = layer.Conv2d(4, 8, 3, stride=2, padding=1)
        self.sn2 = neuron.IFNode(v_threshold=0.2, surrogate_function=surrogate.ATan())
        self.sn3 = neuron.ParametricLIFNode(v_threshold=0.3, v_reset=None)
        self.pool = layer.AdaptiveAvgPool2d(1)
        self.fc = layer.Linear(8, 4)
        functional.set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(0).repeat(1, 1, 1, 1, 1)
        x = self.sn1(self.conv1(x))
        x = self.sn2(self.block(x) + x)
        x = self.sn3(self.conv3(x) + self.down(x))
        scores: Tensor = self.fc(torch.flatten(self.pool(x), 2))
        return scores.mean(0)


@pytest.mark.parametrize(("make", "mean"), [(Tutorial, (0.13,)), (Residual, (0.5, 0.4, 0.3))])
def test_forward_passes_as_people_write_them(make: Any, mean: tuple[float, ...]) -> None:
    torch.manual_seed(3)
    size = (16, 16) if make is Residual else (12, 12)
    network = make().eval()
    foreign = from_module(network, Picture.of(("a", "b", "c", "d"), size, mean, (0.25,)))
    images = pictures(foreign.picture)
    for lower in (to_float32, to_int8):
        graph = lower(foreign.fold())
        compare(foreign, graph, OrtBackend(graph, threads=1), images)
    spikes, _ = foreign.run(torch.from_numpy(images))
    assert all(0 < spikes[w.layer].mean() < 1 for w in foreign.lowered.watched)


@pytest.mark.parametrize("lower", [to_float32, to_int8])
@pytest.mark.parametrize("most", [2, 3, 15])
def test_counts_of_spikes_are_rounded_as_theirs(lower: Any, most: int) -> None:
    """Whole numbers everywhere, and currents on every level: ½ and 2½ are silent, 1½ is not."""
    ilif = neuron.ILIFNode(
        v_threshold=20.0, surrogate_function=surrogate.MultiLevelSpikeCount(most)
    )
    first, last = layer.Conv2d(3, 2, 1, bias=False), layer.Linear(32, 2, bias=False)
    network = nn.Sequential(first, ilif, layer.Flatten(), last)
    with torch.no_grad():
        first.weight[:] = torch.tensor([[1.0, 0, 0], [127, 0, 0]]).view(2, 3, 1, 1)
        last.weight.copy_(torch.randint(-127, 128, (2, 32)))
    foreign = from_module(network, Picture.of(("a", "b"), (4, 4), (0.0,), (1 / 255,)))
    graph = lower(foreign.fold())
    assert [node.levels for node in graph.populations] == [most]
    images = np.random.default_rng(0).integers(0, 26, (48, 4, 4, 1), np.uint8) * 10
    images = images.repeat(3, axis=3)
    theirs, _ = foreign.run(torch.from_numpy(images))
    spikes = reference.run(graph, images).spikes["1"]
    assert (spikes == theirs["1"]).all()
    expected = np.rint(images[..., 0] / 20).clip(0, most)
    assert (spikes[:, 0] == expected).all() and expected.max() == min(most, 12)
    parity = compare(foreign, graph, OrtBackend(graph, threads=1), images[:8])
    assert parity.rounded == 0


def test_grey_pictures_cause_the_current_that_they_did() -> None:
    """One channel becomes three weights that add up to it."""
    torch.manual_seed(0)
    dense = nn.Linear(144, 8, bias=False)
    network = nn.Sequential(nn.Flatten(), dense, leaky(), nn.Linear(8, 4))
    foreign = from_module(network, Picture.of(tuple("abcd"), (12, 12), (0.5,), (0.5,)))
    neurons = foreign.fold().nodes[0]
    assert isinstance(neurons, Neurons)
    weight = neurons.synapses[0].weight.reshape(8, 3, 144).sum(1)
    np.testing.assert_allclose(weight, dense.weight.detach() / 127.5, rtol=1e-6)


@pytest.mark.parametrize("wrong", ["a spike", "a logit"])
def test_one_neuron_beyond_rounding_is_found_and_named(wrong: str) -> None:
    family = SPIKINGJELLY
    honest = from_module(architectures.on_the_threshold(family), architectures.grey_levels(family))

    def original(images: Tensor) -> tuple[Any, Tensor]:
        spikes, logits = honest.original(images)
        if wrong == "a spike":
            fired = spikes["3"]
            fired.flat[images[:, 0].numel() // 4] = not fired.flat[images[:, 0].numel() // 4]
        else:
            logits[1, 2] += 0.01
        return spikes, logits

    lying = replace(honest, original=original)
    graph = to_int8(lying.fold())
    says = "3: 1 neurons differ between spikingjelly" if wrong == "a spike" else "logits: 1 differ"
    with pytest.raises(VerifyError, match=says):
        compare(lying, graph, OrtBackend(graph, threads=1), pictures(lying.picture))


def stack(*parts: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), *parts, nn.Flatten(), nn.LazyLinear(4))


def leaky(**options: Any) -> Any:
    return snntorch.Leaky(0.5, init_hidden=True, **options)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 12 * 12, 4)
        self.lif = snntorch.Leaky(0.5)

    def forward(self, x: Tensor) -> Tensor:
        mem, spikes = None, []
        for _ in range(2):
            spk, mem = self.lif(self.fc(x.flatten(1)), mem)
            spikes.append(spk)
        return torch.stack(spikes)


class Branching(Twice):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1)) if x.sum() > 0 else x


class OwnLeaky(snntorch.Leaky):  # type: ignore[misc]  # snntorch is untyped
    """A neuron of the user's, derived from one that is known."""


REFUSED: dict[str, tuple[Any, str]] = {
    "recurrent": (
        lambda: stack(snntorch.RLeaky(0.5, init_hidden=True, all_to_all=False, V=0.5)),
        "1: RLeaky is none of",
    ),
    "synaptic": (lambda: stack(snntorch.Synaptic(0.5, 0.5, init_hidden=True)), "1: Synaptic is"),
    "derived": (lambda: stack(OwnLeaky(0.5, init_hidden=True)), "1: OwnLeaky is none of"),
    "graded": (lambda: stack(leaky(graded_spikes_factor=0.5)), "1: Leaky has graded_spikes_factor"),
    "no step": (lambda: stack(leaky(spike_grad=torch.sigmoid)), "1: its spike function gives"),
    "threshold": (lambda: stack(leaky(threshold=-0.5)), "1: threshold -0.5 is not positive"),
    "two timesteps": (Twice, "lif: is called again: more than one timestep"),
    "branch": (Branching, "Branching.forward cannot be traced"),
    "sj neuron": (lambda: stack(neuron.QIFNode()), "1: QIFNode is none of SpikingJelly's"),
    "relu": (lambda: stack(nn.ReLU(), leaky()), "1: ReLU is not among what can be exported"),
    "overlap": (
        lambda: stack(leaky(), nn.AvgPool2d(2), nn.MaxPool2d(3, 2)),
        "3: is the maximum of counts up to 4",
    ),
    "reflected": (
        lambda: stack(leaky(), nn.Conv2d(4, 4, 3, 1, 1, padding_mode="reflect"), leaky()),
        "2: padding of reflect",
    ),
    "no neurons between": (lambda: stack(nn.Conv2d(4, 4, 3), leaky()), "1: weights follow weights"),
    "norm of spikes": (lambda: stack(leaky(), nn.BatchNorm2d(4)), "2: normalises spikes"),
    "no neurons": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(432, 4)), "has no neurons of"),
    "nan": (lambda: stack(leaky(threshold=float("nan"))), "1.threshold holds a number that is not"),
    "per pixel": (lambda: stack(leaky(threshold=torch.rand(10) + 0.1)), "1: threshold differs"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(REFUSED))
def test_what_one_timestep_cannot_express_is_refused_by_name(case: str) -> None:
    make, says = REFUSED[case]
    with pytest.raises(ModelError) as refusal:
        network = make().eval()
        for module in network.modules():
            if isinstance(module, nn.LazyLinear):
                size = {"overlap": 4 * 4, "no neurons between": 4 * 64}
                module.weight.materialize((4, size.get(case, 400)))
                module.bias.materialize((4,))
                nn.init.normal_(module.weight), nn.init.zeros_(module.bias)
        from_module(network, Picture.of(tuple("abcd"), (12, 12), (0.5,), (0.5,)))
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_inhibition_is_refused() -> None:
    with pytest.warns(UserWarning, match="Inhibition"):
        neurons = leaky(inhibition=True)
    network = nn.Sequential(nn.Flatten(), nn.Linear(432, 4), neurons, nn.Linear(4, 4))
    with pytest.raises(ModelError, match="2: Leaky with inhibition lets one neuron"):
        from_module(network, Picture.of(tuple("abcd"), (12, 12), (0.5,), (0.5,)))


def test_max_pooling_before_a_negative_gain_is_refused() -> None:
    norm = nn.BatchNorm2d(4)
    norm.weight.data[2] = -1
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), norm, leaky(), nn.Flatten(), nn.Linear(100, 4)
    )
    with pytest.raises(ModelError, match="2: channel 2 is max-pooled before a normalisation"):
        from_module(network, Picture.of(tuple("abcd"), (12, 12), (0.5,), (0.5,)))


BUILDER = """
import snntorch
from spikingjelly.activation_based import layer, neuron
from torch import nn


def build():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), snntorch.Leaky(0.9, threshold=0.2, init_hidden=True),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(144, 4), snntorch.Leaky(0.9, init_hidden=True),
    )


def jelly():
    return nn.Sequential(
        layer.Conv2d(1, 4, 3, padding=1), neuron.LIFNode(v_threshold=0.2),
        layer.MaxPool2d(2), layer.Flatten(), layer.Linear(144, 4),
    )


number = 5


def five():
    return number


def broken():
    raise OSError("no such thing")
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(BUILDER)
    scope: dict[str, Any] = {}
    exec(BUILDER, scope)
    torch.manual_seed(1)
    torch.save(scope["build"]().state_dict(), tmp_path / "snntorch.pt")
    torch.save({"net": scope["jelly"]().state_dict(), "epoch": 3}, tmp_path / "spikingjelly.pt")
    return tmp_path


@pytest.mark.parametrize(("name", "function"), [("snntorch", "build"), ("spikingjelly", "jelly")])
def test_the_command_exports_weights_and_the_module_they_fit(
    place: Path, name: str, function: str
) -> None:
    flags = (*GREY_FLAGS, "--module", f"net.py:{function}", "--format", "json")
    done = commands.export(place, f"{name}.pt", "model.onnx", *flags)
    assert done.returncode == 0, done.stderr
    assert f'"imported": "{name}"' in done.stdout and '"parity": {"images": 8' in done.stdout
    model = commands.load(place / "model.onnx")
    assert model.labels == ("a", "b", "c", "d")
    model.self_test()


COMMANDS: list[tuple[str, tuple[str, ...], int, str]] = [
    (
        "snntorch.pt",
        (),
        2,
        "holds weights of snntorch or spikingjelly and no program; add --module FILE",
    ),
    ("spikingjelly.pt", (), 5, "need --module FILE.py:FUNCTION to say"),
    ("snntorch.pt", ("--module", "{}/net.py:jelly"), 5, "does not fit"),
    ("snntorch.pt", ("--module", "{}/net.py:build", "--from", "spikingjelly"), 5, "of snntorch"),
    ("snntorch.pt", ("--module", "{}/net.py:absent"), 2, "has no function absent"),
    ("snntorch.pt", ("--module", "{}/nowhere.py:build"), 2, "cannot be imported"),
    ("snntorch.pt", ("--module", "{}/net.py"), 2, "expected FILE.py:FUNCTION"),
    ("snntorch.pt", ("--module", "{}/net.py:five"), 5, "returned a int, expected a torch module"),
    ("snntorch.pt", ("--module", "{}/net.py:broken"), 5, "raised OSError: no such thing"),
    ("snntorch.pt", ("--module", "{}/net.py:build", "--dt", "1"), 2, "--dt is for NIR graphs"),
]


@pytest.mark.parametrize(("file", "flags", "code", "says"), COMMANDS)
def test_the_command_refuses_in_one_line(
    place: Path, file: str, flags: tuple[str, ...], code: int, says: str
) -> None:
    given = [flag.format(place) for flag in flags]
    ended, error = commands.refusal([place / file, place / "m.onnx", *GREY_FLAGS, *given])
    assert (ended, error.count("\n")) == (code, 1)
    assert says in error
    assert not (place / "m.onnx").exists()


def test_a_pickled_module_is_never_loaded(place: Path) -> None:
    """Whatever it holds: here, what would leave a file behind."""

    class Evil(nn.Linear):
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (place / "canary",))

    torch.save({"graded_spikes_factor": Evil(1, 1)}, place / "whole.pt")
    flags = (*GREY_FLAGS, "--module", f"{place}/net.py:build")
    code, error = commands.refusal([place / "whole.pt", place / "m.onnx", *flags])
    assert code == 5 and "'graded_spikes_factor' is of getattr, which is never loaded" in error
    assert not (place / "canary").exists()


def test_flags_for_foreign_files_are_refused_for_our_own(tmp_path: Path) -> None:
    described = networks.experiment()
    networks.save(described, networks.network(described), tmp_path / "t1.pt")
    code, error = commands.refusal([tmp_path / "t1.pt", tmp_path / "m.onnx", "--mean", "0"])
    assert code == 2 and "--mean is for other people's files" in error


@pytest.mark.parametrize(
    ("mean", "std", "says"),
    [
        ((0.5, 0.5), (1.0,), "--mean: has 2 values, expected 1 or 3"),
        ((0.5,), (0.0,), "--std: (0.0,) holds a zero"),
        ((-1.0,), (1.0,), "is not between 0 and 255"),
        ((float("nan"),), (1.0,), "is not between 0 and 255"),
    ],
)
def test_bad_normalisations_are_refused(
    mean: tuple[float, ...], std: tuple[float, ...], says: str
) -> None:
    with pytest.raises(ValueError) as refusal:
        Picture.of(("a",), (8, 8), mean, std)
    assert says in str(refusal.value)


def test_units_are_told_by_their_size() -> None:
    small = Picture.of(("a",), (8, 8), (0.5,), (0.25,))
    large = Picture.of(("a",), (8, 8), (127.5,), (63.75,))
    assert small == large and small.deviation == (63.75,) * 3
    assert Picture.of(("a",), (8, 8), (0.0,), (1.0,)).deviation == (255.0,) * 3
