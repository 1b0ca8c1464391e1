"""Torch files of strangers: tensors and plain containers, or nothing. No pickle is ever run."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snn_export.fold import Array
from snn_runtime.errors import ModelError
from snn_train import torch_zip
from snn_train.torch_zip import refuse

REMEDY = (
    "load it where you trust it and save its weights, torch.save(net.state_dict(), FILE); --module "
    "names the function that builds an snnTorch or SpikingJelly network"
)
NESTED = ("state_dict", "model_state_dict", "net", "model")
"""Where training scripts keep the weights when they keep more than those."""

WRAPPERS = re.compile(r"^((module|_orig_mod)\.)+")
"""What torch's DataParallel and torch.compile put before every name, once for each time."""


def pickled_words(path: Path) -> bytes:
    """The pickle in a torch zip, to look for words in it, not to load.

    Raises:
        ModelError: `bad_checkpoint`: missing, no torch zip, or damaged.
    """
    torch_zip.check(path, REMEDY)
    return torch_zip.pickled(path)


def read(path: Path) -> dict[str, Any]:
    """Return the dictionary that `torch.save` wrote.

    Raises:
        ModelError: `bad_checkpoint`: no torch zip, a damaged one, or anything in it but tensors,
            numbers, strings and containers.
    """
    content = torch_zip.read(path, REMEDY)
    if not isinstance(content, dict):
        raise refuse(path, f"holds a {type(content).__name__}, expected a dictionary of tensors")
    return content


def state_dict(path: Path) -> dict[str, Tensor]:
    """Return the weights in a file that holds them alone or under one of `NESTED`.

    Raises:
        ModelError: `bad_checkpoint`.
    """
    content = read(path)
    for key in NESTED:
        if isinstance(content.get(key), dict):
            content = content[key]
            break
    wrong = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if wrong or not content:
        found = f"{wrong[0]!r:.40} is a {type(content[wrong[0]]).__name__}" if wrong else "is empty"
        raise refuse(path, f"is no state_dict: {found}, expected tensors by name")
    return content


def unwrapped(name: object) -> str:
    """The name of a tensor without what wrappers of a module have put before it."""
    return WRAPPERS.sub("", str(name))


def array(name: str, tensor: object) -> Array:
    """Return a tensor of a file as float64.

    Raises:
        ModelError: `bad_checkpoint`: it is none, or not one of real numbers; `bad_weights` for NaN.
    """
    if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.is_complex():
        raise ModelError("bad_checkpoint", f"{name}: is no dense tensor of real numbers")
    if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        raise ModelError("bad_checkpoint", f"{name}: repeats a few numbers {tuple(tensor.shape)}")
    values: Array = tensor.detach().to(torch.float64).numpy()
    if not np.isfinite(values).all():
        raise ModelError("bad_weights", f"{name} holds a number that is not finite")
    return values
