"""Probabilities that mean something: two numbers fitted on pictures that nobody trained on.

    minimise over T and f    − Σ_i Σ_k t_ik ln p_ik + ½ (ln T / σ)² + ½ (f K / φ)²

N validation pictures, the logits those of the exported integers, p as in `snn_runtime.calibration`.
t is 1 − 1 / (N + 2) for a picture's own class and the rest for all others alike, as Platt (1999)
smooths targets: pictures that are all right do not make it certain. Nor do they say how much less
sure to be of a weaker logit. There the other terms decide, normal densities of ln T and of f K
before any picture is seen. Where pictures are thousands, they hardly count.

Expected calibration error (Guo et al. 2017): pictures are sorted by the probability of their first
label into bins of equally many, and the gaps between its mean and the fraction that is right are
averaged over all pictures.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from snn_export.provenance import split_of
from snn_export.verify import parts
from snn_runtime.calibration import UNCALIBRATED, Calibration, Familiarity, Numbers
from snn_runtime.engines import Backend
from snn_runtime.errors import InputError
from snn_runtime.graph.reference import Counts
from snn_train.data import DataSet
from snn_train.data.on_disk import Images, subset
from snn_train.experiment import digest

BINS = 15
"""Of the calibration error."""
TEMPERATURES = (1 / 32, 32.0)
"""The least and the highest that are fitted."""
HIGHEST_FLOOR = 0.9
"""As a share of 1 / K."""
SPREADS = (0.5, 0.1)
"""σ and φ; label smoothing of 0.1 makes f K = 0.1."""
KEPT = 0.95
"""Share of validation pictures that count as like those in training."""
COUNTED = 2000
"""Pictures whose spikes are counted."""
FINEST = 1e-4
"""Step of ln T and of f K at which the search ends."""
Logits: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.int64]


def fit(logits: Logits, labels: Labels) -> Calibration:
    """Return what makes the best probabilities of logits `[N, K]` for labels `[N]`.

    The best of a coarse grid, then a pattern search: a step either way of ln T or of f, half as
    long where none is better.
    """
    classes = logits.shape[1]
    if classes == 1:
        return UNCALIBRATED
    grid = [(lnt, share) for lnt in np.arange(-2, 2.5, 0.5) for share in np.arange(0, 0.5, 0.1)]
    least, at = min((_loss(point, logits, labels), point) for point in grid)
    step = 0.25
    while step > FINEST:
        around = [(at[0] + sign * step, at[1]) for sign in (-1, 1)]
        around += [(at[0], at[1] + sign * step / 5) for sign in (-1, 1)]
        loss, best = min((_loss(point, logits, labels), point) for point in around)
        if loss < least:
            least, at = loss, best
        else:
            step /= 2
    return _at(at, classes)


def _at(point: tuple[float, float], classes: int) -> Calibration:
    """The calibration of (ln T, f K), in four digits."""
    temperature = np.clip(np.exp(point[0]), *TEMPERATURES)
    floor = np.clip(point[1], 0, HIGHEST_FLOOR) / classes
    return Calibration(float(f"{temperature:.4g}"), float(f"{floor:.4g}"))


def _loss(point: tuple[float, float], logits: Logits, labels: Labels) -> float:
    """What is minimised, a picture, at (ln T, f K)."""
    count, classes = logits.shape
    p = _at(point, classes).probabilities(logits)
    logs = np.log(np.maximum(p, np.finfo(np.float64).tiny))
    rest = 1 / (count + 2)
    own = np.take_along_axis(logs, labels[:, None], 1)[:, 0]
    others = (logs.sum(1) - own) / (classes - 1)
    prior = sum((value / spread) ** 2 for value, spread in zip(point, SPREADS, strict=True)) / 2
    return float(prior / count - ((1 - rest) * own + rest * others).mean())


def calibration_error(probabilities: Numbers, labels: Labels, bins: int = BINS) -> float:
    """Return the expected calibration error, 0 to 1, of probabilities `[N, K]`."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    order = np.argsort(confidence, kind="stable")
    gaps = [
        abs(float(confidence[part].sum()) - int(right[part].sum()))
        for part in np.array_split(order, min(bins, len(order)))
    ]
    return sum(gaps) / len(labels)


def held_out(facts: Mapping[str, Any], data: DataSet) -> tuple[torch.Tensor, str]:
    """Return which training pictures of `data` a network did not learn from, and a note.

    Args:
        facts: its provenance.

    Raises:
        ModelError: `bad_graph`: the provenance is no training's.
    """
    fraction, seed, share = split_of(facts)
    known = facts.get("data_digest")
    if data.held_out is not None:
        note = "pictures of the folder that selects"
    elif known is not None and known != digest(data):
        fraction, share, note = 1.0, 1.0, "training pictures, which are not those it was trained on"
    elif facts.get("settings"):
        note = "validation pictures of its training"
    else:
        note = "training pictures; nobody knows whether it was trained on them"
    return data.split(fraction, seed, share)[1], note


