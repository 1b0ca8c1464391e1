"""Torch files of strangers: tensors and plain containers, or nothing. No pickle is ever run."""

import warnings
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from torch import Tensor

from snn_export.fold import Array
from snn_runtime.errors import ModelError
from snn_train.checkpoint import check_torch_zip

NO_ZIP = "is no torch zip; if torch older than 1.6 wrote it, load it there and save it again"
NESTED = ("state_dict", "model_state_dict", "net", "model")
"""Where training scripts keep the weights when they keep more than those."""


def pickled_words(path: Path) -> bytes:
    """The pickle in a torch zip, to look for words in it, not to load; empty for other files."""
    try:
        with ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.endswith("/data.pkl")]
            return archive.open(names[0]).read(2**24) if names else b""
    except (BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError):
        return b""


def read(path: Path) -> dict[str, Any]:
    """Return the dictionary that `torch.save` wrote.

    Raises:
        ModelError: `bad_checkpoint`: no torch zip, or anything in it but tensors, numbers, strings
            and containers.
    """
    check_torch_zip(path, NO_ZIP)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        raise _refuse(
            path,
            "holds more than tensors; a pickle of a whole module is never loaded, because loading "
            "runs whatever it says. Save net.state_dict() and name the function that builds the "
            f"network with --module ({' '.join(str(error).split())[:100]})",
        ) from error
    if not isinstance(content, dict):
        raise _refuse(path, f"holds a {type(content).__name__}, expected a dictionary of tensors")
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
        raise _refuse(path, f"is no state_dict: {found}, expected tensors by name")
    if all(key.startswith("module.") for key in content):  # of torch's DataParallel
        content = {key.removeprefix("module."): value for key, value in content.items()}
    return content


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


def _refuse(path: Path, problem: str) -> ModelError:
    return ModelError("bad_checkpoint", f"{path}: {problem}")
