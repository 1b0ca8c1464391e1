"""What passes through a graph: the arrays, their limits, and how what exceeds them is refused."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snn_runtime.errors import ModelError

FloatArray: TypeAlias = npt.NDArray[np.float32]
Weights: TypeAlias = npt.NDArray[np.int8] | npt.NDArray[np.float32]
Numbers: TypeAlias = npt.NDArray[Any]
"""What nodes send: int64 where weights are int8, float64 where they are float32."""
Shape: TypeAlias = tuple[int, ...]
"""The shape of what a node sends for one example: `(C, H, W)` or `(O,)`."""

INPUT = "image"
"""Name under which projections refer to the image itself."""
OUTPUT = "logits"
READOUT = "readout"
EXACT_BOUND = 2**24
"""Integers below this are exact in float32, so any order of addition gives the same sum."""
FLOAT_BOUND = float(np.finfo(np.float32).max)
"""What lies beyond is infinite in float32, and ∞ − ∞ is no number."""
MAX_EVENTS = 2**24
"""Spikes that may reach one neuron. Beyond it their sum is not exact if all have a weight."""
MAX_SIDE = 4096
"""Pixels of an image, and the largest stride."""


def refuse(name: str, problem: str) -> ModelError:
    """Return what to raise when the node `name` is not sound."""
    return ModelError("bad_graph", f"{name}: {problem}")


def source_shape(user: str, source: str, shapes: Mapping[str, Shape]) -> Shape:
    """Return the shape of what `user` reads.

    Raises:
        ModelError: `bad_graph`: it comes later, or nowhere.
    """
    if source not in shapes:
        raise refuse(user, f"source {source!r:.80} is not an earlier node")
    return shapes[source]


def check_floats(name: str, what: str, values: npt.NDArray[np.generic]) -> None:
    """Raises: ModelError: `bad_graph`: a value is not finite, or subnormal."""
    if not np.isfinite(values).all():
        # `nan > θ` is false: a spike would launder the NaN, and nobody downstream could see it.
        raise refuse(name, f"non-finite {what}")
    if ((values != 0) & (np.abs(values) < np.finfo(np.float32).tiny)).any():
        # Some engines flush these to zero and others do not.
        raise refuse(name, f"subnormal {what}, expected 0 or at least 1.2e-38 in magnitude")


def check_weight(name: str, weight: Weights, exact: bool) -> None:
    """Raises: ModelError: `bad_graph`: weights are not those of an exact, or a float32, graph."""
    expected = np.int8 if exact else np.float32
    if weight.dtype != expected:
        raise refuse(name, f"weights are {weight.dtype}, the readout's are {np.dtype(expected)}")
    if exact and weight.size and weight.min() == -128:
        raise refuse(name, "a weight is -128, expected -127 to 127")
    if not exact:
        check_floats(name, "weight", weight)


def checked_bound(name: str, bound: float, exact: bool) -> int:
    """Return the largest |sum| as a whole number.

    Raises:
        ModelError: `bad_graph`: engines could not represent it.
    """
    if exact and bound >= EXACT_BOUND:
        raise refuse(name, f"current can reach {bound:.0f}, exact engines need less than 2^24")
    if bound > FLOAT_BOUND:
        raise refuse(name, "current can leave the range of float32")
    return int(np.ceil(bound))


def check_events(name: str, spikes: int) -> None:
    """Raises: ModelError: `bad_graph`: more than `MAX_EVENTS` spikes can reach a neuron."""
    if spikes > MAX_EVENTS:
        raise refuse(name, f"{spikes:,} spikes can reach a neuron, limit is {MAX_EVENTS:,}")


def reach(weight: Weights) -> npt.NDArray[np.float64]:
    """`[O]`: Σ|w| of each output, the largest |sum| per unit of input."""
    magnitudes = np.abs(weight.reshape(len(weight), -1))
    return np.asarray(magnitudes.sum(axis=1, dtype=np.float64))


def dense(weight: Weights | Numbers, sent: Numbers) -> Numbers:
    """`[N, O]`: Σ_i w_oi s_i, with the source flattened as C, H, W."""
    return np.asarray(sent.reshape(len(sent), weight.shape[1]) @ weight.astype(sent.dtype).T)
