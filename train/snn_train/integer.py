"""The integer network: T = 1 trained through the quantiser, so that its graph is what was trained.

Normalisations keep the statistics they have, and everything in front of a population is folded into
weights w and a threshold θ′ as at export. Each output channel has one grid for all its projections:

    q = L / max |w|      L = 2^(bits−1) − 1      k = Σ round(q w) s      t = ⌊q θ′⌋
    fires where k > t                             u = (k − t) / (q θ)

Neurons of several levels have a t for each, of its own θ, and spike once for each that k exceeds.

s are pixels x − m, spikes, or counts of spikes, all integers, so k is one too and float32 adds it
up without rounding. With θ the neuron's own threshold, u is the I/θ − 1 of the stages before, and
the surrogate of u lets gradients through. Rounding counts as the identity on the way back, and q as
a constant. Scales and rounding are computed in float64, here and nowhere else: export takes these
integers as they are. Before any training they are those that export makes of the T = 1 network.

There is no dropout here: what it leaves is scaled, and would be no integer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snn_train.choices import BITS
from snn_train.data.normalisation import Normalisation
from snn_train.events.convolution import train_by_events
from snn_train.layout import IMAGE, Architecture
from snn_train.network import BatchNorm, Layer, SpikingNetwork, broadcast
from snn_train.neuron import fire_beyond
from snn_train.projection import project

FURTHEST = 2**24
"""Thresholds are held within ± this, which no current reaches: float32 counts no further."""


@dataclass(frozen=True, eq=False)
class Grid:
    """A population in integers, held in float64."""

    weights: tuple[Tensor, ...]
    """round(q w), `(O, I, kh, kw)` or `(O, I)`: the synapse's, then the shortcut's."""
    threshold: Tensor
    """`(K, O)`: t of every level."""
    unit: Tensor
    """`(O,)`: q θ, the neuron's own first threshold on the grid."""


class _Rounded(torch.autograd.Function):
    """Rounded on the way forth, the identity on the way back."""

    @staticmethod
    def forward(ctx: Any, exact: Tensor, rounded: Tensor) -> Tensor:
        return rounded

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


class IntegerNetwork(SpikingNetwork):
    """A T = 1 network that computes in integers of so many bits; its state is the T = 1 network's.

    Args:
        bits: 8, 6 or 4.
        pixels: what its images were normalised with.

    Raises:
        ValueError: other bits.
    """

    def __init__(self, architecture: Architecture, bits: int, pixels: Normalisation) -> None:
        if bits not in BITS:
            raise ValueError(f"integers of {bits} bits, expected 8, 6 or 4")
        super().__init__(architecture, 1)
        self.bits = bits
        self.deviation = pixels.deviation
        self.windows = {
            layer.plan.name: 1 if layer.max_pool else layer.plan.pool
            for layer in self.populations()
        }
        """Side of the square over which a population's spikes are counted."""
        self.gradients = torch.float32
        """What those of convolutions are computed in, as autocast says where it is called."""
        self.fire = fire

    def compiled(self) -> nn.Module:
        """Itself, with its firing compiled, and by events where it can. Weights are rounded as
        before, since export does it. Raises: DeviceError: there is no compiler."""
        train_by_events(self.populations(), self.readout.weight.device)
        self.fire = torch.compile(fire)
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `(B, classes)` for normalised images `(B, 3, H, W)`."""
        kind = images.device.type
        lower = torch.is_autocast_enabled(kind)
        self.gradients = torch.get_autocast_dtype(kind) if lower else torch.float32
        with torch.autocast(kind, enabled=False):  # bfloat16 counts to 256
            sent = {IMAGE: self.pixels(images)}
            for layer in self.populations():
                name = layer.plan.name
                values = sent[name] = self.send(layer, sent)
                if self.rates is not None:
                    self.rates[name] = values.mean() / self.windows[name] ** 2
            weight, scale = self.readout_grid()
            logits = F.linear(values.flatten(1), weight.float()) * scale
            return logits if self.readout.bias is None else logits + self.readout.bias

    def send(self, layer: Layer, sent: dict[str, Tensor]) -> Tensor:
        """What `layer` sends, `(B, …)`: spikes or counts of them, given integers."""
        spikes, window = self.spikes(layer, sent), self.windows[layer.plan.name]
        return F.avg_pool2d(spikes, window, divisor_override=1) if window > 1 else spikes

    def spikes(self, layer: Layer, sent: dict[str, Tensor]) -> Tensor:
        """Where `layer` fires, before any counting; max pooling of the currents is done."""
        grid, how = self.grid(layer), self.gradients
        by_events = layer.by_events and self.training
        current = project(layer.synapse, grid.weights[0], sent[layer.plan.source], how, by_events)
        if layer.plan.shortcut:
            values = sent[layer.plan.shortcut]
            current = current + project(layer.shortcut, grid.weights[1], values, how)
        neuron, current = layer.neuron, layer.largest(current)
        recorded = neuron.membranes is not None
        spikes, membrane = self.fire(
            current, grid.threshold.float(), grid.unit.float(), neuron.surrogate, recorded
        )
        if membrane is not None:
            neuron.record(membrane)
        return spikes

    def pixels(self, images: Tensor) -> Tensor:
        """The integers x − m that were normalised, in float32."""
        deviation = torch.tensor(self.deviation, dtype=torch.float32, device=images.device)
        return (images.float() * broadcast(deviation, images)).round()

    def grid(self, layer: Layer) -> Grid:
        """Fold what is in front of a population, and put it on its grid."""
        plan = layer.plan
        own = layer.neuron.thresholds().expand(-1, plan.channels)
        folded = [_fold(layer.synapse, layer.norm, self._factor(plan.source))]
        if plan.shortcut:
            factor = self._factor(plan.shortcut)
            if layer.shortcut is None:
                identity = own.new_ones((plan.channels, 1, 1, 1)) * factor
                folded.append((identity, own.new_zeros(plan.channels)))
            else:
                folded.append(_fold(layer.shortcut, layer.shortcut_norm, factor))
        scale = grid_scale([weight for weight, _ in folded], self.bits)
        exact = (own - torch.stack([constant for _, constant in folded]).sum(0)) * scale
        threshold = exact.detach().floor().clamp(-FURTHEST, FURTHEST)
        return Grid(
            tuple(_on_grid(weight, scale) for weight, _ in folded),
            _through(exact, threshold),
            own[0] * scale,
        )

    def readout_grid(self) -> tuple[Tensor, Tensor]:
        """Return the readout's integers `(C, I)` in float64, and the float32 `(C,)` that a sum of
        them is to be multiplied with."""
        weight = self.readout.weight.double() * self._factor(self.populations()[-1].plan.name)
        scale = grid_scale([weight], self.bits)
        return _on_grid(weight, scale), (1 / scale).float()

    def normalised_weights(self) -> list[Tensor]:
        """None: with their statistics fixed, normalisations no longer take a weight's size out."""
        return []

    def _factor(self, source: str) -> Tensor | float:
        """What an integer from `source` is worth in the T = 1 network."""
        if source != IMAGE:
            return 1 / self.windows[source] ** 2
        device = self.readout.weight.device
        return 1 / torch.tensor(self.deviation, dtype=torch.float64, device=device).view(1, 3, 1, 1)


