"""The two ends of a graph: the image that it takes, and the readout that gives its logits."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from snn_runtime.fit import Fit
from snn_runtime.graph.values import (
    FLOAT_BOUND,
    INPUT,
    MAX_SIDE,
    READOUT,
    FloatArray,
    Numbers,
    Shape,
    Weights,
    check_events,
    check_floats,
    check_weight,
    checked_bound,
    dense,
    reach,
    refuse,
    source_shape,
)


@dataclass(frozen=True)
class Image:
    """The picture as the network takes it: uint8 RGB, `[N, height, width, 3]`, as decoded.

    sent = x − m
    """

    height: int
    """Pixels."""
    width: int
    """Pixels."""
    offset: tuple[float, float, float]
    """m, subtracted per colour, 0 to 255; zero padding comes after the subtraction. Whole numbers
    for int8 weights, whatever float32 holds for float32 weights."""
    fit: Fit = "crop"
    """How another shape becomes height × width."""

    def check(self, exact: bool) -> None:
        """Raises: ModelError: `bad_graph`."""
        if not (0 < self.height <= MAX_SIDE and 0 < self.width <= MAX_SIDE):
            size = f"{self.height}x{self.width}"
            raise refuse(INPUT, f"size is {size}, expected 1 to {MAX_SIDE} a side")
        offset = self.offset
        if len(offset) != 3 or not all(0 <= m <= 255 for m in offset):
            raise refuse(INPUT, f"offset is {offset}, expected 3 numbers from 0 to 255")
        if exact and any(m != int(m) for m in offset):
            raise refuse(INPUT, f"offset is {offset}, int8 weights need whole numbers")
        if any(m != float(np.float32(m)) for m in offset):
            raise refuse(INPUT, f"offset is {offset}, expected numbers that float32 holds")
        check_floats(INPUT, "offset", np.array(offset, np.float32))
        if self.fit not in get_args(Fit):
            raise refuse(INPUT, f"fit is {self.fit!r}, expected {' or '.join(get_args(Fit))}")

    @property
    def largest(self) -> int:
        """The largest |number| sent."""
        return math.ceil(max(max(m, 255 - m) for m in self.offset))

    @property
    def schema(self) -> int:
        """The first version of model.onnx that has it."""
        return 1 if all(m == int(m) for m in self.offset) else 2

    def centred(self, images: npt.NDArray[np.uint8], number: npt.DTypeLike) -> Numbers:
        """Return `x − m` as `[N, 3, H, W]` in numbers of one type."""
        planes = images.transpose(0, 3, 1, 2).astype(number)
        return np.asarray(planes - np.array(self.offset, number).reshape(1, 3, 1, 1))

    def describe(self) -> list[object]:
        """What a digest says of it."""
        offset = [int(m) if m == int(m) else m for m in self.offset]
        return [INPUT, self.height, self.width, offset, self.fit]


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

    @property
    def exact(self) -> bool:
        """Whether the weights are integers; all others of the graph must be so too."""
        return self.weight.dtype == np.int8

    def check(self, classes: int, shapes: Mapping[str, Shape], sent: Mapping[str, int]) -> None:
        """Raises: ModelError: `bad_graph`."""
        source = source_shape(READOUT, self.source, shapes)
        if self.source == INPUT:
            raise refuse(READOUT, "reads the image, expected spikes")
        if self.weight.shape != (classes, math.prod(source)):
            problem = f"weights {self.weight.shape} for {classes} labels, source {source}"
            raise refuse(READOUT, problem)
        if self.weight.dtype not in (np.int8, np.float32):
            raise refuse(READOUT, f"weights are {self.weight.dtype}, expected int8 or float32")
        check_events(READOUT, self.weight.shape[1] * sent[self.source])
        check_weight(READOUT, self.weight, self.exact)
        for what, array in (("scale", self.scale), ("bias", self.bias)):
            if array.shape != (classes,) or array.dtype != np.float32:
                problem = f"{what} is {array.dtype}{array.shape}, expected {classes}"
                raise refuse(READOUT, problem)
            check_floats(READOUT, what, array)
        furthest = reach(self.weight) * sent[self.source]
        checked_bound(READOUT, float(furthest.max()), self.exact)
        largest = np.abs(self.scale.astype(np.float64)) * furthest + np.abs(self.bias)
        if largest.max() > FLOAT_BOUND:
            raise refuse(READOUT, "a logit can leave the range of float32")

    def logits(self, sent: Numbers) -> FloatArray:
        """Return `[N, C]`: a product of two 24-bit numbers is exact in float64, so it rounds once
        to float32, and so does the addition."""
        sums = dense(self.weight, sent)
        scaled = (self.scale.astype(np.float64) * sums).astype(np.float32)
        return np.asarray(scaled + self.bias, np.float32)

    def describe(self) -> list[object]:
        """What a digest says of it besides its arrays."""
        return [READOUT, self.source, self.weight.shape]

    @property
    def arrays(self) -> tuple[Weights | FloatArray, ...]:
        return (self.weight, self.scale, self.bias)
