"""The leaky integrate-and-fire neuron of IIR-SNN, and the surrogates that let gradients through.

    V[t] = λ V[t−1] + I[t]        s[t] = Σ_k [V[t] > θ_k]        V[t] ← V[t] − θ s[t]

V is the membrane, I the current, θ = θ_0 the threshold, λ the leak (Chowdhury et al., "One Timestep
is All You Need", ECCV 2022). There is one threshold, or one for each of K levels: s is 0 to K then,
and each spike takes θ away. Everything is divided by θ, which changes no spike and no gradient,
since the reset s is a constant to the gradient, as in the authors' code:

    U = V / θ:   U[t] = λ U[t−1] + I[t]/θ     s[t] = Σ_k [U[t] > 1 + r_k]     U[t] ← U[t] − s[t]

r_k is how far level k lies above the first, a sum of steps. 1/θ is then a factor on the current,
which a normalisation in front can absorb for free. The slope of a sum is the sum of the slopes.
The derivative ds/dU is a surrogate of u = U − 1. At T = 1 neither λ nor the reset has any effect.

Comparisons are written in place: a tensor of truth values takes torch ten times as long to convert.
"""

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from snn_train.choices import MOST_LEVELS

LOWEST_THRESHOLD = 1e-3
"""Thresholds are held at or above this: dividing by a θ ≤ 0 would turn the comparison around. So is
the step from each to the next: levels stay in their order."""
FIRST_STEP = 0.8
"""From a threshold to the next before training, in units of the first."""


def triangle(u: Tensor) -> Tensor:
    """0.3 · max(0, 1 − |u|): the paper's (Bellec et al. 2018)."""
    return (1 - u.abs()).clamp_min_(0).mul_(0.3)


def rectangle(u: Tensor) -> Tensor:
    """½ on |u| < 1: wide, of unit area (Hoyer-regularised SNNs, Datta et al. 2022)."""
    return u.abs().lt_(1).mul_(0.5)


def sech2(u: Tensor) -> Tensor:
    """½ · (1 − tanh² u): the derivative of a tanh-shaped step, of unit area."""
    return (1 - u.tanh().square_()).mul_(0.5)


SURROGATES: dict[str, Callable[[Tensor], Tensor]] = {
    "triangle": triangle,
    "rectangle": rectangle,
    "tanh": sech2,
}


