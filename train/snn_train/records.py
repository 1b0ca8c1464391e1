"""What a run writes down: a record an epoch, an outcome a stage. In files they are plain dicts."""

from dataclasses import asdict, dataclass
from typing import Any

TIMES = ("seconds", "validation_seconds", "images_per_second", "seconds_left")
"""Fields that say how long something took, or may take; of two runs of equal bits all others are
equal."""

OPTIONAL = (
    "training", "validation_seconds", "epochs_left", "seconds_left", "target", "strength"
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One epoch; a line of metrics.jsonl."""

    stage: str
    attempt: int
    """Retries of the stage before this epoch."""
    epoch: int
    """From 1."""
    epochs: int
    """Epochs of the stage."""
    loss: float
    """Mean over the epoch, without the penalty on spikes."""
    validation: float
    """Accuracy, 0 to 1."""
    spike_rate: float | None
    """MAC-weighted; None for the ANN."""
    rates: dict[str, float]
    """Firing rate of each layer, per neuron and timestep."""
    seconds: float
    """Of its steps."""
    images_per_second: float
    training: float | None = None
    """Accuracy over the epoch's augmented pictures, each before its step; None in older runs, as
    the next three."""
    validation_seconds: float | None = None
    epochs_left: int | None = None
    """Of all stages, after this one."""
    seconds_left: float | None = None
    """To the end of the run, at the speed of late."""
    target: float | None = None
    """Spike rate to end at; None where there is no budget."""
    strength: float | None = None
    """g of the penalty on spikes at the end of the epoch; None likewise."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers, without the fields that an older run or one without a budget
        lacks."""
        return _without_none(self, OPTIONAL)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "EpochRecord":
        """The inverse of `to_dict`. Raises: TypeError: missing or unknown keys."""
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class StageOutcome:
    """What the best state of a finished stage reached."""

    stage: str
    timesteps: int
    bits: int = 0
    """Bits of the integers it computes in; 0 for floating point."""
    validation: float
    """Accuracy, 0 to 1."""
    test: float | None
    """Accuracy; None until all stages are done."""
    spike_rate: float | None
    """MAC-weighted, over the validation images; None for the ANN."""
    rates: dict[str, float]
    """Firing rate of each layer there, per neuron and timestep."""
    epochs: int
    """Trained, retries included."""
    seconds: float
    test_rates: dict[str, float] | None = None
    """Firing rate of each layer over the test images."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers, without the test's rates where there are none yet."""
        return _without_none(self, ("test_rates",))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "StageOutcome":
        """The inverse of `to_dict`. Raises: TypeError: missing or unknown keys."""
        return cls(**values)


def _without_none(row: EpochRecord | StageOutcome, optional: tuple[str, ...]) -> dict[str, Any]:
    return {k: v for k, v in asdict(row).items() if v is not None or k not in optional}
