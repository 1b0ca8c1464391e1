"""The stages of a run: what is trained at how many timesteps, and for how long.

ANN ─► T = 1 ─► integers                            recipe iir-bn
ANN ─► T = 5 ─► T = 4 ─► … ─► T = 1 ─► integers     recipe iir, or with --timesteps 5,4,3,2,1

Each stage starts from the one before.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One pass of training at a fixed number of timesteps."""

    timesteps: int
    """0 is the ANN."""
    epochs: int
    bits: int = 0
    """Bits of the integers that T = 1 is trained in; 0 for floating point."""

    @property
    def name(self) -> str:
        """`ann`, `t5`, …, `int4`; also the stem of the stage's checkpoint."""
        if self.bits:
            return f"int{self.bits}"
        return f"t{self.timesteps}" if self.timesteps else "ann"


LEAST_SHARE = 5
"""How many times as many epochs the last spiking stage has at least as any between it and the ANN,
where they share its hours."""


def straight(ann: int, spiking: int) -> tuple[Stage, ...]:
    """Return the ANN and T = 1 with so many epochs."""
    return Stage(0, ann), Stage(1, spiking)


def ladder(ann: int, spiking: int) -> tuple[Stage, ...]:
    """Return the ANN and T = 5, 4, 3, 2, 1 with so many epochs each."""
    return Stage(0, ann), *(Stage(t, spiking) for t in (5, 4, 3, 2, 1))


def changed(
    stages: Sequence[Stage],
    timesteps: Sequence[int] | None,
    epochs: Sequence[int] | None,
    bits: int,
    integer_epochs: int,
) -> tuple[Stage, ...]:
    """Return the stages with other timesteps or epochs, and with one in integers for `bits`.

    Args:
        timesteps: of the spiking stages; None keeps them.
        epochs: the ANN's, then each stage's, the last one repeats; None keeps them. Where there are
            fewer stages than before, those of the first ones and of the last are kept; where there
            was one spiking stage, all of them share its hours.
        integer_epochs: of the stage in integers, unless `epochs` has a number for it.

    Raises:
        ValueError: a list that is too long, or integers behind more than one timestep.
    """
    before = [stage for stage in stages if not stage.bits]
    steps = [0, *(timesteps or [stage.timesteps for stage in before[1:]])]
    if bits and steps[-1] != 1:
        raise ValueError(f"--int-bits {bits}: needs --timesteps that end at 1")
    counts = [stage.epochs for stage in before]
    if epochs:
        counts, most = [*epochs], len(steps) + bool(bits)
        if len(counts) > most:
            given = ",".join(map(str, epochs))
            raise ValueError(f"--epochs {given}: expected at most {most} numbers")
        if len(counts) > len(steps):
            integer_epochs = counts.pop()
    elif timesteps and len(before) == 2:
        counts[1:] = shared(before[1].timesteps * counts[1], timesteps)
    elif len(counts) > len(steps):
        counts = [*counts[: len(steps) - 1], counts[-1]]
    counts += [counts[-1]] * (len(steps) - len(counts))
    result = tuple(Stage(t, n) for t, n in zip(steps, counts, strict=True))
    return (*result, Stage(1, integer_epochs, bits)) if bits else result


def shared(hours: int, timesteps: Sequence[int]) -> list[int]:
    """Share the hours of `hours` epochs at T = 1 among spiking stages, at least an epoch each.

    An epoch at T counts T times. All stages but the last have n epochs, the last has what is left:

        n = ⌊hours / (Σ T + LEAST_SHARE · T_last)⌋        n_last = ⌊(hours − n Σ T) / T_last⌋
    """
    *between, last = timesteps
    each = max(1, hours // (sum(between) + LEAST_SHARE * last))
    left = (hours - each * sum(between)) // last
    return [*[each] * len(between), max(1, left)]


def check(stages: Sequence[Stage]) -> None:
    """Raises: ValueError: the stages do not lead from one to the next."""
    if not stages:
        raise ValueError("no stages to train")
    if any(stage.timesteps < 0 or stage.epochs < 1 for stage in stages):
        raise ValueError("stages need at least one timestep and one epoch")
    *before, last = stages
    if any(stage.bits for stage in before) or (last.bits and last.timesteps != 1):
        raise ValueError("integers come last, and at T=1")
    if last.bits and before and before[-1].timesteps != 1:
        raise ValueError(f"timesteps end at {before[-1].timesteps}, integers need T=1 first")
    spiking = [stage.timesteps for stage in stages if stage.timesteps and not stage.bits]
    if spiking != sorted(set(spiking), reverse=True):
        raise ValueError(f"timesteps {spiking} do not descend, expected such as 5, 3, 1")
