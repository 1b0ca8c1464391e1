"""The convolution of spikes as an operator of torch, with gradients.

    I = W ∗ s + b        ∂L/∂W = Σ ∂L/∂I s        ∂L/∂s = Σ ∂L/∂I W

The first two are computed by events, a sum of rows for the spikes that there are, where these are
few enough; the third has none and is torch's. Sums are in float32, in another order than torch's.
Both are chosen by the share of spikes alone, so a run that is repeated takes the same steps.
"""

import ctypes
from collections.abc import Iterable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snn_train.events.library import Shape, library
from snn_train.layout import IMAGE, LayerPlan

GROUP = 32
"""Receiving channels come in such groups; what is missing is filled up with zeros."""
MOST = 0.18, 0.14
"""Shares of values that are not zero up to which currents, and gradients, are sums of rows. Dense
kernels in bfloat16 are about as fast there."""
MOST_WIDE = 0.3, 0.25
"""Likewise where dense kernels compute in float32."""
SAMPLED = 8
"""Spikes of every eighth picture are counted."""
LARGEST = 2**15
"""Pixels of a side: even with a padding as large, uint16 in gradients.h counts them."""


class Driven(Protocol):
    """A layer, as far as this needs to know it."""

    plan: LayerPlan
    by_events: bool


def train_by_events(layers: Iterable[Driven], device: torch.device) -> None:
    """Let a spiking network's convolutions of spikes do the work of those there are, on a
    processor and while it trains.

    Raises:
        DeviceError: `cannot_compile`: as `library`.
    """
    if device.type == "cpu":
        library()  # or it would be compiled in the first step
        for layer in layers:
            layer.by_events = layer.plan.source != IMAGE


def convolve(spikes: Tensor, synapse: nn.Conv2d, stride: tuple[int, int]) -> Tensor:
    """Return what `synapse` makes of spikes `(B, C, H, W)`, in autocast's type where that is on.

    Args:
        spikes: few, counts or means of them too; of a kind that suits.
        stride: in place of the synapse's own.
    """
    if torch.is_autocast_enabled("cpu"):
        spikes = spikes.to(torch.get_autocast_dtype("cpu"))
    assert not isinstance(synapse.padding, str)
    return currents(spikes, synapse.weight, stride, synapse.padding, bias=synapse.bias)


def currents(
    spikes: Tensor,
    weight: Tensor,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    wide_sums: bool = False,
    bias: Tensor | None = None,
) -> Tensor:
    """Return W ∗ s + b, `(B, O, H′, W′)`, for spikes `(B, C, H, W)`.

    Args:
        weight: `(O, C, kh, kw)` in float32, rounded to the type of the spikes.
        wide_sums: whether sums stay in float32; else they are rounded to the type of the spikes.
        bias: `(O,)` in float32, rounded likewise.
    """
    result: Tensor = _currents(spikes, weight, bias, [*stride], [*padding], wide_sums)
    return result


def suits(spikes: Tensor) -> bool:
    """Whether there is an operator for such spikes."""
    return (
        spikes.device.type == "cpu"
        and spikes.dim() == 4
        and spikes.dtype in (torch.bfloat16, torch.float32)
        and max(spikes.shape[2:]) < LARGEST
    )


@torch.library.custom_op("snn_train::currents", mutates_args=(), device_types="cpu")
def _currents(
    spikes: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    wide_sums: bool,
) -> Tensor:
    spikes = _channels_last(spikes)
    dtype = torch.float32 if wide_sums else spikes.dtype
    constant = None if bias is None else bias.to(spikes.dtype)
    if not _few(spikes, (MOST_WIDE if dtype == torch.float32 else MOST)[0]):
        rounded = weight.to(spikes.dtype).to(dtype)
        constant = None if constant is None else constant.to(dtype)
        with torch.autocast("cpu", enabled=False):  # which would round again
            dense = F.conv2d(spikes.to(dtype), rounded, constant, stride, padding)
        return _channels_last(dense)
    rows = _channels_last(_filled(weight, 0))
    shape = _shape(spikes, rows, stride, padding)
    sums = dtype if constant is None else torch.float32  # to be rounded once
    made = _empty(spikes, (len(spikes), len(rows), shape.out_height, shape.out_width), sums)
    library().snn_currents(
        ctypes.byref(shape), spikes.data_ptr(), rows.data_ptr(), made.data_ptr(),
        _is_wide(spikes), sums == torch.float32, torch.get_num_threads(),
    )  # fmt: skip
    made = made[:, : len(weight)]
    if constant is not None:
        made = (made + constant.float()[:, None, None]).to(dtype)
    return _channels_last(made)


