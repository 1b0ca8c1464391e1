"""Forward passes as people write them, each a form of its own: small, with whole-numbered weights.

Grey levels, weights and thresholds are such that no current comes near a threshold by rounding, so
that spikes can be compared one for one.
"""

from collections.abc import Callable
from typing import Any

import pytest
import snntorch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

base = pytest.importorskip("spikingjelly.activation_based.base")
functional = pytest.importorskip("spikingjelly.activation_based.functional")
layer = pytest.importorskip("spikingjelly.activation_based.layer")
neuron = pytest.importorskip("spikingjelly.activation_based.neuron")

SIDE = 8
"""Of the pictures."""

Forward = Callable[[Any, Tensor], Any]


def leaky(threshold: float = 60.3) -> Any:
    return snntorch.Leaky(0.5, threshold=threshold, init_hidden=True)


def lif(threshold: float = 60.3) -> Any:
    return neuron.LIFNode(tau=2.0, decay_input=False, v_threshold=threshold)


class Net(nn.Module):
    """conv1 → neurons → what the form does → neurons → fc: a form uses what it needs of it."""

    timed = False
    """Wants the axis of time from whoever calls it."""

    def __init__(
        self, forward: Forward, neurons: Callable[..., Any], parts: dict[str, Any]
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.sn1 = neurons(2000.5)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.sn2 = neurons()
        for name, part in parts.items():
            setattr(self, name, part)
        self.written = forward

    def forward(self, x: Tensor) -> Any:
        return self.written(self, x)


def whole(network: nn.Module) -> nn.Module:
    """Give all weights whole numbers up to 127, one of which is 127, and norms a power of two."""
    torch.manual_seed(5)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            rows = module.weight.data.view(len(module.weight), -1)
            rows.copy_(torch.randint(-60, 61, rows.shape))
            rows[:, 0] = 127
            if module.bias is not None:
                module.bias.data.copy_(torch.randint(-20, 21, module.bias.shape))
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            if module.affine:
                module.weight.data.copy_(2.0 ** torch.randint(-1, 2, module.weight.shape))
                module.bias.data.copy_(torch.randint(-9, 10, module.bias.shape))
            if module.running_mean is not None and module.running_var is not None:
                module.running_mean.copy_(torch.randint(-9, 10, module.running_mean.shape))
                module.running_var.fill_(4 - module.eps)
    return network.eval()


def centred(network: nn.Module, last: nn.Module | None = None) -> nn.Module:
    """Let no class of `fc`, or of `last`, win every time."""
    seen: list[Tensor] = []
    fc: Any = last or network.fc
    handle = fc.register_forward_hook(lambda _, __, given: seen.append(given))
    noise = torch.randint(0, 256, (1, 8, 3, SIDE, SIDE)).float()
    with torch.no_grad():
        network(noise if getattr(network, "timed", False) else noise[0])
    handle.remove()
    reset(network)
    if seen:
        fc.bias.data -= torch.round(seen[0].reshape(-1, 4).mean(0))
    return network


def reset(network: nn.Module) -> None:
    """Forget all membranes."""
    for module in network.modules():
        if isinstance(module, snntorch.SpikingNeuron):
            module.reset_mem()
        elif isinstance(module, (base.MemoryModule, OlderNode)):
            module.reset()


class Measure(nn.Module):
    """Stands for `fc` until it is known how many features it reads."""

    features = 1

    def forward(self, x: Tensor) -> Tensor:
        self.features = x.shape[-1]
        return x.new_zeros(*x.shape[:-1], 4)


def mapped(forward: Forward, neurons: Callable[..., Any] = leaky, **parts: Any) -> Any:
    """A form that does something to maps; `fc` of as many inputs as it leaves."""

    def make() -> nn.Module:
        network = Net(forward, neurons, {name: part() for name, part in parts.items()})
        with torch.no_grad():
            network.fc = measure = Measure()
            network.eval()(torch.zeros(2, 3, SIDE, SIDE))
        reset(network)
        network.fc = nn.Linear(measure.features, 4)
        return centred(whole(network))

    return make


def body(m: Any, x: Tensor) -> Tensor:
    spikes: Tensor = m.sn1(m.conv1(x))
    return spikes


def head(m: Any, x: Tensor) -> Tensor:
    logits: Tensor = m.fc(x.flatten(1))
    return logits


def on_spikes(form: Callable[[Any, Tensor], Tensor], **parts: Any) -> Any:
    return mapped(lambda m, x: head(m, form(m, body(m, x))), **parts)


def on_currents(form: Callable[[Any, Tensor], Tensor], **parts: Any) -> Any:
    return mapped(lambda m, x: head(m, m.sn2(form(m, m.conv2(body(m, x))))), **parts)


def on_logits(form: Callable[[Any, Tensor], Any], **parts: Any) -> Any:
    return mapped(lambda m, x: form(m, head(m, body(m, x))), **parts)


def over_time(forward: Forward, enter: Callable[[Tensor], Tensor] | None, **parts: Any) -> Any:
    """SpikingJelly's multi-step modules, over an axis of time that forward adds with `enter`, or
    else is given.
    """

    def make() -> nn.Module:
        made = {name: part() for name, part in parts.items()}
        network = Net(lambda m, x: forward(m, enter(x) if enter else x), lif, made)
        network.timed = enter is None
        network.conv1 = layer.Conv2d(3, 8, 3, padding=1)
        network.conv2 = layer.Conv2d(8, 8, 3, padding=1)
        network.fc = layer.Linear(8 * SIDE * SIDE, 4)
        functional.set_step_mode(network, "m")
        return centred(whole(network))

    return make


def timed(m: Any, x: Tensor) -> Tensor:
    """A whole forward pass over (1, N, C, H, W), to the logits of (1, N, classes)."""
    logits: Tensor = m.fc(m.sn2(m.conv2(m.sn1(m.conv1(x)))).flatten(2))
    return logits


class TdBN(nn.BatchNorm2d):
    """tdBN as it is written by hand: an affine function of constants, number by number."""

    def forward(self, x: Tensor) -> Tensor:
        assert self.running_mean is not None and self.running_var is not None
        mean, variance = (
            self.running_mean[None, :, None, None],
            self.running_var[None, :, None, None],
        )
        x = 0.5 * 2.0 * (x - mean) / torch.sqrt(variance + self.eps)
        return x * self.weight[None, :, None, None] + self.bias[None, :, None, None]


class Loop(nn.Module):
    """snnTorch's loop over steps, of which there is one, and a mean over them."""

    def __init__(self, steps: int = 1) -> None:
        super().__init__()
        self.conv1, self.sn1, self.fc = nn.Conv2d(3, 8, 3), leaky(2000.5), nn.Linear(288, 4)
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        total: Any = 0
        for _ in range(self.steps):
            total += self.fc(self.sn1(self.conv1(x)).flatten(1))
        mean: Tensor = total / self.steps
        return mean


class Voting(nn.Module):
    """As SpikingJelly's examples of `clock_driven` have it."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool1d(x.unsqueeze(1), 3, 3).squeeze(1)


class OlderNode(nn.Module):
    """SpikingJelly's neurons as they were, with the equations of the versions before 2."""

    def __init__(self, v_threshold: float = 60.3, v_reset: float | None = 0.0) -> None:
        super().__init__()
        self.v_threshold, self.v_reset, self.tau = v_threshold, v_reset, 2.0
        self.reset()

    def reset(self) -> None:
        self.v: Any = 0.0 if self.v_reset is None else self.v_reset

    def surrogate_function(self, x: Tensor) -> Tensor:
        spikes: Tensor = (x >= 0).to(x)
        return spikes

    def forward(self, x: Tensor) -> Tensor:
        self.v = self.v + self.charge(x)
        spikes: Tensor = self.surrogate_function(self.v - self.v_threshold)
        self.v = self.v - spikes * self.v_threshold
        return spikes

    def charge(self, x: Tensor) -> Tensor:
        return x


class OlderLeaky(OlderNode):
    def charge(self, x: Tensor) -> Tensor:
        current: Tensor = (x - (self.v - (self.v_reset or 0.0))) / self.tau
        return current


class OverSteps(nn.Module):
    """The `MultiStep…` neurons of `clock_driven`: one class for one step, one for several."""

    def forward(self, x: Tensor) -> Tensor:
        one_step: Any = super().forward
        return torch.stack([one_step(step) for step in x])


class OlderContainer(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        parts: Any = super().forward
        given: Tensor = parts(x.flatten(0, 1))
        steps: Tensor = given.reshape(*x.shape[:2], *given.shape[1:])
        return steps


def older(home: str, name: str, *bases: type[nn.Module]) -> Any:
    """The class `name` of `spikingjelly.{home}`, without that version of the package."""
    return type(name, bases, {"__module__": f"spikingjelly.{home}"})


class Elsewhere(nn.Module):
    """Keeps its threshold under another name."""

    theta = 0.5

    def forward(self, x: Tensor) -> Tensor:
        return (x >= self.theta).float()


def unheard_of() -> nn.Module:
    """A neuron of a version that nobody has seen."""
    node: nn.Module = older("activation_based.neuron", "IFNode", Elsewhere)()
    return node


def single_module(home: str) -> Any:
    """`neuron` is a module and no package: two dots in its name."""

    def make() -> nn.Module:
        spikes, leaks = older(home, "IFNode", OlderNode), older(home, "LIFNode", OlderLeaky)
        conv1, conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        parts = [conv1, spikes(2000.5), nn.MaxPool2d(2), conv2, leaks(31.3, -4.0), nn.Flatten()]
        network = nn.Sequential(*parts, nn.Linear(128, 4))
        return centred(whole(network), network[-1])

    return make


def several_steps() -> nn.Module:
    """As the examples of `clock_driven` for several timesteps have it."""
    spikes = older("clock_driven.neuron", "MultiStepIFNode", OverSteps, OlderNode)
    leaks = older("clock_driven.neuron", "MultiStepLIFNode", OverSteps, OlderLeaky)
    container = older("clock_driven.layer", "SeqToANNContainer", OlderContainer)

    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.sn1(m.contained(x.unsqueeze(0).repeat(1, 1, 1, 1, 1)))
        logits: Tensor = m.end(m.sn2(m.more(x)))
        return logits.mean(0)

    network = Net(
        forward, lambda threshold=20.3: (spikes if threshold > 99 else leaks)(threshold), {}
    )
    network.contained = container(network.conv1, nn.BatchNorm2d(8))
    network.more = container(nn.MaxPool2d(2), network.conv2)
    network.fc = nn.Linear(128, 4)
    network.end = container(nn.Flatten(), network.fc)
    return centred(whole(network))


def conv(*options: Any, **named: Any) -> Callable[[], nn.Module]:
    return lambda: nn.Conv2d(8, 8, *options, **named)


def voters() -> nn.Module:
    return nn.Linear(8 * SIDE * SIDE, 12)


def voted(form: Callable[[Any, Tensor], Tensor], **parts: Any) -> Any:
    """Twelve last neurons, three of which vote for each class."""
    return mapped(
        lambda m, x: form(m, m.sn2(m.voters(body(m, x).flatten(1)))), voters=voters, **parts
    )


def nested() -> nn.Module:
    """Sequential in Sequential in a container, neurons in another."""
    inner = nn.Sequential(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)))
    return nn.Sequential(layer.SeqToANNContainer(inner), layer.MultiStepContainer(lif()))


