"""Folding: normalisation, thresholds and pooling factors into weights and one threshold a channel.

Pure numpy in float64, arrays in and arrays out. For a neuron behind batch normalisation,

    γ (W ∗ s + b − μ) / √(σ² + ε) + β > θ      ⇔      W′ ∗ s > θ′

    g = γ / √(σ² + ε)        W′ = g W        θ′ = θ − β − g (b − μ)

Multiplying by g, never dividing by γ, keeps a negative γ right (the sign moves into the weights).
Max pooling in front of the normalisation equals OR of the spikes behind it only while g > 0, so a
pooled channel with g ≤ 0 is refused. An average over k×k spikes is their sum with W′/k², and pixels
that were trained on as (x − m)/d arrive as x − m with W′/d.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from snn_runtime.errors import ModelError
from snn_runtime.graph import Image, Weightless

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Norm:
    """Batch normalisation's running statistics and parameters, `[O]` each."""

    gain: Array
    """γ"""
    shift: Array
    """β"""
    mean: Array
    variance: Array
    epsilon: float

    @property
    def scale(self) -> Array:
        """g"""
        return np.asarray(self.gain / np.sqrt(self.variance + self.epsilon))


@dataclass(frozen=True, eq=False)
class Synapse:
    """A projection before quantisation: float64 weights and what they bring to the threshold."""

    source: str
    weight: Array
    """`[O, I/groups, kh, kw]` or `[O, I]`"""
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1
    offset: Array | float = 0.0
    """`[O]`: a constant current that comes with it, such as a bias."""

    def scaled(self, factor: Array | float) -> "Synapse":
        """Return the synapse with its weights times `factor`, broadcast over `[O, I, …]`."""
        return replace(self, weight=self.weight * factor)


@dataclass(frozen=True, eq=False)
class Neurons:
    """A population before quantisation: fires where Σ synapses > θ."""

    name: str
    synapses: tuple[Synapse, ...]
    threshold: Array
    """`[O]`, or `[K, O]` of K levels"""
    closed: bool | npt.NDArray[np.bool_] = False
    """Fires where the sum equals θ too, as SpikingJelly's neurons do; `[K]` of K levels."""


@dataclass(frozen=True, eq=False)
class FoldedReadout:
    """`logits = W s + b` in float64."""

    source: str
    weight: Array
    """`[C, I]`"""
    bias: Array
    """`[C]`"""


@dataclass(frozen=True, eq=False)
class FoldedNetwork:
    """A feed-forward T = 1 network with nothing but weights, thresholds and pools left in it."""

    image: Image
    """`offset` is the mean that was trained with, whole or not."""
    nodes: tuple[Neurons | Weightless, ...]
    readout: FoldedReadout
    labels: tuple[str, ...]
    bits: int = 8
    """Bits of the integers that weights are rounded to: 8, 6 or 4."""


def fold_norm(synapse: Synapse, norm: Norm) -> Synapse:
    """Return the synapse that does what `synapse` and the normalisation behind it do."""
    gain = norm.scale
    column = gain.reshape(-1, *[1] * (synapse.weight.ndim - 1))
    offset = norm.shift + gain * (synapse.offset - norm.mean)
    return replace(synapse, weight=synapse.weight * column, offset=offset)


def fold_threshold(
    name: str,
    synapses: tuple[Synapse, ...],
    threshold: Array,
    *,
    closed: bool | npt.NDArray[np.bool_] = False,
    remedy: str = "train it further",
) -> Neurons:
    """Return neurons whose synapses bring no constant current: it is in the threshold.

    Args:
        threshold: θ, `[O]` or `[1]`; of several levels `[K, O]` or `[K, 1]`.
        remedy: What to do about θ ≤ 0.

    Raises:
        ModelError: `bad_threshold` for θ ≤ 0, `bad_weights` for what is not finite.
    """
    if not np.isfinite(threshold).all():
        raise ModelError("bad_threshold", f"{name}: a threshold is not finite")
    if (threshold <= 0).any():
        lowest = float(threshold.min())
        raise ModelError(
            "bad_threshold",
            f"{name}: threshold {lowest:g} is not positive, expected one above 0; {remedy}",
        )
    channels = len(synapses[0].weight)
    constant = sum((np.asarray(s.offset, np.float64) for s in synapses), np.zeros(channels))
    for synapse in synapses:
        if not np.isfinite(synapse.weight).all():
            raise ModelError("bad_weights", f"{name}: a weight is not finite")
    if not np.isfinite(constant).all():
        raise ModelError("bad_weights", f"{name}: a normalisation or bias is not finite")
    bare = tuple(replace(synapse, offset=0.0) for synapse in synapses)
    return Neurons(name, bare, threshold - constant, closed)


def check_pooled_before_norm(name: str, norm: Norm) -> None:
    """Refuse a channel in which max pooling and the threshold do not commute.

    Raises:
        ModelError: `negative_gain`, naming the layer and the channel.
    """
    wrong = np.flatnonzero(norm.gain <= 0)
    if len(wrong):
        raise ModelError(
            "negative_gain",
            f"{name}: channel {wrong[0]} is max-pooled before a normalisation with gain "
            f"{norm.gain[wrong[0]]:g}, expected a positive one",
        )