@_currents.register_fake
def _(
    spikes: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    wide_sums: bool,
) -> Tensor:
    dtype = torch.float32 if wide_sums else spikes.dtype
    return _empty(
        spikes, (len(spikes), len(weight), *_sides(spikes, weight, stride, padding)), dtype
    )


@torch.library.custom_op("snn_train::currents_backward", mutates_args=(), device_types="cpu")
def _currents_backward(
    gradient: Tensor, spikes: Tensor, weight: Tensor, stride: list[int], padding: list[int]
) -> tuple[Tensor, Tensor]:
    spikes = _channels_last(spikes)
    gradient = _channels_last(gradient.to(spikes.dtype))
    few = _few(spikes, (MOST_WIDE if _is_wide(spikes) else MOST)[1])
    of_spikes, of_weight, _ = torch.ops.aten.convolution_backward(
        gradient, spikes, _channels_last(weight.to(spikes.dtype)), None, stride, padding, (1, 1),
        False, (0, 0), 1, (True, not few, False),
    )  # fmt: skip
    if few:
        of_weight = _of_weight(gradient, spikes, weight, stride, padding)
    return _channels_last(of_spikes), _channels_last(of_weight.float())


def _of_weight(
    gradient: Tensor, spikes: Tensor, weight: Tensor, stride: list[int], padding: list[int]
) -> Tensor:
    """∂L/∂W, by events."""
    gradient = _channels_last(_filled(gradient, 1))
    made = _empty(spikes, (gradient.shape[1], *weight.shape[1:]), torch.float32)
    shape = _shape(spikes, made, stride, padding)
    library().snn_gradients(
        ctypes.byref(shape), spikes.data_ptr(), gradient.data_ptr(), made.data_ptr(),
        _is_wide(spikes), torch.get_num_threads(),
    )  # fmt: skip
    return made[: len(weight)]


@_currents_backward.register_fake
def _(
    gradient: Tensor, spikes: Tensor, weight: Tensor, stride: list[int], padding: list[int]
) -> tuple[Tensor, Tensor]:
    return _empty(spikes, spikes.shape, spikes.dtype), _empty(spikes, weight.shape, torch.float32)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    spikes, weight, _, stride, padding, _ = inputs
    ctx.save_for_backward(spikes, weight)
    ctx.geometry = stride, padding


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    found = _currents_backward(gradient, *ctx.saved_tensors, *ctx.geometry)
    of_bias = gradient.sum((0, 2, 3), dtype=torch.float32) if ctx.needs_input_grad[2] else None
    return *found, of_bias, None, None, None


_currents.register_autograd(_backward, setup_context=_keep)


def _few(spikes: Tensor, most: float) -> bool:
    """Whether at most that share of the spikes is not zero, by a sample; not where there are none
    to count."""
    if not spikes.numel():
        return False
    size = spikes[0].numel()
    found = library().snn_count(spikes.data_ptr(), len(spikes), size, SAMPLED, _is_wide(spikes))
    return bool(found <= most * size * -(-len(spikes) // SAMPLED))


def _shape(spikes: Tensor, rows: Tensor, stride: list[int], padding: list[int]) -> Shape:
    """Of whole groups of `rows`, `(O, C, kh, kw)`."""
    pictures, inputs, height, width = spikes.shape
    outputs, _, kernel_height, kernel_width = rows.shape
    return Shape(
        pictures, height, width, inputs, outputs, kernel_height, kernel_width, *stride, *padding,
        *_sides(spikes, rows, stride, padding),
    )  # fmt: skip


def _sides(spikes: Tensor, weight: Tensor, stride: list[int], padding: list[int]) -> list[int]:
    """Height and width of what comes out."""
    sides = zip(spikes.shape[2:], weight.shape[2:], stride, padding, strict=True)
    found = [(side + 2 * outside - kernel) // by + 1 for side, kernel, by, outside in sides]
    if min(found) < 1:
        kernel, map_ = (" x ".join(map(str, each.shape[2:])) for each in (weight, spikes))
        raise RuntimeError(
            f"a kernel of {kernel} on a map of {map_}, padding {padding}: expected a map, with its "
            "padding, as large as the kernel; choose larger pictures or fewer layers"
        )
    return found


def _filled(tensor: Tensor, axis: int) -> Tensor:
    """The same with zeros behind it, to whole groups along the first or second of four axes."""
    missing = -tensor.shape[axis] % GROUP
    return F.pad(tensor, (*[0, 0] * (3 - axis), 0, missing)) if missing else tensor


def _is_wide(spikes: Tensor) -> bool:
    return spikes.dtype == torch.float32


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)


def _empty(like: Tensor, sizes: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(sizes, dtype=dtype, device=like.device, memory_format=torch.channels_last)
