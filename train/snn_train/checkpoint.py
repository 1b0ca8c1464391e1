"""Checkpoints that describe themselves: everything needed to build, judge and export the network.

A file is a torch zip of plain containers and tensors, read with `weights_only=True` and nothing
else, and carries a SHA-256 over all it holds, so a damaged file is recognised.
"""

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snn_runtime.files import write_atomic
from snn_train.torch_zip import read, refuse

FORMAT = "iir-snn"
VERSION = 1
ODD = (TypeError, ValueError, RuntimeError, IndexError, AttributeError, ArithmeticError)
"""What entries of another kind end in: anybody can write a file with a checksum of its own."""


def save(path: Path, content: dict[str, Any]) -> None:
    """Write `content` to `path` atomically.

    Raises:
        ResourceError: the file cannot be written; what was there before is untouched.
    """
    state = {"format": FORMAT, "version": VERSION, **content}
    buffer = io.BytesIO()
    torch.save({**state, "digest": _digest(state)}, buffer)
    write_atomic(path, buffer.getvalue())


def load(path: Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """Return what `save` wrote.

    Raises:
        ModelError: missing, not of this format, damaged, or written by a newer version.
    """
    return _validated(path, read(path, "name a checkpoint of train-snn", device))


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Complaints of whoever makes a network of what a checkpoint holds.

    Raises:
        ModelError: its entries are missing, unknown or do not fit together.
    """
    try:
        yield
    except KeyError as error:
        raise refuse(path, f"has no {error.args[0]!r}") from error
    except ODD as error:
        problem = " ".join(str(error).split())[:200]
        raise refuse(path, f"does not fit together: {problem}") from error


def _validated(path: Path, content: object) -> dict[str, Any]:
    if not isinstance(content, dict) or _plain(content.get("format")) != FORMAT:
        raise refuse(path, "is a torch file, but not a checkpoint of train-snn")
    version = _plain(content.get("version"))
    if version != VERSION:
        raise refuse(path, f"has format version {version!r}, this program reads {VERSION}")
    digest = content.pop("digest", None)
    try:
        actual = _digest(content)
    except (TypeError, ValueError, RuntimeError) as error:  # too deep a nest is a RuntimeError
        raise refuse(path, f"holds what no checkpoint holds ({_first_line(error)})") from error
    if digest != actual:
        raise refuse(path, "is damaged: its content does not match its checksum")
    return content


def _plain(value: object) -> object:
    """A number or text; None for a tensor, which is not compared but element by element."""
    return value if isinstance(value, int | str) else None


def _digest(value: object) -> str:
    state = hashlib.sha256()
    _feed(state, value)
    return state.hexdigest()


def _feed(state: "hashlib._Hash", value: object) -> None:
    """Hash any nest of containers, numbers, strings and tensors, each with its type and length."""
    if isinstance(value, Tensor):
        if value.layout != torch.strided:
            raise TypeError(f"a tensor is {value.layout}, expected dense ones")
        if value.untyped_storage().nbytes() < value.numel() * value.element_size():
            raise ValueError(f"a tensor of {tuple(value.shape)} repeats a few numbers")
        array = value.detach().cpu().contiguous()
        state.update(f"tensor {array.dtype} {tuple(array.shape)}".encode())
        state.update(array.reshape(-1).view(torch.uint8).numpy().data if array.numel() else b"")
    elif isinstance(value, dict):
        state.update(f"dict {len(value)}".encode())
        for key, item in value.items():
            _feed(state, key)
            _feed(state, item)
    elif isinstance(value, list | tuple):
        state.update(f"{type(value).__name__} {len(value)}".encode())
        for item in value:
            _feed(state, item)
    else:
        state.update(f"{type(value).__name__} {json.dumps(value)};".encode())


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:120] if text else type(error).__name__