class _Fire(torch.autograd.Function):
    """s = 1 if U > 1 else 0, with a surrogate's slope on the way back."""

    @staticmethod
    def forward(ctx: Any, membrane: Tensor, surrogate: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(membrane)
        ctx.surrogate = surrogate
        return membrane.clone().gt_(1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (membrane,) = ctx.saved_tensors
        return ctx.surrogate(membrane - 1).mul_(gradients[0]), None


def fire(membrane: Tensor, surrogate: str) -> Tensor:
    """Return the spikes of membranes in units of their threshold; strict, U = 1 stays silent."""
    spikes: Tensor = _Fire.apply(membrane, SURROGATES[surrogate])  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return spikes


class _FireBeyond(torch.autograd.Function):
    """s = 1 if e > ½ else 0 for integers e, with a surrogate's slope in u on the way back."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, excess: Tensor, surrogate: Callable[[Tensor], Tensor]
    ) -> Tensor:
        ctx.save_for_backward(u)
        ctx.surrogate = surrogate
        return excess.clone().gt_(0.5)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (u,) = ctx.saved_tensors
        return ctx.surrogate(u).mul_(gradients[0]), None, None


def fire_beyond(excess: Tensor, unit: Tensor, surrogate: str) -> Tensor:
    """Return the spikes of one level at T = 1 of integer currents, `(B, C, …)`.

    Args:
        excess: how far each is above the largest integer that stays silent. Compared with ½, so
            that sums which a device adds up a little off an integer are judged as that integer.
        unit: the neuron's threshold in the same units; broadcasts to `excess`.
        surrogate: a key of `SURROGATES`.
    """
    u = excess * unit.reciprocal()  # a quotient's gradient takes three times as long
    spikes: Tensor = _FireBeyond.apply(u, excess.detach(), SURROGATES[surrogate])  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return spikes


class Neuron(nn.Module):
    """A population of neurons with trainable thresholds. At T = 1 that is all there is to it; what
    happens from one timestep to the next is a subclass's own, in `over_time`.

    Args:
        channels: thresholds, one a channel; 1 for one scalar a layer, as in the paper.
        surrogate: a key of `SURROGATES`.
        levels: K, thresholds of a neuron.
    """

    def __init__(self, channels: int, surrogate: str, levels: int = 1) -> None:
        super().__init__()
        if surrogate not in SURROGATES:
            raise ValueError(f"surrogate {surrogate!r} is none of {', '.join(SURROGATES)}")
        if not 1 <= levels <= MOST_LEVELS:
            raise ValueError(f"{levels} levels, expected 1 to {MOST_LEVELS}")
        self.surrogate = surrogate
        self.threshold = nn.Parameter(torch.ones(channels))
        self.steps = nn.ParameterList(
            torch.full((channels,), FIRST_STEP) for _ in range(levels - 1)
        )
        """From each level's threshold to the next, in units of the first."""
        self.membranes: list[Tensor] | None = None
        """Set to a list to have U recorded at every timestep, before the reset."""

    def forward(self, drive: Tensor) -> Tensor:
        """Return spikes `(T, B, C, …)` for drives I/θ of the same shape."""
        return self.over_time(drive) if len(drive) > 1 else self.at_once(drive[0])[None]

    def at_once(self, drive: Tensor) -> Tensor:
        """Return the spikes at T = 1, `(B, C, …)`, for drives I/θ of the same shape."""
        self.record(drive)
        return self.spikes(drive)

    def over_time(self, drive: Tensor) -> Tensor:
        """Return those of each timestep, `(T, B, C, …)`, T > 1; `record` gets each one's U."""
        raise NotImplementedError

    def spikes(self, membrane: Tensor) -> Tensor:
        """Return Σ_k [U > 1 + r_k] for membranes `(B, C, …)` in units of the first threshold."""
        spikes = fire(membrane, self.surrogate)
        for rise in self.rises():  # added with its sign turned, or that of every gradient would be
            column = -rise.to(membrane.dtype).view(-1, *[1] * (membrane.dim() - 2))
            spikes = spikes + fire(membrane + column, self.surrogate)
        return spikes

    def rises(self) -> list[Tensor]:
        """r_1, r_2, … `(C,)`: how far each level lies above the first, in units of that."""
        return list(accumulate(self.steps))

    def thresholds(self) -> Tensor:
        """θ of every level, `(K, C)` in float64."""
        first = self.threshold.double()
        return torch.stack([first, *(first * (1 + rise.double()) for rise in self.rises())])

    def record(self, membrane: Tensor) -> None:
        """Keep U of a timestep, if membranes are recorded."""
        if self.membranes is not None:
            self.membranes.append(membrane)

    @torch.no_grad()
    def clamp(self) -> None:
        """Keep parameters in their ranges, here θ and steps > 0; called after every optimiser
        step."""
        for positive in (self.threshold, *self.steps):
            positive.clamp_(min=LOWEST_THRESHOLD)


class LIF(Neuron):
    """Leaky integrate-and-fire neurons with a trainable leak and a soft reset."""

    def __init__(self, channels: int, surrogate: str, levels: int = 1) -> None:
        super().__init__(channels, surrogate, levels)
        self.leak = nn.Parameter(torch.ones(1))

    def over_time(self, drive: Tensor) -> Tensor:
        leak = self.leak.to(drive.dtype)
        membrane = torch.zeros_like(drive[0])
        spikes = []
        for current in drive:
            membrane = leak * membrane + current
            self.record(membrane)
            spikes.append(self.spikes(membrane))
            membrane = membrane - spikes[-1].detach()
        return torch.stack(spikes)

    @torch.no_grad()
    def clamp(self) -> None:
        """Keep 0 ≤ λ ≤ 1 and θ > 0."""
        super().clamp()
        self.leak.clamp_(0, 1)


def neurons(channels: int, surrogate: str, levels: int) -> Neuron:
    """Return the neurons of a layer. Only here a kind of them is named."""
    return LIF(channels, surrogate, levels)