def fire(
    current: Tensor, thresholds: Tensor, unit: Tensor, surrogate: str, recorded: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the spikes of integer currents `(B, O, …)`, and the membranes I/θ if they are wanted.

    Args:
        thresholds: t, `(K, O)`.
        unit: q θ, `(O,)`.
        surrogate: a key of `SURROGATES`.
        recorded: whether membranes are wanted.
    """
    width = broadcast(unit, current)
    # Added with their sign turned: a difference would turn that of every gradient.
    first, *others = (current + broadcast(-t, current) for t in thresholds)
    spikes = fire_beyond(first, width, surrogate)
    for excess in others:
        spikes = spikes + fire_beyond(excess, width, surrogate)
    return spikes, first / width + 1 if recorded else None


def in_integers(network: SpikingNetwork, bits: int, pixels: Normalisation) -> IntegerNetwork:
    """Return the integer network that begins where the T = 1 `network` ended."""
    integers = IntegerNetwork(network.architecture, bits, pixels)
    integers.load_state_dict(network.state_dict())
    return integers.to(next(network.parameters()).device)


@torch.no_grad()
def grid_scale(weights: Sequence[Tensor], bits: int) -> Tensor:
    """q, `(O,)`: one scale for all projections of a channel; 1 for a channel without weights."""
    largest = torch.stack([w.abs().flatten(1).amax(1) for w in weights]).amax(0)
    return torch.where(largest > 0, (2 ** (bits - 1) - 1) / largest, torch.ones_like(largest))


def _fold(
    synapse: nn.Conv2d | nn.Linear, norm: BatchNorm | None, factor: Tensor | float
) -> tuple[Tensor, Tensor]:
    """Weights for integers, `(O, I, …)`, and the constant current `(O,)` beside them, float64."""
    weight = synapse.weight.double()
    constant = weight.new_zeros(len(weight)) if synapse.bias is None else synapse.bias.double()
    if norm is not None:
        gain = norm.gains().double() / (norm.running_var.double() + norm.eps).sqrt()
        weight = weight * gain.view(-1, *[1] * (weight.dim() - 1))
        constant = norm.shift.double() + gain * (constant - norm.running_mean.double())
    return weight * factor, constant


def _on_grid(weight: Tensor, scale: Tensor) -> Tensor:
    exact = weight * scale.view(-1, *[1] * (weight.dim() - 1))
    return _through(exact, exact.detach().round())


def _through(exact: Tensor, rounded: Tensor) -> Tensor:
    result: Tensor = _Rounded.apply(exact, rounded)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return result