@dataclass(frozen=True)
class Confidence:
    """What was fitted, and what it is worth on the test pictures."""

    calibration: Calibration
    data: str
    """As `--data` names it."""
    images: int
    """Pictures that it was fitted on."""
    source: str
    """Which pictures these are."""
    accuracy: float
    """On them."""
    test_images: int
    test_accuracy: float
    calibration_error: tuple[float, float]
    """On the test pictures, without calibration and with it."""
    unfamiliar: float | None
    """Share of the test pictures that count as unlike anything in training; None: the file has too
    few to go by, and calls none so."""

    def facts(self) -> dict[str, Any]:
        """What reports and the file's provenance say."""
        own = {key: value for key, value in vars(self).items() if key != "calibration"}
        before, after = self.calibration_error
        errors = {"before": round(before, 5), "after": round(after, 5), "bins": BINS}
        fitted = {key: getattr(self.calibration, key) for key in ("temperature", "floor")}
        return {**fitted, **own, "kept": KEPT, "calibration_error": errors, "learnt": self.learnt}

    @property
    def learnt(self) -> bool:
        """Whether it looks as if the network had learnt from the pictures it was fitted on: more of
        them are right than four standard deviations of chance explain."""
        chance = self.accuracy * (1 - self.accuracy) / self.images
        chance += self.test_accuracy * (1 - self.test_accuracy) / self.test_images
        return self.accuracy - self.test_accuracy > 4 * math.sqrt(chance)


def calibrate(
    engine: Backend,
    channels: Mapping[str, int],
    facts: Mapping[str, Any],
    data: DataSet,
    test: Logits,
) -> Confidence:
    """Fit a network's calibration on pictures that it did not learn from.

    Args:
        channels: Of the network's populations, in its order.
        facts: The network's provenance.
        test: Logits of the test pictures, which only measure.

    Raises:
        InputError: `bad_data`: there is none.
    """
    chosen, source = held_out(facts, data)
    if not len(chosen):
        raise InputError(
            "bad_data", f"{data.name}: none of its pictures is left to fit probabilities on"
        )
    images = subset(data.train_images, chosen)
    logits = np.concatenate([engine.run(images[part].numpy()) for part in parts(images)])
    labels, test_labels = data.train_labels[chosen].numpy(), data.test_labels.numpy()
    known = familiarity(_counts(engine, images), channels)
    calibration = replace(fit(logits, labels), familiarity=known)
    before, after = (
        calibration_error(each.probabilities(test), test_labels)
        for each in (UNCALIBRATED, calibration)
    )
    return Confidence(
        calibration,
        data.name,
        len(labels),
        source,
        float((logits.argmax(1) == labels).mean()),
        len(test_labels),
        float((test.argmax(1) == test_labels).mean()),
        (before, after),
        None if known is None else _far(known, _counts(engine, data.test_images)),
    )


def _far(known: Familiarity, counts: Counts) -> float:
    return float((known.distances(counts) > known.farthest).mean())


def _counts(engine: Backend, images: Images) -> Counts:
    """Return the spikes of every channel for at most `COUNTED` of the pictures."""
    sample = subset(images, torch.arange(0, len(images), max(1, -(-len(images) // COUNTED))))
    return np.concatenate([engine.count(sample[part].numpy())[1] for part in parts(sample)])


def familiarity(counts: Counts, channels: Mapping[str, int]) -> Familiarity | None:
    """Return what tells other pictures from those of `counts`, given how many channels each
    population has; None where these are too few.

    Half of the pictures, every second one, say what is usual; the distances of the others say what
    is far. Distances of pictures from their own mean would be too short. Of n such distances the
    ⌈0.95 (n + 1)⌉-th is the limit, so that another picture of the kind is within it 95 times in 100
    (split conformal prediction, Vovk et al. 2005). Of fewer than 19 there is no such one.
    """
    rank = math.ceil(KEPT * (len(counts) // 2 + 1))
    if rank > len(counts) // 2:
        return None
    populations = np.split(counts[::2], np.cumsum(list(channels.values()))[:-1], axis=1)
    usual = tuple(
        (name, _digits(seen.mean(0)), _digits(np.maximum(seen.std(0), 0.5)))
        for name, seen in zip(channels, populations, strict=True)
    )
    known = Familiarity(1.0, usual)
    farthest = float(np.sort(known.distances(counts[1::2]))[rank - 1])
    return replace(known, farthest=float(f"{max(farthest, 1e-3):.4g}"))


def _digits(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """Four digits of each."""
    return tuple(float(f"{value:.4g}") for value in values)
