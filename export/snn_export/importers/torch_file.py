"""Torch files of strangers: tensors and plain containers, or nothing. No pickle is ever run."""

import pickletools
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snn_export.fold import Array
from snn_runtime.errors import ModelError
from snn_train import torch_zip

REMEDY = (
    "load it where you trust it and save its weights, torch.save(net.state_dict(), FILE); --module "
    "names the function that builds an snnTorch or SpikingJelly network"
)


def pickled_words(path: Path) -> bytes:
    """The pickle in a torch zip, to look for words in it, not to load.

    Raises:
        ModelError: `bad_checkpoint`: missing, no torch zip, or damaged.
    """
    torch_zip.check(path, REMEDY)
    return torch_zip.pickled(path)


def says(pickle: bytes, key: str, value: str) -> bool:
    """Whether a dictionary in a pickle holds that text under that key.

    The words alone would be found in any other text, too.
    """
    if value.encode() not in pickle:
        return False
    before: object = None
    with suppress(ValueError):  # of a pickle that stops halfway
        for opcode, argument, _ in pickletools.genops(pickle):
            if "PUT" not in opcode.name:  # remembers what was just read
                found = argument if "UNICODE" in opcode.name else None
                if (before, found) == (key, value):
                    return True
                before = found
    return False


def read(path: Path) -> dict[str, Any]:
    """Return the dictionary that `torch.save` wrote.

    Raises:
        ModelError: `bad_checkpoint`: no torch zip, a damaged one, or anything in it but tensors,
            numbers, strings and containers.
    """
    return torch_zip.dictionary(path, torch_zip.read(path, REMEDY))


def state_dict(path: Path) -> dict[str, Tensor]:
    """Return the weights in a file that holds them alone or where `torch_zip.state_dict` looks.

    Raises:
        ModelError: `bad_checkpoint`.
    """
    return torch_zip.state_dict(path, torch_zip.read(path, REMEDY))


def array(name: str, tensor: object) -> Array:
    """Return a tensor of a file as float64.

    Raises:
        ModelError: `bad_checkpoint`: it is none, or not one of real numbers; `bad_weights` for NaN.
    """
    if not isinstance(tensor, Tensor):
        raise ModelError("bad_checkpoint", f"{name}: is a {type(tensor).__name__}, no tensor")
    odd = torch_zip.oddity(tensor)
    if odd:
        raise ModelError("bad_checkpoint", f"{name}: {odd}")
    values: Array = tensor.detach().to(torch.float64).numpy()
    if not np.isfinite(values).all():
        raise ModelError("bad_weights", f"{name} holds a number that is not finite")
    return values
