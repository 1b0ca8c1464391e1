"""The integer current of one projection: exact on the way forth, coarser on the way back.

    k = Σ w s        ∂L/∂w = Σ ∂L/∂k s        ∂L/∂s = Σ ∂L/∂k w

Float32 adds up k without rounding. Gradients need no such care: where the run trains in bfloat16,
the sums behind them, two thirds of the work, are computed in that, as in the stages before. It has
8 significant bits, and so holds w and s as they are.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snn_train.events.convolution import currents, suits


class _Convolved(torch.autograd.Function):
    """A convolution in float32, whose gradients are computed in another type."""

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        weight: Tensor,
        stride: tuple[int, int],
        padding: tuple[int, int],
        gradients: torch.dtype,
    ) -> Tensor:
        ctx.save_for_backward(values.to(gradients), weight.to(gradients))
        ctx.geometry = stride, padding
        return F.conv2d(values, weight, None, stride, padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, weight = ctx.saved_tensors
        stride, padding = ctx.geometry
        found = torch.ops.aten.convolution_backward(
            gradients[0].to(weight.dtype), values, weight, None, stride, padding, (1, 1), False,
            (0, 0), 1, (*ctx.needs_input_grad[:2], False),
        )  # fmt: skip
        of_values, of_weight = (None if each is None else each.float() for each in found[:2])
        return of_values, of_weight, None, None, None


def project(
    synapse: nn.Conv2d | nn.Linear | None,
    weight: Tensor,
    values: Tensor,
    gradients: torch.dtype,
    by_events: bool = False,
) -> Tensor:
    """The integer current `(B, O, …)` of one projection; an identity where there is no synapse.

    Args:
        synapse: whose geometry it has.
        weight: integers `(O, I, kh, kw)`, `(O, I)` or `(O, 1, 1, 1)`.
        values: integers `(B, I, …)`.
        gradients: what those of convolutions are computed in.
        by_events: whether convolutions may be sums over the spikes there are.
    """
    weight = weight.float()
    if synapse is None:
        return values * weight.view(1, -1, 1, 1)
    if isinstance(synapse, nn.Linear):
        return F.linear(values.flatten(1), weight)
    assert not isinstance(synapse.padding, str)
    rows, columns = synapse.stride
    if synapse.kernel_size == (1, 1):  # strided beforehand: see Layer
        values, rows, columns = values[:, :, ::rows, ::columns], 1, 1
    columns = min(columns, values.shape[-1])  # see Layer, too
    geometry = (rows, columns), synapse.padding
    if by_events and suits(values):  # integers so small are the same in bfloat16
        return currents(values.to(gradients), weight, *geometry, wide_sums=True)
    if gradients == torch.float32:
        return F.conv2d(values, weight, None, *geometry)
    current: Tensor = _Convolved.apply(values, weight, *geometry, gradients)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return current