def written_by_hand() -> nn.Module:
    """A module of the user's in a container: its own forward counts, not what it derives from."""
    return nn.Sequential(layer.SeqToANNContainer(Halved(8, 8, 3, padding=1)), lif())


class Halved(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 2


class Shuffled(nn.Module):
    """Picture as one row, from the start."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.sn1, self.fc2 = nn.Linear(3 * SIDE * SIDE, 9), leaky(2000.5), nn.Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc2(self.sn1(self.fc1(x)))
        return logits


def enter(x: Tensor) -> Tensor:
    return x.unsqueeze(0)


MEMBERS: dict[str, Any] = {
    # an axis of time of length one, and other ways to say the same numbers
    "repeat": over_time(lambda m, x: timed(m, x).mean(0), lambda x: x[None].repeat(1, 1, 1, 1, 1)),
    "expand": over_time(lambda m, x: timed(m, x)[0], lambda x: x.expand(1, -1, -1, -1, -1)),
    "expand sizes": over_time(
        lambda m, x: timed(m, x).sum(0), lambda x: x.unsqueeze(0).expand(1, x.shape[0], -1, -1, -1)
    ),
    "stack": over_time(lambda m, x: timed(m, x)[-1], lambda x: torch.stack([x], dim=0)),
    "cat": over_time(lambda m, x: timed(m, x).squeeze(0), lambda x: torch.cat([enter(x)])),
    "transpose": over_time(lambda m, x: timed(m, x).transpose(0, 1).squeeze(1), enter),
    "no axis of its own": over_time(lambda m, x: timed(m, x).mean(0), None),
    "loop of one": lambda: whole(Loop()),
    "to": on_spikes(lambda m, x: x.to(torch.float32)),
    "float": on_spikes(lambda m, x: x.float().contiguous().type_as(x).clone()),
    "bool and back": on_spikes(lambda m, x: (x > 0.5).float()),
    "called by keyword": on_spikes(
        lambda m, x: m.sn2(
            F.conv2d(
                input=F.avg_pool2d(input=F.max_pool2d(input=x, kernel_size=1), kernel_size=1),
                weight=m.conv2.weight,
                bias=m.conv2.bias,
                padding=1,
            )
        )
    ),
    "dense by keyword": on_spikes(
        lambda m, x: F.linear(bias=m.other.bias, weight=m.other.weight, input=x.flatten(1)),
        other=lambda: nn.Linear(8 * SIDE * SIDE, 8),
    ),
    "ceil_mode by place": on_spikes(lambda m, x: F.max_pool2d(x, 2, 2, 0, 1, True)),
    "relu of spikes": on_spikes(lambda m, x: F.relu(x)),
    "dropouts": on_spikes(
        lambda m, x: F.dropout(m.drop(x), 0.3, training=m.training), drop=lambda: nn.Dropout2d(0.5)
    ),
    "row and map": on_spikes(
        lambda m, x: m.sn2(m.conv2(x.reshape(x.size(0), -1).view(-1, 8, SIDE, SIDE)))
    ),
    "flat pictures": lambda: whole(Shuffled()),
    "picture viewed": mapped(lambda m, x: head(m, body(m, x.view(-1, 3, SIDE, SIDE)))),
    # older versions of SpikingJelly
    "activation_based": single_module("activation_based.neuron"),
    "clock_driven": single_module("clock_driven.neuron"),
    "clock_driven, several steps": several_steps,
    # pools
    "mean of maps": on_spikes(lambda m, x: x.mean((2, 3))),
    "mean from behind": on_spikes(lambda m, x: torch.mean(x, dim=[-1, -2], keepdim=True)),
    "mean of rows of maps": on_spikes(lambda m, x: x.flatten(2).mean(2)),
    "sum of maps": on_spikes(lambda m, x: x.sum(dim=(-2, -1))),
    "max of maps": on_spikes(lambda m, x: x.amax((2, 3))),
    "F.adaptive to one": on_spikes(lambda m, x: F.adaptive_avg_pool2d(x, 1)),
    "F.adaptive to two": on_spikes(lambda m, x: F.adaptive_avg_pool2d(x, (2, 2))),
    "F.adaptive max": on_spikes(lambda m, x: F.adaptive_max_pool2d(x, 4)),
    "adaptive, same size": on_spikes(lambda m, x: m.pool(x), pool=lambda: nn.AdaptiveAvgPool2d(8)),
    "adaptive to four": on_spikes(lambda m, x: m.pool(x), pool=lambda: nn.AdaptiveAvgPool2d(4)),
    "adaptive on currents": on_currents(
        lambda m, x: m.pool(x), pool=lambda: nn.AdaptiveAvgPool2d((4, None))
    ),
    "whole window": on_spikes(lambda m, x: F.avg_pool2d(x, x.shape[-1])),
    "max 3, 2, 1": on_spikes(lambda m, x: m.pool(x), pool=lambda: nn.MaxPool2d(3, 2, 1)),
    "max 3, 2, 1 before neurons": on_currents(
        lambda m, x: m.pool(m.norm(x)),
        norm=lambda: nn.BatchNorm2d(8),
        pool=lambda: nn.MaxPool2d(3, 2, 1),
    ),
    "F.max 3, 2": on_spikes(lambda m, x: F.max_pool2d(x, 3, stride=2)),
    "max of a max": on_spikes(lambda m, x: F.max_pool2d(F.max_pool2d(x, 2), 3, 1, 1)),
    "max twice before neurons": on_currents(lambda m, x: F.max_pool2d(F.max_pool2d(x, 3, 1), 2)),
    "max of rectangles": on_spikes(lambda m, x: F.max_pool2d(x, (1, 2))),
    "max with gaps": on_spikes(lambda m, x: F.max_pool2d(x, 3, 2, 1, dilation=2)),
    "ceil without rest": on_spikes(lambda m, x: F.max_pool2d(x, 2, ceil_mode=True)),
    "max of currents with ceil": on_currents(lambda m, x: F.max_pool2d(x, 2, 2, ceil_mode=True)),
    "mean 3, 2 on currents": on_currents(lambda m, x: F.avg_pool2d(x, 3, 2)),
    "mean of rectangles on currents": on_currents(lambda m, x: F.avg_pool2d(x, (2, 4))),
    "mean 3, 2, 1 into neurons": on_spikes(lambda m, x: m.sn2(100.0 * F.avg_pool2d(x, 3, 2, 1))),
    # weights, scales and normalisations
    "half": on_currents(lambda m, x: 0.5 * x),
    "divided": on_currents(lambda m, x: x / 2 + 1),
    "negative": on_currents(lambda m, x: -x),
    "a factor a channel": on_currents(
        lambda m, x: x * m.gain,
        gain=lambda: nn.Parameter(torch.arange(1.0, 9.0)[None, :, None, None]),
    ),
    "scaled spikes": on_spikes(lambda m, x: m.sn2(m.conv2(2 * x))),
    "twice": on_currents(lambda m, x: x + x),
    "difference": on_spikes(lambda m, x: m.sn2(m.conv2(x) - m.side(x)), side=conv(1)),
    "difference from spikes": on_spikes(lambda m, x: m.sn2(m.conv2(x) - x)),
    "dilation": on_spikes(lambda m, x: m.sn2(m.wide(x)), wide=conv(3, padding=2, dilation=2)),
    "same, dilated": on_spikes(
        lambda m, x: m.sn2(m.wide(x)), wide=conv((2, 3), padding="same", dilation=(2, 1))
    ),
    "tdBN by hand": on_currents(lambda m, x: m.norm(x), norm=lambda: TdBN(8)),
    "F.batch_norm": on_currents(
        lambda m, x: F.batch_norm(
            x, m.n.running_mean, m.n.running_var, m.n.weight, m.n.bias, False
        ),
        n=lambda: nn.BatchNorm2d(8),
    ),
    "norm without gain": on_currents(
        lambda m, x: m.norm(x), norm=lambda: nn.BatchNorm2d(8, affine=False, momentum=None)
    ),
    "norm of rows": mapped(
        lambda m, x: m.fc(m.sn2(m.norm(m.voters(body(m, x).flatten(1))))),
        voters=voters,
        norm=lambda: nn.BatchNorm1d(12),
    ),
    "tdBN": over_time(
        lambda m, x: m.fc(m.sn2(m.norm(m.conv2(m.sn1(m.conv1(x))))).flatten(2)).mean(0),
        enter,
        norm=lambda: layer.ThresholdDependentBatchNorm2d(1.0, 1.0, 8),
    ),
    "nested containers": over_time(
        lambda m, x: m.fc(m.block(m.sn1(m.conv1(x))).flatten(2)).mean(0), enter, block=nested
    ),
    "own module in a container": over_time(
        lambda m, x: m.fc(m.block(m.sn1(m.conv1(x))).flatten(2))[0], enter, block=written_by_hand
    ),
    "dense behind dense": on_logits(lambda m, x: m.more(x), more=lambda: nn.Linear(4, 4)),
    # ends
    "Sigmoid": on_logits(lambda m, x: m.end(x / 4096), end=nn.Sigmoid),
    "LogSoftmax": on_logits(lambda m, x: m.end(x / 4096), end=lambda: nn.LogSoftmax(dim=1)),
    "F.log_softmax": on_logits(lambda m, x: F.log_softmax(x / 4096, dim=-1)),
    "softmax and time": on_logits(lambda m, x: torch.stack([(x / 4096).softmax(-1)]).mean(0)),
    "tanh": on_logits(lambda m, x: torch.tanh(x / 4096)),
    "vote": voted(lambda m, x: m.vote(x), vote=lambda: layer.VotingLayer(3)),
    "vote by hand": voted(lambda m, x: m.vote(x), vote=Voting),
    "vote as a mean": voted(lambda m, x: x.view(x.shape[0], 4, 3).mean(2)),
    "vote of currents": mapped(
        lambda m, x: m.vote(m.voters(body(m, x).flatten(1))), voters=voters, vote=Voting
    ),
    "one map a class": mapped(
        lambda m, x: m.last(body(m, x)).mean((2, 3)), last=lambda: nn.Conv2d(8, 4, 1)
    ),
    "one place of a map": mapped(
        lambda m, x: m.last(body(m, x)).flatten(1), last=lambda: nn.Conv2d(8, 4, 5, stride=4)
    ),
    "one place of a padded map": mapped(
        lambda m, x: m.last(F.max_pool2d(body(m, x), 4)), last=lambda: nn.Conv2d(8, 4, 3, 2, 1)
    ),
    "a mean of one place": mapped(
        lambda m, x: F.avg_pool2d(m.last(body(m, x)), 5), last=lambda: nn.Conv2d(8, 4, 1)
    ),
    "counts as answers": mapped(
        lambda m, x: m.sn2(m.last(body(m, x))).mean((2, 3)), last=lambda: nn.Conv2d(8, 4, 3)
    ),
}


REFUSED: dict[str, tuple[Any, str]] = {
    "a picture of the batch": (
        on_logits(lambda m, x: x[0]),
        "getitem: takes the part 0 of what fc",
    ),
    "a slice of logits": (on_logits(lambda m, x: x[:, :4][:, 1:]), "getitem_1: takes the part"),
    "repeat": (
        over_time(lambda m, x: timed(m, x).mean(0), lambda x: enter(x).repeat(4, 1, 1, 1, 1)),
        "repeat: repeat gives its input 4 times: more than one timestep",
    ),
    "expand": (
        over_time(lambda m, x: timed(m, x).mean(0), lambda x: enter(x).expand(3, -1, -1, -1, -1)),
        "expand: expand gives its input 3 times: more than one timestep",
    ),
    "stack": (
        over_time(lambda m, x: timed(m, x).mean(0), lambda x: torch.stack([x, x])),
        "stack: stack gives its input 2 times: more than one timestep",
    ),
    "max of counts": (
        on_spikes(lambda m, x: F.max_pool2d(F.avg_pool2d(x, 2), 3, 1, 1)),
        "max_pool2d: is the maximum of counts up to 4 in windows that overlap or are padded",
    ),
    "max of negative spikes": (
        on_spikes(lambda m, x: F.max_pool2d(-x, 2)),
        "max_pool2d: is the maximum of spikes times a",
    ),
    "mean of spikes, overlapping": (
        on_spikes(lambda m, x: F.avg_pool2d(x, 3, 2)),
        "fc: weights follow avg_pool2d, a mean or sum of spikes in windows that do not tile",
    ),
    "mean of currents, padded": (
        on_currents(lambda m, x: F.avg_pool2d(x, 3, 2, 1)),
        "avg_pool2d: a mean of currents over a",
    ),
    "mean without its padding": (
        on_currents(lambda m, x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)),
        "avg_pool2d: count_include_pad=False with padding cannot be exported",
    ),
    "ceil with a rest": (
        on_spikes(lambda m, x: F.max_pool2d(x, 3, ceil_mode=True)),
        "max_pool2d: ceil_mode where [2, 2]",
    ),
    "windows of two sizes": (
        on_spikes(lambda m, x: F.adaptive_avg_pool2d(x, 3)),
        "AdaptiveAvgPool2d from 8x8 to 3x3 has windows of different sizes",
    ),
    "mean over rows": (on_spikes(lambda m, x: x.mean(2)), "mean: the function mean is not among"),
    "a clamp that little noise does not show": (
        on_currents(lambda m, x: x.clamp(-9, 9)),
        "clamp: the function clamp is not among",
    ),
    "a tiny number shrunk": (
        on_currents(lambda m, x: F.hardshrink(x, 1e-20)),
        "hardshrink: the function hardshrink is not among",
    ),
    "the logarithm of a sum": (
        on_currents(lambda m, x: x.logsumexp((2, 3), keepdim=True)),
        "logsumexp: the function logsumexp is not among",
    ),
    "more pixels": (
        on_spikes(lambda m, x: F.interpolate(x, scale_factor=2)),
        "interpolate: the function interpolate is not among",
    ),
    "a sum with a factor": (
        on_spikes(lambda m, x: m.sn2(torch.add(x, m.conv2(x), alpha=2))),
        "add: add with alpha= cannot be exported",
    ),
    "relu of currents": (
        on_currents(lambda m, x: F.relu(x)),
        "relu: the function relu is not among",
    ),
    "a product of layers": (
        on_currents(lambda m, x: x * -x),
        "mul: multiplies what are not spikes; only spikes can be",
    ),
    "side by side": (
        on_spikes(lambda m, x: torch.cat([x, m.conv2(x)], 1)),
        "cat: cat of two layers' values",
    ),
    "a factor a pixel": (
        on_currents(lambda m, x: x * m.gain, gain=lambda: nn.Parameter(torch.rand(8, 8))),
        "mul: factor differs within a channel",
    ),
    "scaled spikes into weights": (
        on_spikes(lambda m, x: m.conv2(x * m.gain), gain=lambda: nn.Parameter(torch.rand(8, 1, 1))),
        "conv2: weights follow mul, which scales or shifts spikes",
    ),
    "sigmoid inside": (
        mapped(
            lambda m, x: m.last(torch.sigmoid(head(m, body(m, x)))), last=lambda: nn.Linear(4, 4)
        ),
        "last: reads what sigmoid gives, which only the output may be",
    ),
    "softmax over the batch": (
        on_logits(lambda m, x: x.softmax(0)),
        "softmax: the function softmax is not among",
    ),
    "relu of logits": (on_logits(lambda m, x: F.relu(x)), "relu: the function relu is not among"),
    "picture normalised": (
        mapped(lambda m, x: head(m, body(m, (x - 0.5) / 0.25))),
        "sub: normalises the picture; leave that out of forward, --mean and --std say it",
    ),
    "picture pooled": (
        mapped(lambda m, x: head(m, body(m, F.avg_pool2d(x, 2)))),
        "pools the picture",
    ),
    "half precision": (
        on_currents(lambda m, x: x.half().float()),
        "half: the function half is not",
    ),
    "dropout at work": (
        on_spikes(lambda m, x: F.dropout(x, 0.3)),
        "dropout: the function dropout is",
    ),
    "numbers of a layer": (
        on_currents(lambda m, x: x / x.abs().max().item()),
        "the function abs is not among",
    ),
    "last axis only": (
        on_spikes(lambda m, x: m.side(x), side=lambda: nn.Linear(SIDE, SIDE)),
        "side: Linear reads values of shape (8, 8, 8), not all in one row",
    ),
    "ReLU": (on_spikes(lambda m, x: m.act(m.conv2(x)), act=nn.ReLU), "act: ReLU is not among what"),
    "GroupNorm": (
        on_currents(lambda m, x: m.n(x), n=lambda: nn.GroupNorm(2, 8)),
        "n: GroupNorm is not",
    ),
    "batch statistics": (
        on_currents(lambda m, x: m.n(x), n=lambda: nn.BatchNorm2d(8, track_running_stats=False)),
        "n: BatchNorm2d keeps no running statistics",
    ),
    "a neuron of another version": (
        lambda: whole(
            nn.Sequential(nn.Flatten(), nn.Linear(192, 4), unheard_of(), nn.Linear(4, 4))
        ),
        "2: IFNode of a version that is not understood",
    ),
    "two timesteps": (lambda: whole(Loop(2)), "sn1: is called again: more than one timestep"),
    "size of the picture": (
        lambda: whole(nn.Sequential(nn.Flatten(), nn.Linear(3 * 100, 4), leaky(), nn.Linear(4, 4))),
        "1: Linear cannot be run on pictures of 8x8 (mat1 and mat2 shapes cannot be multiplied",
    ),
}
"""In one sentence that names the operation."""
