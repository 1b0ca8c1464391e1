"""The integer operators of ONNX Runtime, which multiply uint8 numbers by 8-bit weights.

A quantised number q stands for `scale · (q − zero)`. Inputs and weights have the scale 1. Zero is
0, but for weights of uint8 it is 128.
"""

from typing import TypeAlias

import numpy as np

from snn_runtime.graph import Weights
from snn_runtime.onnx_build.operators import Operators, Pads, Pair, Value, convolved

SPIKE = 255
"""A spike: the number at which a uint8 quantiser saturates."""
WeightType: TypeAlias = type[np.int8] | type[np.uint8]
_ORT_DOMAIN = "com.microsoft"


class IntegerOperators(Operators):
    """Operators whose sums are rescaled, rounded and cut to 0 … 255, for weights of one type."""

    def __init__(self, weights: WeightType) -> None:
        """Begin a graph; uint8 weights are for processors whose products of int8 saturate."""
        super().__init__("integer_spiking_graph")
        self._weights = weights
        self.one = self.constant("/one", np.float32(1))
        self.zero = self.constant("/zero", np.uint8(0))
        self.saturating = self.constant("/saturating", np.float32(1 / 256))
        """A scale that makes 255 of 1 and of all above."""
        self.spike_to_one = self.constant("/spike_to_one", np.float32(SPIKE))
        """A scale that makes 1 of a spike, 2 of two spikes, and so on."""
        self.weight_zero = self.constant("/weight_zero", weights(0 if weights is np.int8 else 128))

    def weight(self, prefix: str, weight: Weights) -> Value:
        if self._weights is np.uint8:
            weight = np.ascontiguousarray(weight).view(np.uint8) ^ 128
        return self.constant(f"{prefix}/weight", weight)

    def conv_integer(
        self,
        name: str,
        x: Value,
        weight: Value,
        scale: Value,
        *bias: Value,
        gain: Value | None = None,
        stride: Pair = (1, 1),
        pads: Pads = (0, 0, 0, 0),
        groups: int = 1,
    ) -> Value:
        """`gain (weight ∗ x + bias) / scale` of `[N, I, H, W]` and `[O, I/groups, kh, kw]`, uint8;
        the gain is `[O]`, or 1."""
        kernel = weight.shape[2:]
        return self.node(
            "QLinearConv",
            Value(name, np.uint8, convolved(x, weight.shape[0], kernel, stride, pads)),
            *(x, self.one, self.zero),
            *(weight, gain or self.one, self.weight_zero),
            *(scale, self.zero),
            *bias,
            group=groups,
            kernel_shape=kernel,
            pads=pads,
            strides=stride,
        )

    def gemm_integer(
        self,
        name: str,
        x: Value,
        weight: Value,
        scale: Value,
        bias: Value,
        gain: Value | None = None,
    ) -> Value:
        """`gain (x · weight + bias) / scale` of `[N, I]` and `[I, O]`, uint8; the gain is `[O]`."""
        return self.node(
            "QGemm",
            Value(name, np.uint8, (x.shape[0], weight.shape[1])),
            *(x, self.one, self.zero),
            *(weight, gain or self.one, self.weight_zero if gain is None else self.zeros(gain)),
            *(bias, scale, self.zero),
            domain=_ORT_DOMAIN,
        )

    def add_integer(self, name: str, x: Value, y: Value, scale: Value) -> Value:
        """`(x + y) / scale`, uint8."""
        return self.node(
            "QLinearAdd",
            Value(name, np.uint8, x.shape),
            *(x, self.one, self.zero),
            *(y, self.one, self.zero),
            *(scale, self.zero),
            domain=_ORT_DOMAIN,
        )

    def zeros(self, gain: Value) -> Value:
        """The zero points of weights of which each output has a gain of its own."""
        zero = np.full(gain.shape, 0 if self._weights is np.int8 else 128, self._weights)
        return self.constant(f"{gain.name}/zeros", zero)

    def at_most(self, name: str, x: Value, most: int) -> Value:
        """`min(x, most)`, uint8."""
        limit = self.constant(f"/{most}", np.uint8(most))
        return self.node("Clip", Value(name, np.uint8, x.shape), x, self.zero, limit)

    def matmul_integer(self, name: str, x: Value, weight: Value) -> Value:
        """`x · weight` of `[N, I]` and `[I, O]`, int32."""
        made = Value(name, np.int32, (x.shape[0], weight.shape[1]))
        return self.node("MatMulInteger", made, x, weight, self.zero, self.weight_zero)

    def expand(self, name: str, x: Value, like: Value) -> Value:
        """`x` of `[1, 1, 1, C]` repeated over the batch and the positions of `like`."""
        shape = self.node("Shape", Value(f"{name}/shape", np.int64, (len(like.shape),)), like)
        return self.node("Expand", Value(name, x.dtype, like.shape), x, shape)
