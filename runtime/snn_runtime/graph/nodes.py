"""The parts of a SpikingGraph: frozen records of numpy arrays.

Vocabulary as in NIR and the field: a *population* of neurons fires spikes, a *projection* carries
the spikes of one source to it through weights, a *readout* turns the last spikes into logits.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float32]
Weights: TypeAlias = npt.NDArray[np.int8] | npt.NDArray[np.float32]
Fit = Literal["crop", "stretch"]

INPUT = "image"
"""Name under which projections refer to the picture itself."""


@dataclass(frozen=True)
class Image:
    """The picture as the network takes it: uint8 RGB, `[N, height, width, 3]`, as decoded."""

    height: int
    """Pixels."""
    width: int
    """Pixels."""
    offset: tuple[float, float, float]
    """Subtracted per colour, 0 to 255; zero padding comes after the subtraction. Whole numbers for
    int8 weights, whatever float32 holds for float32 weights."""
    fit: Fit = "crop"
    """How another shape becomes height × width: `crop` keeps the aspect, `stretch` does not."""


@dataclass(frozen=True, eq=False)
class Projection:
    """Weights from one source to a population."""

    source: str
    """A population, a pool, or `image`."""
    weight: Weights
    """`[O, I/groups, kh, kw]` convolution, or `[O, I]` dense on the source flattened as C, H, W."""
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    """Zeros on both sides of (height, width)."""
    groups: int = 1


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons that sum their projections and spike where the current exceeds the threshold."""

    name: str
    projections: tuple[Projection, ...]
    threshold: FloatArray
    """`[O]`, half-integers for int8 weights. Where a projection reads the image it may be one a
    position, `[O, H, W]`: what an integer offset leaves of a mean is missing where padding is."""

    @property
    def comparand(self) -> FloatArray:
        """θ as currents are compared with it: `[1, O]`, `[1, O, 1, 1]` or `[1, O, H, W]`."""
        if self.threshold.ndim > 1:
            return self.threshold[np.newaxis]
        return self.threshold.reshape(1, -1, *(1,) * (self.projections[0].weight.ndim - 2))


@dataclass(frozen=True)
class Pool:
    """`max` of spikes is OR; `sum` counts them, 0 … kernel² (an average, its divisor folded on)."""

    name: str
    source: str
    kind: Literal["max", "sum"]
    kernel: int
    """Side of the window, which is also the stride; a remainder at the border is dropped."""


@dataclass(frozen=True, eq=False)
class Readout:
    """The output, which never spikes: `logit_c = scale_c · Σ_i weight_ci s_i + bias_c`."""

    source: str
    weight: Weights
    """`[C, I]`, dense on the source flattened as C, H, W."""
    scale: FloatArray
    """`[C]`"""
    bias: FloatArray
    """`[C]`"""


Node: TypeAlias = Population | Pool
Shape: TypeAlias = tuple[int, ...]
