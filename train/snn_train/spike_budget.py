"""A budget of spikes: a penalty on them, and the controller that finds how strong it has to be.

What a spiking network costs is the MAC-weighted rate of its spikes, r = Σ cᵢ rᵢ / Σ cᵢ, with rᵢ the
spikes a neuron and timestep of population i, and cᵢ the multiply-adds that they cause downstream.
In the last stage g Ω / w is added to the loss; w is the rate wanted at this step, and Ω one of

    synaptic   Ω = Σ cᵢ rᵢ / Σ cᵢ = r
               Spiking synaptic penalty (Suetake et al., arXiv:2302.01500) with p = 1: every spike
               weighs what it costs. Differentiable through the surrogate of the neuron.
    hoyer      Ω = Σ Hᵢ / Σ nᵢ     Hᵢ = (Σ|u|)² / Σ u²     u = clip(U, 0, 1)
               Hoyer regulariser (Datta et al., arXiv:2212.10170) of population i's nᵢ membranes U,
               in units of their thresholds. H goes from 1 (one membrane holds all) to nᵢ (all are
               alike). The paper adds Σ Hᵢ; over Σ nᵢ it does not depend on network or batch size.

g is not chosen but controlled, from the rate r̄ of the last training batches:

    w = R (r₀/R)^max(0, 1 − done/TRANSITION)        from the stage's first rate r₀ to the target R
    e = log(r̄ / w), within ±1
    g = sinh(l + DAMPING e)                      l ← l + GAIN e / steps of the stage

sinh is linear around 0 and exponential beyond: g finds its order of magnitude as soon as its value,
and is negative, a reward for spikes, where the network is sparser than wanted. r̄ and r₀ carry a
slow correction by what validation measures, since normalisations differ between training and use,
and pictures with holes make fewer spikes. Were r₀ without it, a network that begins at its target
would be driven below it first.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from snn_train.choices import Regulariser
from snn_train.network import SpikingNetwork
from snn_train.parallel import Team

TOLERANCE = 0.1
"""Relative distance from the target at which a run may end."""
BAND = 0.05
"""Relative distance below which states differ by accuracy alone. Half of what is allowed: over
other pictures than those of validation the rate is a little different."""
TRANSITION = 0.4
"""Fraction of the stage in which the rate moves; in the rest the network recovers at its target."""
GAIN = 20.0
DAMPING = 4.0
LIMIT = 3.0
"""Bound of |l| and of sinh's argument. At sinh 3 = 10 the penalty outweighs every other loss."""
MEMORY = 0.9
"""Weight of r̄ when a new batch is averaged in."""
LARGEST_CORRECTION = 2.0
"""Bound of r̄'s correction, either way. Pictures that have holes or are blended make fewer spikes
than those of validation, which made 1.3 times as many with `cutout=16,colour=30` and 1.6 times with
`mixup=100`."""


def synaptic_penalty(network: SpikingNetwork, rates: dict[str, Tensor]) -> Tensor:
    """Σ cᵢ rᵢ / Σ cᵢ."""
    costs = network.costs()
    spent = torch.stack([rates[source] * macs for source, macs in costs]).sum()
    return spent / sum(macs for _, macs in costs)


def hoyer_penalty(membranes: list[Tensor]) -> Tensor:
    """Σ Hᵢ / Σ nᵢ of every population's membranes, in units of their thresholds."""
    clipped = [u.float().clamp(0, 1) for u in membranes]
    tiny = torch.finfo(torch.float32).tiny  # where no membrane is above 0
    hoyer = torch.stack([u.sum().square() / u.square().sum().clamp(min=tiny) for u in clipped])
    return hoyer.sum() / sum(u.numel() for u in clipped)


def start_recording(network: SpikingNetwork, regulariser: Regulariser) -> None:
    """Let the next forward pass record rates, and membranes if the regulariser needs them."""
    network.rates = {}
    if regulariser == "hoyer":
        for layer in network.populations():
            layer.neuron.membranes = []


def stop_recording(network: SpikingNetwork) -> tuple[Tensor, Tensor]:
    """Return Ω and the MAC-weighted rate of the pass since `start_recording`."""
    assert network.rates is not None
    rate = penalty = synaptic_penalty(network, network.rates)
    network.rates = None
    membranes = [torch.stack(p.neuron.membranes) for p in network.populations()
                 if p.neuron.membranes]  # fmt: skip
    if membranes:
        penalty = hoyer_penalty(membranes)
    for layer in network.populations():
        layer.neuron.membranes = None
    return penalty, rate.detach()


@dataclass
class SpikeBudget:
    """A target and the state of its controller, in tensors so that no step waits for the device."""

    target: float
    """R, 0 to 1."""
    level: Tensor
    """l."""
    rate: Tensor
    """r̄, before its correction."""
    first: Tensor
    """r₀, before its correction."""
    wanted: Tensor
    """w of the last step."""
    correction: float = 1.0
    """Rate in validation over rate in training."""

    @classmethod
    def of(cls, target: float, device: torch.device) -> "SpikeBudget":
        """Return a controller that has seen nothing."""
        rate = torch.tensor(target, dtype=torch.float64, device=device)
        return cls(target, torch.zeros_like(rate), rate, rate, rate)

    def penalty(
        self, network: SpikingNetwork, team: Team, done: int, steps: int, observe: bool
    ) -> Tensor:
        """g Ω / w of the forward pass since `start_recording`, to be added to the loss.

        Args:
            observe: let the controller see the pass, `done` of the stage's `steps` behind it.
        """
        omega, rate = stop_recording(network)
        if observe:
            self.observe(team.mean(rate), done, steps)
        return self.price() * omega

    def observe(self, rate: Tensor, done: int, steps: int) -> None:
        """Take in the rate of a batch, `done` of the stage's `steps` behind it."""
        rate = rate.double()
        if done == 0:
            self.first = self.rate = rate.clamp(min=1e-4)
        self.rate = MEMORY * self.rate + (1 - MEMORY) * rate
        left = max(0.0, 1 - done / steps / TRANSITION)
        begun = self.first * self.correction
        self.wanted = self.target * (begun / self.target) ** left
        self.level = (self.level + GAIN / steps * self._error()).clamp(-LIMIT, LIMIT)

    def price(self) -> Tensor:
        """g / w: what Ω costs."""
        return self.strength() / self.wanted

    def strength(self) -> Tensor:
        """g."""
        return (self.level + DAMPING * self._error()).clamp(-LIMIT, LIMIT).sinh()

    def _error(self) -> Tensor:
        error = (self.rate * self.correction / self.wanted).log()
        return error.nan_to_num(0.0, 1.0, -1.0).clamp(-1, 1)

    def correct(self, validated: float) -> None:
        """Take in the rate that validation measured after an epoch."""
        seen = float(self.rate)
        if seen > 0 and math.isfinite(validated / seen):
            followed = math.sqrt(self.correction * validated / seen)
            self.correction = min(max(followed, 1 / LARGEST_CORRECTION), LARGEST_CORRECTION)

    def distance(self, rate: float) -> float:
        """How far a validated rate is outside the band, relative to the target."""
        return max(0.0, abs(rate / self.target - 1) - BAND)

    def problem(self, rate: float) -> str:
        """Why a run may not end at this rate; empty if it may."""
        if abs(rate / self.target - 1) <= TOLERANCE:
            return ""
        return f"spike rate is {rate:.2%}, expected {self.target:.2%} to within a tenth of it"
