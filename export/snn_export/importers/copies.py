"""A copy of the user's module to work on: theirs stays as it was, and may go on training."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from snn_runtime.errors import ModelError

WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def bare(network: nn.Module) -> nn.Module:
    """Return the module in DataParallel and torch.compile, which compute what it computes."""
    while True:
        wrapped = "module" if isinstance(network, WRAPPERS) else "_orig_mod"
        inner = getattr(network, wrapped, None)
        if not isinstance(inner, nn.Module):
            return network
        network = inner


def copied(network: nn.Module) -> nn.Module:
    """Return a copy for evaluation, in float32 on the CPU.

    Raises:
        ModelError: `unsupported`: it cannot be copied, or has no numbers yet.
    """
    try:
        try:
            twin: nn.Module = _deep(network, {})
        except Exception:  # whatever an attribute of theirs raises
            twin = _deep(network, {id(part): part for part in _single(network)})
        return twin.eval().cpu().float().requires_grad_(False)
    except Exception as error:
        problem = f"{type(error).__name__}: {' '.join(str(error).split())}"[:150]
        raise ModelError(
            "unsupported",
            f"{type(network).__name__}: cannot be copied ({problem}); save its weights, and give "
            "their file and the function that builds it",
        ) from error


def numbers(network: nn.Module) -> list[str]:
    """The types of number in which a module holds its weights, other than float32."""
    held = (each for each in network.state_dict().values() if isinstance(each, Tensor))
    types = {tensor.dtype for tensor in held if tensor.is_floating_point()}
    return sorted(str(each).removeprefix("torch.") for each in types - {torch.float32})


def _single(network: nn.Module) -> Iterator[Any]:
    """Attributes of which there can be but one, such as locks and open files: both share them."""
    for module in network.modules():
        for name, value in vars(module).items():
            if name in ("_parameters", "_buffers", "_modules"):
                continue
            try:
                _deep(value, {})
            except Exception:  # whatever it raises
                yield value


def _deep(value: Any, memo: dict[int, Any]) -> Any:
    with _Detached():
        return copy.deepcopy(value, memo)


class _Detached(TorchFunctionMode):
    """Copies what was computed, such as membranes and normed weights, without how: torch refuses to
    copy that."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is Tensor.__deepcopy__ and not args[0].is_leaf:
            tensor, memo = args
            memo[id(tensor)] = tensor.detach().clone()
            return memo[id(tensor)]
        return func(*args, **(kwargs or {}))
