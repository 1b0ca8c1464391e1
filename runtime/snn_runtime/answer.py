"""What a network says about a picture: its labels, and how probable they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from snn_runtime.calibration import UNCALIBRATED, Calibration, Numbers
from snn_runtime.errors import UsageError

UNSURE_BELOW = 0.5
"""Probability of the first label under which an answer counts as unsure: the others together are
then more likely than it."""


@dataclass(frozen=True)
class Prediction:
    """One label for one picture."""

    label: str
    index: int
    logit: float
    probability: float


@dataclass(frozen=True, repr=False)
class Answer:
    """What the network says about one picture, the most probable label first."""

    predictions: tuple[Prediction, ...]
    """The most probable first; of `Model.classify` one a class."""
    warnings: tuple[str, ...] = ()
    """The warnings about the picture: `only the first of its frames is used`."""
    threshold: float = UNSURE_BELOW
    """Probability of the first label under which the answer counts as unsure."""
    unfamiliar: bool = False
    """Whether the picture is unlike anything in training, as far as the model file can tell."""

    @property
    def label(self) -> str:
        return self.predictions[0].label

    @property
    def probability(self) -> float:
        return self.predictions[0].probability

    @property
    def unsure(self) -> bool:
        """Whether the first label is less probable than asked for: by default, than the others
        together."""
        return self.probability < self.threshold

    @property
    def doubts(self) -> tuple[str, ...]:
        """What speaks against it, in words."""
        return ("unlike anything in training",) * self.unfamiliar + ("unsure",) * self.unsure

    @property
    def doubtful(self) -> bool:
        """Whether nothing should be done on the strength of it."""
        return bool(self.doubts)

    def top(self, count: int) -> tuple[Prediction, ...]:
        """Return the `count` most probable labels, or as many as there are.

        Raises:
            UsageError: `count` is negative.
        """
        if count < 0:
            raise UsageError("bad_value", f"top({count}): expected 0 or more")
        return self.predictions[:count]

    def record(self) -> dict[str, object]:
        """Return what programs are told: the fields of `snn-infer --format json`."""
        return {
            "predictions": [vars(prediction) for prediction in self.predictions],
            "unsure": self.unsure,
            "unfamiliar": self.unfamiliar,
            "warnings": self.warnings,
        }

    def __repr__(self) -> str:
        warned = f", {len(self.warnings)} warnings" * bool(self.warnings)
        return f"<Answer {self.label!r} {self.probability:.1%}{warned}>"


def answers_of(
    logits: npt.NDArray[np.float32],
    labels: Sequence[str],
    calibration: Calibration = UNCALIBRATED,
    warnings: Sequence[tuple[str, ...]] | None = None,
    top: int | None = None,
    threshold: float = UNSURE_BELOW,
    *,
    distances: Numbers | None = None,
) -> list[Answer]:
    """Return what a network says about pictures, one for each row of `logits` `[N, classes]`.

    Args:
        warnings: about each picture.
        top: how many of the most probable classes an answer holds, of equals the one with the lower
            index first; None is all.
        threshold: see `Answer`.
        distances: of the pictures, `[N]`: see `familiarity`.
    """
    order = np.argsort(-logits, axis=1, kind="stable")[:, :top]
    values = (logits, calibration.probabilities(logits))
    columns = [order, *(np.take_along_axis(each, order, 1) for each in values)]
    ranked = [
        tuple(Prediction(labels[i], i, logit, p) for i, logit, p in zip(*row, strict=True))
        for row in zip(*(column.tolist() for column in columns), strict=True)
    ]
    told = warnings or [()] * len(ranked)
    known = calibration.familiarity
    far = [False] * len(ranked)
    if known is not None and distances is not None:
        far = (distances > known.farthest).tolist()
    return [Answer(p, w, threshold, f) for p, w, f in zip(ranked, told, far, strict=True)]
