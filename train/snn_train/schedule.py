"""What is trained when: stages, learning rates, and the gate between one stage and the next.

    ANN ─► T = 5 ─► T = 4 ─► … ─► T = 1 ─► integers     each stage starts from the one before

The gate protects the descent (spike vanishing is why the paper lowers T step by step): a layer
whose firing rate leaves [0.005, 0.6], or an accuracy that falls past a budget, sends the stage back
to its best state with half the learning rate, at most three times.
"""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from snn_train.augment import Augmentation
from snn_train.choices import RATE_LIMITS, Optimiser, Precision, Regulariser

RETRIES = 3

INTEGER_SHARE = 0.3
"""Of the spiking stages' peak, for the integer stage: its weights are good already. On digits in 4
bits, three seeds, validation ended at 97.4, 98.1, 99.1 and 98.6 % for 0.03, 0.1, 0.3 and 1."""


@dataclass(frozen=True)
class Stage:
    """One pass of training at a fixed number of timesteps."""

    timesteps: int
    """0 is the ANN."""
    epochs: int
    bits: int = 0
    """Of the integers that T = 1 is trained in; 0 for floating point."""

    @property
    def name(self) -> str:
        """`ann`, `t5`, …, `int4`; also the stem of the stage's checkpoint."""
        if self.bits:
            return f"int{self.bits}"
        return f"t{self.timesteps}" if self.timesteps else "ann"

    @property
    def share(self) -> float:
        """Factor on the learning rate."""
        return INTEGER_SHARE if self.bits else 1.0


@dataclass(frozen=True)
class Settings:
    """Everything that decides the outcome of a run, besides the data and the architecture."""

    stages: tuple[Stage, ...]
    batch_size: int = 256
    optimiser: Optimiser = "adamw"
    learning_rate: float = 2e-3
    """At the peak of the one-cycle schedule."""
    spiking_learning_rate: float | None = None
    """The same for the spiking stages, which start from weights that are good already; None: the
    same as the ANN's."""
    weight_decay: float = 0.05
    """On weights only: thresholds, leaks and shifts are left alone."""
    warm_up: float = 0.15
    """Share of a stage's steps in which the learning rate rises."""
    constant: bool = False
    """The paper's schedule instead: constant, divided by 5 at 60, 80 and 90 % of a stage."""
    label_smoothing: float = 0.1
    distillation: float = 0.0
    """Share of the loss that asks for the ANN's output instead of the label."""
    percentile: float = 85.0
    """Of a layer's pre-activations, taken as its first threshold."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    largest_drop: float = 0.1
    """Validation accuracy a spiking stage may end below the stage before it."""
    validation: float = 0.1
    """Share of the training set held out to select models; at most 5,000 images."""
    precision: Precision = "float32"
    seed: int = 0
    spike_rate: float | None = None
    """MAC-weighted share of spikes to end at; None leaves the rate to itself."""
    regulariser: Regulariser = "synaptic"
    """What drives the rate there."""
    ema: float | None = None
    """Decay of the moving average of the weights that is measured and kept; None: the weights."""
    spiking_optimiser: Optimiser | None = None
    """Of the spiking stages; None: the same as the ANN's."""
    spiking_weight_decay: float | None = None
    """Likewise."""
    rate_limits: tuple[float, float] = RATE_LIMITS
    """Share of a layer's neurons that may fire, at least and at most."""

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("no stages to train")
        if any(stage.timesteps < 0 or stage.epochs < 1 for stage in self.stages):
            raise ValueError("stages need at least one timestep and one epoch")
        *before, last = self.stages
        if any(stage.bits for stage in before) or (last.bits and last.timesteps != 1):
            raise ValueError("integers come last, and at T=1")
        if last.bits and before and before[-1].timesteps != 1:
            raise ValueError(f"timesteps end at {before[-1].timesteps}, integers need T=1 first")
        spiking = [stage.timesteps for stage in self.stages if stage.timesteps and not stage.bits]
        if spiking != sorted(set(spiking), reverse=True):
            raise ValueError(f"timesteps {spiking} do not descend, expected such as 5, 3, 1")

    def peak(self, timesteps: int) -> float:
        """The highest learning rate of a stage."""
        own = self.spiking_learning_rate if timesteps else None
        return self.learning_rate if own is None else own

    def method(self, timesteps: int) -> tuple[Optimiser, float]:
        """The optimiser of a stage and its weight decay."""
        optimiser = self.spiking_optimiser if timesteps else None
        decay = self.spiking_weight_decay if timesteps else None
        return optimiser or self.optimiser, self.weight_decay if decay is None else decay

    @property
    def teacher(self) -> str:
        """The stage that the others are distilled from: the first, or for a run that begins with
        another's T = 1 network, that network."""
        return "t1" if self.stages[0].bits else self.stages[0].name

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers, the inverse of `from_dict`."""
        stages = [[s.timesteps, s.epochs, *([s.bits] if s.bits else [])] for s in self.stages]
        return asdict(self) | {"stages": stages}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Settings":
        stages = tuple(Stage(*numbers) for numbers in values["stages"])
        augmentation = Augmentation(**values["augmentation"])
        low, high = values.get("rate_limits", RATE_LIMITS)  # older runs have none
        mine = {"stages": stages, "augmentation": augmentation, "rate_limits": (low, high)}
        return cls(**values | mine)


def learning_rate(settings: Settings, timesteps: int, step: int, steps: int, attempt: int) -> float:
    """Return the rate for `step` of `steps` in a stage: one cycle, linear up and cosine down.

    Every retry halves it.
    """
    peak = settings.peak(timesteps) * 0.5**attempt
    done = step / steps
    if settings.constant:
        return peak / math.pow(5, sum(done >= mark for mark in (0.6, 0.8, 0.9)))
    if done < settings.warm_up:
        return peak * (step + 1) / (settings.warm_up * steps + 1)
    falling = (done - settings.warm_up) / (1 - settings.warm_up)
    return peak * 0.5 * (1 + math.cos(math.pi * falling))


def gate(
    timesteps: int,
    rates: dict[str, float],
    accuracy: float,
    before: float | None,
    drop: float,
    limits: tuple[float, float] = RATE_LIMITS,
) -> str:
    """Return why a spiking stage may not pass on, or an empty string if it may.

    Args:
        rates: firing rate a layer, per neuron and timestep.
        accuracy: validation accuracy of the stage's best state, 0 to 1.
        before: that of the stage before it, None for the first.
        drop: the largest fall allowed.
        limits: the lowest and the highest rate allowed.
    """
    if not math.isfinite(accuracy):
        return "loss is not finite"
    if timesteps == 0:
        return ""
    low, high = limits
    for layer, rate in rates.items():
        if not low <= rate <= high:
            return f"{layer} fires at {rate:.2%}, expected {100 * low:g}% to {100 * high:g}%"
    if before is not None and accuracy < before - drop:
        return f"accuracy fell from {before:.2%} to {accuracy:.2%}, budget is {drop:.0%}"
    return ""
