"""Modules of torch, and what SpikingJelly derives from them, as layers."""

import numpy as np
from torch import Tensor, nn

from snn_export.fold import Array, Norm
from snn_export.importers.layers import (
    Flattened,
    Layer,
    Normalised,
    Pooled,
    Weighted,
    pair,
    square,
    unsupported,
)

IDLE = ("Identity", "Dropout", "Dropout2d")
"""Do nothing once trained; torch's, and SpikingJelly's that are not derived from them."""
CONTAINERS = ("SeqToANNContainer", "MultiStepContainer", "StepModeContainer")
"""SpikingJelly's: modules one after another, at every timestep."""


def idle(module: nn.Module) -> bool:
    """Whether the module does nothing in evaluation mode."""
    library = type(module).__module__.startswith(("torch.nn.", "spikingjelly."))
    return library and type(module).__name__ in IDLE


def layer_of(name: str, module: nn.Module, source: str) -> Layer:
    """Return `module` as a layer.

    Raises:
        ModelError: `unsupported`, naming it and what is in the way.
    """
    if isinstance(module, nn.Conv2d):
        return _convolution(name, module, source)
    if isinstance(module, nn.Linear):
        return Weighted(name, source, _array(module.weight), _optional(module.bias))
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
        return Normalised(name, source, _norm(name, module))
    if isinstance(module, nn.MaxPool2d):
        _check_plain(name, module.dilation == 1, "a dilation")
        return _pool(name, module, source, "max")
    if isinstance(module, nn.AvgPool2d):
        _check_plain(name, module.divisor_override is None, "a divisor_override")
        return _pool(name, module, source, "average")
    if isinstance(module, nn.AdaptiveAvgPool2d):
        side = square(name, "output size", module.output_size)
        _check_plain(name, side == 1, f"an output of {side}x{side}, not 1x1,")
        return Pooled(name, source, "average", 0)
    if isinstance(module, nn.Flatten):
        _check_plain(name, module.start_dim == 1 and module.end_dim == -1, "other dimensions")
        return Flattened(name, source)
    raise unsupported(
        name,
        f"{type(module).__name__} is not among what can be exported: Conv2d, Linear, BatchNorm, "
        "MaxPool2d, AvgPool2d, Flatten, Dropout and neurons",
    )


def _convolution(name: str, module: nn.Conv2d, source: str) -> Weighted:
    _check_plain(name, pair(module.dilation) == (1, 1), "a dilation")
    _check_plain(name, module.padding_mode == "zeros", f"padding of {module.padding_mode}")
    weight = _array(module.weight)
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


def _norm(name: str, module: nn.BatchNorm1d | nn.BatchNorm2d) -> Norm:
    mean, variance = module.running_mean, module.running_var
    if mean is None or variance is None:
        raise unsupported(name, f"{type(module).__name__} keeps no running statistics")
    ones = np.ones(module.num_features)
    gain = ones if module.weight is None else _array(module.weight)
    shift = 0 * ones if module.bias is None else _array(module.bias)
    return Norm(gain, shift, _array(mean), _array(variance), module.eps)


def _pool(name: str, module: nn.MaxPool2d | nn.AvgPool2d, source: str, kind: str) -> Pooled:
    kernel = square(name, "window", module.kernel_size)
    stride = kernel if module.stride is None else square(name, "stride", module.stride)
    padding = square(name, "padding", module.padding)
    if stride != kernel or padding or module.ceil_mode:
        raise unsupported(
            name,
            f"{type(module).__name__} with window {kernel}, stride {stride}, padding {padding}"
            f"{', ceil_mode' if module.ceil_mode else ''}: only windows that tile the map, "
            "without padding, can be exported",
        )
    return Pooled(name, source, "max" if kind == "max" else "average", kernel)


def _check_plain(name: str, plain: bool, what: str) -> None:
    if not plain:
        raise unsupported(name, f"{what} cannot be exported")


def _optional(tensor: Tensor | None) -> Array | None:
    return None if tensor is None else _array(tensor)


def _array(tensor: Tensor) -> Array:
    values: Array = tensor.detach().double().cpu().numpy()
    return values
