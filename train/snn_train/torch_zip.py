"""Torch files of any origin: whole, and of tensors and plain containers, or refused.

A torch file is a zip, and a zip holds a CRC-32 of every member. torch does not compare them, so a
byte that flipped would be another weight.
"""

import os
import pickletools
import re
import struct
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from zipfile import BadZipFile, ZipFile, ZipInfo

import torch
from torch import Tensor

from snn_runtime import door
from snn_runtime.errors import InputError, ModelError

Value = TypeVar("Value")
LARGEST = 8 * 2**30
"""Bytes; a larger file is refused unread. VGG19 for ImageNet with its optimiser needs a fifth."""
LARGEST_DIRECTORY = 16 * 2**20
"""Bytes of the list of members: of some 100,000 tensors."""
CHUNK = 2**20
NESTED = ("state_dict", "model_state_dict", "net", "model")
"""Where training scripts keep the weights when they keep more than those."""
WRAPPERS = re.compile(r"^((module|_orig_mod)\.)+")
"""What torch's DataParallel and torch.compile put before every name, once for each time."""
LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""The number with which a file of torch older than 1.6 begins."""

ONNX = (b"\x12", b"\x1a", b":", b"B")
"""What may follow the version with which an ONNX file begins."""


def read(path: Path, remedy: str, device: str | torch.device = "cpu") -> Any:
    """Return what `torch.save` wrote: nothing but tensors, numbers, strings and containers.

    Args:
        remedy: what to do about a file of another kind.

    Raises:
        ModelError: `bad_checkpoint`: missing, no torch zip, damaged, or it holds more than that.
    """
    check(path, remedy)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # a strange pickle can raise anything
        raise refuse(path, _more_than_tensors(path, error, remedy)) from error


def dictionary(path: Path, content: Any, remedy: str = "") -> dict[str, Any]:
    """Return what a file holds, or refuse it. Raises: ModelError: `bad_checkpoint`."""
    if not isinstance(content, dict):
        problem = f"holds a {type(content).__name__}, expected a dictionary of tensors"
        raise refuse(path, f"{problem}; {remedy}" if remedy else problem)
    return content


def state_dict(path: Path, content: Any, remedy: str = "") -> dict[str, Tensor]:
    """Return the weights in what a file holds, alone or under one of `NESTED`.

    Raises:
        ModelError: `bad_checkpoint`.
    """
    content = dictionary(path, content, remedy)
    kept = (content[key] for key in NESTED if isinstance(content.get(key), dict))
    state: dict[str, Tensor] = next(kept, content)
    wrong = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if wrong or not state:
        found = f"{wrong[0]!r:.40} is a {type(state[wrong[0]]).__name__}" if wrong else "is empty"
        problem = f"is no state_dict: {found}, expected tensors by name"
        raise refuse(path, f"{problem}; {remedy}" if remedy else problem)
    for key, tensor in state.items():
        odd = oddity(tensor)
        if odd:
            raise refuse(path, f"{key!r:.60} {odd}")
    return state


def oddity(tensor: Tensor) -> str | None:
    """What keeps a tensor of a file from being weights; None for dense real numbers, all there."""
    if tensor.is_nested or tensor.layout != torch.strided or tensor.is_quantized:
        return "is no dense tensor of plain numbers"
    if tensor.is_complex():
        return "holds complex numbers, expected real ones"
    if tensor.is_meta:
        return "has a shape and no numbers"
    if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        return f"repeats a few numbers {tuple(tensor.shape)}"
    return None


def unwrapped(name: object) -> str:
    """The name of a tensor without what wrappers of a module have put before it."""
    return WRAPPERS.sub("", str(name))


def unwrapped_state(path: Path, state: dict[Any, Value]) -> dict[str, Value]:
    """Return what a file holds, without what wrappers have put before its names.

    Raises:
        ModelError: `bad_checkpoint`: two of a name, of which nobody knows which is meant.
    """
    named: dict[str, Value] = {}
    for key, value in state.items():
        name = unwrapped(key)
        if name in named:
            problem = f"holds {name!r:.60} twice, with and without what a wrapper puts before it"
            raise refuse(path, f"{problem}; save the state_dict of one module alone")
        named[name] = value
    return named


def check(path: Path, remedy: str) -> None:
    """Refuse what is no torch zip, or a damaged one, before torch sees it.

    Raises:
        ModelError: `bad_checkpoint`.
    """
    try:
        opened = door.open_file(path, LARGEST)
    except InputError as error:
        raise refuse(path, error.message) from error
    try:
        with opened as file:
            size = os.fstat(file.fileno()).st_size
            _check_directory(path, file, size)
            archive = ZipFile(file)
            _check_members(path, size, archive.infolist(), remedy)
            _check_sums(path, archive)
    except ModelError:
        raise
    except Exception as error:  # a damaged zip can raise anything
        raise refuse(path, _no_whole_zip(path, remedy)) from error


def pickled(path: Path) -> bytes:
    """The pickle in a torch zip that `check` passed, to look for words in it and not to load."""
    with ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        with archive.open(name) as member:
            return member.read(2**24)


def refuse(path: Path, problem: str) -> ModelError:
    return ModelError("bad_checkpoint", f"{path}: {problem}")


def _check_directory(path: Path, file: BinaryIO, size: int) -> None:
    """Refuse a list of members that would fill the memory, which `ZipFile` reads whole. Its size
    stands in a record at the end of the file, a number too large for that in another before it."""
    begin = max(0, size - 2**16 - 22)
    file.seek(begin)
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + 22 > len(tail):
        raise BadZipFile("no end")
    listed: int = struct.unpack_from("<I", tail, at + 12)[0]
    if listed == 2**32 - 1 and at >= 76 and tail[at - 76 : at - 72] == b"PK\6\6":
        listed = struct.unpack_from("<Q", tail, at - 76 + 40)[0]
    if listed > LARGEST_DIRECTORY:
        raise refuse(path, f"lists members in {listed:,} bytes, limit is {LARGEST_DIRECTORY:,}")


def _check_members(path: Path, size: int, entries: list[ZipInfo], remedy: str) -> None:
    names = [entry.filename for entry in entries]
    unpacked = sum(entry.file_size for entry in entries)
    if not any(name.endswith("/data.pkl") for name in names):
        raise refuse(path, "is a zip archive, but not one that torch wrote")
    if any(name.endswith("/constants.pkl") for name in names):
        raise refuse(path, f"is a TorchScript program, expected tensors; {remedy}")
    if unpacked > size:  # torch stores, it does not compress
        raise refuse(path, f"has {size:,} bytes and claims to unpack to {unpacked:,}")
    if len(set(names)) < len(names):
        raise refuse(path, "is damaged: two of its members have the same name")
    if not any(entry.CRC for entry in entries if entry.file_size):
        raise refuse(
            path,
            "has no checksums, by which damage would be seen; write it again without "
            "torch.serialization.set_crc32_options(False)",
        )


def _check_sums(path: Path, archive: ZipFile) -> None:
    for entry in archive.infolist():
        try:
            with archive.open(entry) as member:
                while member.read(CHUNK):
                    pass  # at its end, zipfile compares the sum
        except Exception as error:  # a damaged member can raise anything
            raise refuse(
                path,
                f"is damaged: {entry.filename!r:.60} does not match its checksum; copy it again",
            ) from error


def _no_whole_zip(path: Path, remedy: str) -> str:
    with door.open_file(path, LARGEST) as file:
        head = file.read(512)
    if not head:
        return "is empty"
    if head.startswith(b"PK\x03\x04"):
        return "is damaged: a zip archive that was cut short or overwritten; copy it again"
    if head.startswith(LEGACY) or head[257:262] == b"ustar":
        return f"is no torch zip: it is in the format of torch before 1.6; {remedy}"
    if head[:1] == b"\x08" and head[1:2] < b"\x20" and head[2:3] in ONNX:
        return "is an ONNX file, and no checkpoint; --triton and --calibrate take one"
    if head[:1] == b"\x80":
        return f"is no torch zip but a bare pickle, which is never run; {remedy}"
    return "is no torch file (no zip archive)"


def _more_than_tensors(path: Path, error: Exception, remedy: str) -> str:
    message = " ".join(str(error).split())
    match = re.search(r"(?:GLOBAL|class|function) ([\w.]+)", message)
    if match is None:
        problem = "".join(filter(str.isprintable, message.partition(" This file can")[0]))
        return f"cannot be read safely ({problem[:120]})"
    kind = match[1]
    never = "which is never loaded, because loading runs whatever it says"
    key = _key_before(pickled(path), kind)
    if key is None:
        return f"is a pickle of a whole {kind}, {never}; {remedy}"
    cure = "make it a number with .item()" if kind.endswith("scalar") else "leave it out"
    return (
        f"holds more than tensors, numbers and strings: its entry {key!r:.40} is of {kind}, "
        f"{never}; {cure}, or {remedy}"
    )


def _key_before(pickle: bytes, kind: str) -> str | None:
    """The last string before the first mention of `kind`, its key in a dictionary; None before the
    first string."""
    key: str | None = None
    with suppress(ValueError):  # of a pickle that stops halfway
        for opcode, argument, _ in pickletools.genops(pickle):
            if opcode.name == "GLOBAL" and str(argument).replace(" ", ".").endswith(kind):
                return key
            if "UNICODE" in opcode.name:
                key = str(argument)
    return key
