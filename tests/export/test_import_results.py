"""What forward returns and takes: the logits among its results, the picture among its arguments."""

from collections.abc import Callable
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
from snn_runtime.errors import ModelError

PICTURE = Picture.of(tuple("abcd"), (8, 8), (0.5,), (0.25,))
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)


class Net(nn.Module):
    """conv → neurons → fc, an auxiliary head of as many classes, and what the case makes of it."""

    def __init__(self, answer: Callable[["Net", Tensor, Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.lif = nn.Conv2d(3, 8, 3, padding=1), snntorch.Leaky(0.5, threshold=0.2)
        self.fc, self.head, self.aux = nn.Linear(512, 4), snntorch.Leaky(0.5), nn.Linear(512, 4)
        self.answer = answer
        self.rate: Any = None

    def forward(self, x: Tensor) -> Any:
        spikes, _ = self.lif(self.conv(x), self.lif.init_leaky())
        return self.answer(self, spikes, self.fc(spikes.flatten(1)))


def kept(net: Net, spikes: Tensor, logits: Tensor) -> Tensor:
    net.rate = spikes.mean()
    return logits


def auxiliary(net: Net, spikes: Tensor, logits: Tensor) -> Any:
    return logits, net.head(net.aux(torch.relu(spikes - 0.5).flatten(1)))


RESULTS: dict[str, Callable[[Net, Tensor, Tensor], Any]] = {
    "list of spikes first": lambda net, spikes, logits: ([spikes], logits),
    "nothing first": lambda net, spikes, logits: (None, logits),
    "spikes first": lambda net, spikes, logits: (spikes, logits),
    "dictionary": lambda net, spikes, logits: {"logits": logits, "all": [spikes]},
    "dictionary in a tuple": lambda net, spikes, logits: (spikes, {"spikes": spikes, "y": logits}),
    "mean rate": lambda net, spikes, logits: (logits, spikes.mean()),
    "mean rate first": lambda net, spikes, logits: (spikes.mean(), logits),
    "rate kept": kept,
    "auxiliary neurons": auxiliary,
    "a map of one place": lambda net, spikes, logits: logits[:, :, None, None],
}


def agrees(foreign: Foreign, path: Path) -> None:
    """The file is proven against the module, and the module's answer is what was meant."""
    _, logits = foreign.run(torch.from_numpy(PIXELS))
    assert logits.shape == (4, 4)
    parity = export(foreign, path, threads=1).parity
    assert parity is not None and parity.spikes > 0


@pytest.mark.parametrize("case", RESULTS)
def test_the_logits_are_found_in_what_forward_returns(case: str, tmp_path: Path) -> None:
    network = Net(RESULTS[case])
    foreign = from_module(network, PICTURE)
    agrees(foreign, tmp_path / "m.onnx")
    images = foreign.picture.tensor(torch.from_numpy(PIXELS), 3)
    with torch.no_grad():
        spikes, _ = network.lif(network.conv(images), network.lif.init_leaky())
        torch.testing.assert_close(foreign.logits(torch.from_numpy(PIXELS)),
                                   network.fc(spikes.flatten(1)))  # fmt: skip
    assert [node.name for node in foreign.fold().nodes] == ["lif"]


def test_what_the_logits_depend_on_is_refused_and_another_result_is_not() -> None:
    with pytest.raises(ModelError, match="relu: the function relu is not among"):
        from_module(Net(lambda net, spikes, y: (torch.relu(y), spikes.mean())), PICTURE)
    from_module(Net(lambda net, spikes, logits: (logits, torch.relu(logits))), PICTURE)


def test_a_second_timestep_is_seen_though_the_first_alone_would_do() -> None:
    def again(net: Net, spikes: Tensor, logits: Tensor) -> list[Tensor]:
        more, _ = net.lif(net.conv(spikes[:, :3]))
        return [logits, net.fc(more.flatten(1))]

    with pytest.raises(ModelError, match="lif: is called again: more than one timestep"):
        from_module(Net(again), PICTURE)


class Flagged(Net):
    def forward(self, x: Tensor, num_steps: int = 1, *, give_spikes: bool = False) -> Any:
        steps: list[Any] = [super(Flagged, self).forward(x) for _ in range(num_steps)]
        return steps if give_spikes else steps[0]


class Hinted(Net):
    def forward(self, x: Tensor, membrane: Tensor | None = None) -> Any:
        if membrane is None:
            membrane = self.lif.init_leaky()
        spikes, membrane = self.lif(self.conv(x), membrane)
        return self.fc(spikes.flatten(1)), membrane


@pytest.mark.parametrize("kind", [Flagged, Hinted])
def test_arguments_beside_the_picture_have_their_defaults(kind: Any, tmp_path: Path) -> None:
    agrees(from_module(kind(lambda net, spikes, logits: logits), PICTURE), tmp_path / "m.onnx")


class Wanting(Net):
    def forward(self, x: Tensor, steps: int) -> Any:  # type: ignore[override]
        return super().forward(x)


class Checking(Net):
    def forward(self, x: Tensor) -> Any:
        assert x.shape[1] == 3, "colours"
        return super().forward(x)


class Failing(Net):
    def forward(self, x: Tensor) -> Any:
        raise KeyError("no such thing")


CANNOT: list[tuple[type[Net], str]] = [
    (Wanting, "forward: takes more than the picture .*'steps'.*; give the rest a default"),
    (Checking, r"_results.py line \d+: an if or assert there depends on the shape of a tensor\)"),
    (Checking, "leave that line out"),
    (Failing, r"Failing.forward cannot be traced \(test_import_results.py line \d+: 'no such"),
]


@pytest.mark.parametrize(("kind", "says"), CANNOT)
def test_what_cannot_be_traced_is_said_with_its_line(kind: type[Net], says: str) -> None:
    with pytest.raises(ModelError, match=says) as refusal:
        from_module(kind(lambda net, spikes, logits: logits), PICTURE)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("call", [torch.sign, lambda x: x.clamp(max=1), lambda x: x.clamp(max=3)])
def test_what_changes_counts_of_spikes_is_no_cast(call: Callable[[Tensor], Tensor]) -> None:
    """Of 0 and 1 these are the same, and neurons of several levels send more."""

    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.ilif = layer.Conv2d(3, 8, 3), neuron.ILIFNode(v_threshold=0.2)
            self.fc = layer.Linear(288, 4)

        def forward(self, x: Tensor) -> Any:
            return self.fc(call(self.ilif(self.conv(x))).flatten(1))

    with pytest.raises(ModelError, match="the function (sign|clamp) is not among what can be"):
        from_module(Counted(), PICTURE)


def test_of_several_answers_it_is_said_which_was_taken() -> None:
    def heads(net: Net, spikes: Tensor, logits: Tensor) -> Any:
        return {"aux": net.aux(spikes.flatten(1)), "logits": logits}

    (note,) = from_module(Net(heads), PICTURE).notes
    assert note == (
        "forward returns 2 outputs of a number a class, and ['aux'], the first of them, was taken"
    )
    alone: list[Callable[[Net, Tensor, Tensor], Any]] = [
        lambda net, spikes, logits: (logits, logits.softmax(1)),
        lambda net, spikes, logits: (logits, spikes),
        lambda net, spikes, logits: (spikes, logits.unsqueeze(0), logits),
    ]
    for answer in alone:
        assert not any("outputs of" in note for note in from_module(Net(answer), PICTURE).notes)


def test_a_head_is_said_to_order_no_more_than_it_does() -> None:
    """A clamp ties what lies beyond it."""
    clamped = Net(lambda net, spikes, logits: logits.clamp(-20, 20))
    (note,) = from_module(clamped, PICTURE).notes
    assert note.startswith("clamp behind the logits is left out: it puts no class before another")


def test_neurons_are_told_their_input_by_name(tmp_path: Path) -> None:
    class Named(Net):
        def forward(self, x: Tensor) -> Any:
            spikes, _ = self.lif(input_=self.conv(x), mem=self.lif.init_leaky())
            return self.fc(spikes.flatten(1))

    agrees(from_module(Named(kept), PICTURE), tmp_path / "m.onnx")


class Extra(nn.Conv2d):
    """Keeps something that is no weight."""

    def get_extra_state(self) -> dict[str, int]:
        return {"seen": 3}

    def set_extra_state(self, state: Any) -> None:
        pass


def test_what_a_module_keeps_beside_weights_is_passed_over(tmp_path: Path) -> None:
    network = Net(kept)
    network.conv = Extra(3, 8, 3, padding=1)
    agrees(from_module(network, PICTURE), tmp_path / "m.onnx")


def flat(*parts: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 4), *parts)


def negative() -> nn.Sequential:
    norm = nn.BatchNorm1d(4)
    norm.running_var.fill_(-1)  # type: ignore[union-attr]  # it keeps one
    return flat(norm, snntorch.Leaky(0.9, init_hidden=True), nn.Linear(4, 4))


def mixed() -> nn.Sequential:
    first = snntorch.Leaky(0.9, init_hidden=True)
    return flat(first, nn.Linear(4, 4), neuron.IFNode(), nn.Linear(4, 4))


NAMED: list[tuple[Callable[[], nn.Module], str]] = [
    (negative, "^2: variance -1 is not positive"),
    (lambda: flat(neuron.IFNode(v_threshold=float("nan")), nn.Linear(4, 4)),
     "^2: threshold holds a number that is not finite"),
    (mixed, "Sequential: has neurons of snntorch and of spikingjelly, expected one of them"),
    (lambda: flat(snntorch.Leaky(0.9, init_hidden=True)),
     "^2: the output reads the picture, expected neurons in front of it"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "says"), NAMED)
def test_a_refusal_names_what_is_wrong(make: Callable[[], nn.Module], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        from_module(make(), PICTURE)
