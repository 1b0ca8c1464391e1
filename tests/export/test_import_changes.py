"""What a program does to values beside its layers: changes in place, masks, other weights."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import snntorch
import torch
from architectures import layer, neuron
from torch import Tensor, nn

from snn_export import export
from snn_export.importers import Foreign, Picture, from_module
from snn_runtime.errors import ModelError, VerifyError

PICTURE = Picture.of(tuple("abcd"), (8, 8), (0.5,), (0.25,))
PIXELS = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3), np.uint8)
Change = Callable[["Net", Tensor], Any]


class Net(nn.Module):
    """fc1 → neurons → fc2, with what the case does to currents and to spikes."""

    keep: Tensor
    """A mask of its neurons."""

    def __init__(self, on_currents: Change | None = None, on_spikes: Change | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.lif, self.fc2 = nn.Linear(192, 12), leaky(), nn.Linear(12, 4)
        self.on_currents, self.on_spikes = on_currents, on_spikes
        self.register_buffer("keep", torch.ones(12))
        self.keep[0] = 0
        with torch.no_grad():  # it fires on no picture but on bright ones
            self.fc1.bias[0] = -8

    def forward(self, x: Tensor) -> Any:
        currents = self.fc1(x.flatten(1))
        if self.on_currents:
            currents = changed(self, currents, self.on_currents)
        spikes = self.lif(currents)
        if self.on_spikes:
            spikes = changed(self, spikes, self.on_spikes)
        return self.fc2(spikes)


def leaky(**options: Any) -> Any:
    return snntorch.Leaky(0.9, threshold=0.2, init_hidden=True, **options)


def changed(net: Net, value: Tensor, change: Change) -> Tensor:
    """What forward goes on with: the result of the change, or the value under its old name."""
    result = change(net, value)
    return value if result is None else result


def view_times(net: Net, value: Tensor) -> None:
    view = value.view(-1, 12)
    view *= net.keep


def out(net: Net, value: Tensor) -> None:
    torch.mul(value, net.keep, out=value)


def fill(net: Net, value: Tensor) -> None:
    value.masked_fill_(net.keep == 0, 0.0)


def slice_zero(net: Net, value: Tensor) -> None:
    value[:, 0].zero_()


def add(net: Net, value: Tensor) -> None:
    value.add_(0.005)


def part(net: Net, value: Tensor) -> None:
    value.chunk(2, 1)[0].mul_(2)


IN_PLACE = [view_times, out, fill, slice_zero, add, part]


@pytest.mark.parametrize("where", ["on_currents", "on_spikes"])
@pytest.mark.parametrize("change", IN_PLACE)
def test_what_is_read_after_a_change_in_place_is_refused(change: Change, where: str) -> None:
    """Under its old name, a value is no longer what its call gave."""
    says = r"changes \w+ in place, which \w+ reads later; write the result under a new name"
    with pytest.raises(ModelError, match=says):
        from_module(Net(**{where: change}), PICTURE)


def test_an_output_that_was_changed_in_place_is_refused() -> None:
    class Clamped(Net):
        def forward(self, x: Tensor) -> Any:
            logits = super().forward(x)
            logits[:, :2].clamp_(max=0.1)
            return logits

    with pytest.raises(ModelError, match=r"clamp_: clamp_ changes fc2 in place, which output"):
        from_module(Clamped(), PICTURE)


RESULTS: list[Change] = [
    lambda net, value: value.mul_(2),
    lambda net, value: value.add_(1).mul_(0.5),
    lambda net, value: torch.mul(value, 2, out=value),
]


@pytest.mark.parametrize("where", ["on_currents", "on_spikes"])
@pytest.mark.parametrize("change", RESULTS)
def test_the_result_of_a_change_in_place_is_read(
    change: Change, where: str, tmp_path: Path
) -> None:
    agrees(Net(**{where: change}), tmp_path / "m.onnx")


def test_what_is_changed_and_read_no_more_may_be_changed(tmp_path: Path) -> None:
    class Later(Net):
        def forward(self, x: Tensor) -> Any:
            currents = self.fc1(x.flatten(1))
            logits = self.fc2(self.lif(currents))
            currents.zero_()
            return logits

    agrees(Later(), tmp_path / "m.onnx")


def agrees(network: nn.Module, path: Path, picture: Picture = PICTURE) -> Foreign:
    """The file is proven, and says what the module says."""
    foreign = from_module(network, picture)
    exported = export(foreign, path, weights="float32", threads=1)
    assert exported.parity.spikes > 0
    images = foreign.picture.tensor(torch.from_numpy(PIXELS), foreign.lowered.channels)
    with torch.no_grad():
        own = network.eval()(images)
    own = own[1] if isinstance(own, tuple) else own
    said = foreign.logits(torch.from_numpy(PIXELS))
    torch.testing.assert_close(said, own.reshape(said.shape))
    return foreign


@pytest.mark.parametrize("one", range(12))
def test_a_mask_of_any_neuron_is_exported(one: int, tmp_path: Path) -> None:
    network = Net(on_spikes=lambda net, spikes: spikes * net.keep)
    network.keep[:] = 1
    network.keep[one] = 0
    agrees(network, tmp_path / "m.onnx")


@pytest.mark.parametrize("mode", ["s", "m"])
@pytest.mark.parametrize("kind", ["WSConv2d", "WSLinear"])
def test_weights_that_forward_standardises_are_read_as_it_does(
    kind: str, mode: str, tmp_path: Path
) -> None:
    torch.manual_seed(2)
    steps: Any = {"step_mode": mode}
    if kind == "WSConv2d":
        parts = [layer.WSConv2d(3, 4, 3, **steps), neuron.IFNode(**steps), layer.Flatten(**steps)]
        network = nn.Sequential(*parts, layer.Linear(144, 4, **steps))
    else:
        parts = [layer.Flatten(**steps), layer.WSLinear(192, 8, **steps), neuron.IFNode(**steps)]
        network = nn.Sequential(*parts, layer.WSLinear(8, 4, **steps))
    first: Any = network[1 if kind == "WSLinear" else 0]
    with torch.no_grad():
        first.weight.mul_(8)
    foreign = from_module(network, PICTURE)
    assert export(foreign, tmp_path / "m.onnx", weights="float32", threads=1).parity.spikes > 0


class Membrane(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.lif1 = nn.Linear(192, 32), leaky()
        self.fc2, self.lif2 = nn.Linear(32, 4), snntorch.Leaky(0.9, **options)
        self.end: Callable[[Tensor], Tensor] = lambda membrane: membrane
        with torch.no_grad():
            self.fc2.weight.mul_(6)

    def forward(self, x: Tensor) -> Any:
        _, membrane = self.lif2(self.fc2(self.lif1(self.fc1(x.flatten(1)))))
        return self.end(membrane)


@pytest.mark.parametrize("end", [lambda x: x, lambda x: x.softmax(1)])
def test_a_membrane_after_the_reset_is_refused_as_logits(end: Any, tmp_path: Path) -> None:
    """The class that fires would have lost θ."""
    network = Membrane(reset_delay=False)
    network.end = end
    with pytest.raises(ModelError, match="lif2: returns its membrane after the reset.*set reset_d"):
        from_module(network, PICTURE)
    agrees(Membrane(reset_delay=False, reset_mechanism="none"), tmp_path / "m.onnx")
    agrees(Membrane(), tmp_path / "m.onnx")


def test_a_membrane_that_forward_returns_is_compared_with_the_files_logits(tmp_path: Path) -> None:
    """And not the one that was read, which would agree with itself."""

    class Other(snntorch.Leaky):  # type: ignore[misc]  # snnTorch has no types
        def forward(self, input_: Tensor, mem: Any = None) -> Any:
            spikes, membrane = super().forward(input_, mem)
            return spikes, membrane - spikes

    Other.__module__, Other.__name__ = "snntorch._neurons.leaky", "Leaky"
    network = Membrane()
    network.lif2 = Other(0.9)
    with pytest.raises(VerifyError, match=r"logits: \d+ differ"):
        export(from_module(network, PICTURE), tmp_path / "m.onnx", threads=1)


def test_a_program_is_driven_where_pictures_do_not_reach(tmp_path: Path) -> None:
    """A neuron that fires on no picture has weights that no spike tells from others."""
    honest = from_module(Net(), PICTURE)
    other = Net()
    with torch.no_grad():
        other.fc1.bias[0] = other.fc1.bias[0] - 50
        silent = from_module(other, PICTURE)
        other.fc2.weight[2, 0] += 0.01
        masked = from_module(other, PICTURE)
    lying = replace(silent, original=masked.original, drive=masked.drive)
    with pytest.raises(VerifyError, match=r"^logits: 8 differ|^logits: \d differ"):
        export(lying, tmp_path / "m.onnx", weights="float32", threads=1)
    lying = replace(silent, original=silent.original, drive=honest.drive)
    with pytest.raises(VerifyError, match=r"^lif: \d+ currents, of neurons that fire at random"):
        export(lying, tmp_path / "m.onnx", weights="float32", threads=1)
    assert not (tmp_path / "m.onnx").exists()


def test_another_name_of_what_is_changed_is_known() -> None:
    """x += y changes x by whatever name."""

    def other(net: Net, value: Tensor) -> None:
        again = value
        again += 0.005

    with pytest.raises(ModelError, match="iadd: iadd changes fc1 in place, which lif reads later"):
        from_module(Net(on_currents=other), PICTURE)


class Functional(nn.Module):
    """Weights that no module holds, in front of a module that has others."""

    def __init__(self, colours: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weight = nn.Parameter(torch.randn(4, colours, 3, 3))
        self.lif1, self.conv, self.lif2 = leaky(), nn.Conv2d(4, 6, 3), leaky()
        self.fc = nn.Linear(96, 4)

    def forward(self, x: Tensor) -> Any:
        spikes = self.lif1(nn.functional.conv2d(x, self.weight))
        return self.fc(self.lif2(self.conv(spikes)).flatten(1))


class Encoded(nn.Module):
    """Neurons read the picture itself."""

    def __init__(self, colours: int, dense: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.lif, self.dense = leaky(), leaky(), dense
        self.first = nn.Linear(64 * colours, 36) if dense else nn.Conv2d(colours, 1, 3)
        self.fc = nn.Linear(36, 4)

    def forward(self, x: Tensor) -> Any:
        spikes = self.encoder(x)
        currents = self.first(spikes.flatten(1) if self.dense else spikes)
        return self.fc(self.lif(currents).flatten(1))


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize(
    "make", [Functional, lambda n: Encoded(n, True), lambda n: Encoded(n, False)]
)
def test_the_colours_are_those_that_the_program_takes(
    make: Callable[[int], nn.Module], colours: int, tmp_path: Path
) -> None:
    foreign = agrees(make(colours), tmp_path / "m.onnx")
    assert foreign.lowered.channels == colours
