"""Weights from one source to a population."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_runtime.graph.values import (
    MAX_SIDE,
    Numbers,
    Shape,
    Weights,
    dense,
    refuse,
    source_shape,
)


@dataclass(frozen=True, eq=False)
class Projection:
    """Weights from one source to a population: `W ∗ s`, a convolution or a product."""

    source: str
    """A node, or `image`."""
    weight: Weights
    """`[O, I/groups, kh, kw]` convolution, or `[O, I]` dense on the source flattened as C, H, W."""
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    """Zeros on both sides of (height, width)."""
    groups: int = 1

    @property
    def fan_in(self) -> int:
        """Values of the source that reach one neuron."""
        return self.weight.size // len(self.weight)

    @property
    def sums(self) -> bool:
        """Whether it adds up each channel by itself, with weights alike where they are not zero:
        an identity shortcut, the OR of a window, a mean."""
        if self.weight.ndim != 4 or self.groups != len(self.weight) or self.fan_in == 0:
            return False
        taps = self.weight.reshape(self.groups, -1)
        strongest = np.take_along_axis(taps, np.abs(taps).argmax(axis=1)[:, None], axis=1)
        return self.weight.shape[1] == 1 and bool(((taps == strongest) | (taps == 0)).all())

    def shape(self, user: str, shapes: Mapping[str, Shape]) -> Shape:
        """Return the shape of the current it brings to `user`.

        Raises:
            ModelError: `bad_graph`: it does not fit its source.
        """
        source, weight = source_shape(user, self.source, shapes), self.weight
        if 0 in weight.shape:
            raise refuse(user, f"weights of shape {weight.shape} are empty")
        if weight.ndim == 2:
            if weight.shape[1] != math.prod(source):
                raise refuse(user, f"weights {weight.shape} do not fit a source of shape {source}")
            return (weight.shape[0],)
        if weight.ndim != 4 or len(source) != 3:
            raise refuse(user, f"weights {weight.shape} do not fit a source of shape {source}")
        out, inputs, *kernel = weight.shape
        if self.groups < 1 or out % self.groups or inputs * self.groups != source[0]:
            raise refuse(
                user, f"weights {weight.shape} in {self.groups} groups do not fit {source}"
            )
        self._check_steps(user)
        sizes = zip(source[1:], self.padding, kernel, self.stride, strict=True)
        spatial = tuple((size + 2 * pad - k) // step + 1 for size, pad, k, step in sizes)
        if min(spatial) < 1:
            raise refuse(user, f"kernel {tuple(kernel)} does not fit a source of shape {source}")
        return (out, *spatial)

    def current(self, sent: Numbers) -> Numbers:
        """Return `W ∗ s`, `[N, O, H, W]` or `[N, O]`, in the numbers of `sent`."""
        if self.weight.ndim == 2:
            return dense(self.weight, sent)
        weight = self.weight.astype(sent.dtype)
        out, inputs, *kernel = weight.shape
        groups, (step_y, step_x), (pad_y, pad_x) = self.groups, self.stride, self.padding
        padded = np.pad(sent, ((0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(2, 3))
        windows = windows[:, :, ::step_y, ::step_x]  # (N, C, rows, columns, kh, kw)
        rows, columns = windows.shape[2:4]
        kernels = weight.reshape(groups, out // groups, -1)  # (G, O/G, I/G·kh·kw)
        current = np.empty((len(sent), out, rows, columns), weight.dtype)
        for example, view in zip(current, windows, strict=True):  # one at a time: patches are large
            patches = view.reshape(groups, inputs, rows * columns, -1).transpose(0, 2, 1, 3)
            patches = patches.reshape(groups, rows * columns, -1)  # (G, rows·columns, I/G·kh·kw)
            example[:] = (kernels @ patches.transpose(0, 2, 1)).reshape(out, rows, columns)
        return current

    def describe(self) -> list[object]:
        """What a digest says of it besides its weights."""
        weight = self.weight
        return [
            self.source,
            weight.dtype.name,
            weight.shape,
            self.stride,
            self.padding,
            self.groups,
        ]

    def _check_steps(self, user: str) -> None:
        kernel = self.weight.shape[2:]
        if not all(1 <= step <= MAX_SIDE for step in self.stride):
            raise refuse(user, f"stride is {self.stride}, expected 1 to {MAX_SIDE}")
        if min(self.padding) < 0:
            raise refuse(user, f"padding {self.padding} is negative")
        if any(p >= k for p, k in zip(self.padding, kernel, strict=True)):
            raise refuse(user, f"padding {self.padding} reaches past the kernel {tuple(kernel)}")


def reaching_taps(size: int, kernel: int, stride: int, padding: int) -> npt.NDArray[np.int64]:
    """`[size]`: at how many outputs along one axis each input position is read."""
    first = np.arange((size + 2 * padding - kernel) // stride + 1) * stride - padding
    read = (first[:, None] + np.arange(kernel)).ravel()
    return np.bincount(read[(read >= 0) & (read < size)], minlength=size)


def ungrouped(weight: npt.NDArray[Any], groups: int) -> npt.NDArray[Any]:
    """A grouped convolution's weights in one group, zeros where there was no connection."""
    out, inputs, *kernel = weight.shape
    blocks = np.zeros((groups, out // groups, groups, inputs, *kernel), weight.dtype)
    each = np.arange(groups)
    blocks[each, :, each] = weight.reshape(groups, out // groups, inputs, *kernel)
    return blocks.reshape(out, groups * inputs, *kernel)
