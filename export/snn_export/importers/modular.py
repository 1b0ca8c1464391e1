"""Modules of torch, and what SpikingJelly derives from them, as layers."""

from typing import Any, Literal, TypeAlias

import numpy as np
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from snn_export.fold import Array, Norm
from snn_export.importers.layers import (
    Layer,
    Normalised,
    Pooled,
    Weighted,
    dilated,
    pair,
    unsupported,
)
from snn_export.pools import Window

Kind: TypeAlias = Literal["max", "average", "sum"]

ADAPTIVE = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
WEIGHTS = ("Conv2d", "Linear", "WSConv2d", "WSLinear")
"""torch's, and SpikingJelly's derived from them: WS standardises weights in forward."""
NORMS = ("BatchNorm1d", "BatchNorm2d", "SyncBatchNorm")
"""torch's, and SpikingJelly's that are derived from them."""
SCALED_NORMS = ("ThresholdDependentBatchNorm1d", "ThresholdDependentBatchNorm2d")
"""SpikingJelly's tdBN: α V_th is what γ starts from, so γ holds it."""


def weights_or_norm(module: nn.Module) -> str:
    """`weights`, `norm`, or empty for everything else."""
    # weight_norm and its like put a class of torch's over the module's.
    name = type(module).__name__.removeprefix("Parametrized").removeprefix("MultiStep")
    if isinstance(module, (nn.Conv2d, nn.Linear)) and name in WEIGHTS:
        return "weights"
    return "norm" if name in (*NORMS, *SCALED_NORMS) else ""


def layer_of(name: str, module: nn.Module, source: str, shape: tuple[int, ...]) -> Layer:
    """Return `module` as a layer; `shape` is that of what it reads.

    Raises:
        ModelError: `unsupported`, naming it and what is in the way.
    """
    kind = weights_or_norm(module)
    if kind == "weights" and isinstance(module, nn.Conv2d):
        return _convolution(name, module, source)
    if kind == "weights" and isinstance(module, nn.Linear):
        return Weighted(name, source, _weight(module), _optional(module.bias))
    if kind == "norm":
        assert isinstance(module, _BatchNorm)
        return Normalised(name, source, _norm(name, module))
    if isinstance(module, nn.MaxPool2d):
        window = _window(name, module, pair(module.dilation), shape)
        return Pooled(name, source, "max", window)
    if isinstance(module, nn.AvgPool2d):
        _check_plain(name, module.divisor_override is None, "a divisor_override")
        padded = any(pair(module.padding)) and not module.count_include_pad
        _check_plain(name, not padded, "count_include_pad=False with padding")
        return Pooled(name, source, "average", _window(name, module, (1, 1), shape))
    if isinstance(module, ADAPTIVE):
        pool: Kind = "average" if isinstance(module, nn.AdaptiveAvgPool2d) else "max"
        return Pooled(name, source, pool, _adaptive(name, module, shape))
    raise unsupported(
        name,
        f"{type(module).__name__} is not among what can be exported: Conv2d, Linear, BatchNorm, "
        "MaxPool2d, AvgPool2d, Flatten, Dropout and neurons",
    )


def _convolution(name: str, module: nn.Conv2d, source: str) -> Weighted:
    _check_plain(name, module.padding_mode == "zeros", f"padding of {module.padding_mode}")
    weight = dilated(_weight(module), pair(module.dilation))
    if isinstance(module.padding, str):
        padding = padding_of(name, module.padding, weight)
    else:
        padding = pair(module.padding)
    stride = pair(module.stride)
    return Weighted(name, source, weight, _optional(module.bias), stride, padding, module.groups)


def padding_of(name: str, word: str, weight: Array) -> tuple[int, int]:
    """The zeros that `same` or `valid` mean.

    Raises:
        ModelError: `unsupported`, for `same` around an even kernel, which is lopsided.
    """
    if word == "valid":
        return (0, 0)
    height, width = weight.shape[2:]
    _check_plain(name, height % 2 == 1 and width % 2 == 1, f"padding {word!r} of an even kernel")
    return (height // 2, width // 2)


def _norm(name: str, module: _BatchNorm) -> Norm:
    mean, variance = module.running_mean, module.running_var
    if mean is None or variance is None:
        raise unsupported(name, f"{type(module).__name__} keeps no running statistics")
    ones = np.ones(module.num_features)
    gain = ones if module.weight is None else _array(module.weight)
    shift = 0 * ones if module.bias is None else _array(module.bias)
    return Norm(gain, shift, _array(mean), _array(variance), module.eps)


def _window(
    name: str,
    module: nn.MaxPool2d | nn.AvgPool2d,
    dilation: tuple[int, int],
    shape: tuple[int, ...],
) -> Window:
    kernel, padding = pair(module.kernel_size), pair(module.padding)
    stride = kernel if module.stride is None else pair(module.stride)
    window = Window(kernel, stride, padding, dilation)
    if module.ceil_mode:
        sizes = zip(shape[-2:], padding, window.taps.shape, stride, strict=True)
        left = [(side + 2 * pad - reach) % step for side, pad, reach, step in sizes]
        _check_plain(name, not any(left), f"ceil_mode where {left} rows and columns are left over")
    return window


def _adaptive(
    name: str, module: nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d, shape: tuple[int, ...]
) -> Window:
    """Windows of one size if the map's side is a multiple of the output's."""
    wanted: Any = module.output_size
    wanted = wanted if isinstance(wanted, (tuple, list)) else (wanted, wanted)
    sides = [have if side is None else side for side, have in zip(wanted, shape[-2:], strict=True)]
    if any(have % side for side, have in zip(sides, shape[-2:], strict=True)):
        raise unsupported(
            name,
            f"{type(module).__name__} from {shape[-2]}x{shape[-1]} to {sides[0]}x{sides[1]} has "
            "windows of different sizes, which cannot be exported",
        )
    height, width = (have // side for side, have in zip(sides, shape[-2:], strict=True))
    return Window((height, width), (height, width))


def _check_plain(name: str, plain: bool, what: str) -> None:
    if not plain:
        raise unsupported(name, f"{what} cannot be exported")


def _weight(module: nn.Conv2d | nn.Linear) -> Array:
    """What forward multiplies by."""
    standardised = getattr(module, "get_weight", None)
    return _array(module.weight if standardised is None else standardised())


def _optional(tensor: Tensor | None) -> Array | None:
    return None if tensor is None else _array(tensor)


def _array(tensor: Tensor) -> Array:
    values: Array = tensor.detach().double().cpu().numpy()
    return values
