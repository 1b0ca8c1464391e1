"""convolution.cpp in ctypes, compiled for the machine that trains.

That takes seconds, once a process, so nothing is kept. Who compiles steps has a C++ compiler: what
torch.compile writes for processors needs one, too.
"""

import ctypes
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from ctypes import POINTER, c_bool, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

from snn_runtime.errors import DeviceError

SOURCE = Path(__file__).with_name("convolution.cpp")
COMPILERS = ("c++", "g++", "clang++")
"""Looked for in this order where $CXX names none."""
FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast"),
    *("-fPIC", "-shared", "-pthread", "-fvisibility=hidden", "-Wno-psabi"),
)
OTHER = "a C++ compiler that works, such as g++, in CXX"
TELLS = re.compile(r"\berror: |cannot find|undefined ", re.IGNORECASE)
"""What lines of compilers, assemblers and linkers have in them that give the reason."""


class Shape(ctypes.Structure):
    """Shape of convolution.cpp: pictures, what they pass through, what comes out."""

    _fields_ = [
        (name, c_int32)
        for name in (
            *("pictures", "height", "width", "inputs", "outputs"),
            *("kernel_height", "kernel_width", "stride_y", "stride_x", "padding_y", "padding_x"),
            *("out_height", "out_width"),
        )
    ]


@cache
def library() -> ctypes.CDLL:
    """Compile and load the functions.

    Raises:
        DeviceError: `cannot_compile`: there is no C++ compiler, or it fails, or what it makes
            cannot be loaded.
    """
    command = _compiler()
    try:
        with tempfile.TemporaryDirectory(prefix="snn-train-") as folder:
            made = Path(folder) / "convolution.so"
            done = subprocess.run(
                [*command, *FLAGS, str(SOURCE), "-o", str(made)], env=os.environ | {"LC_ALL": "C"},
                capture_output=True, text=True, errors="replace", check=False,
            )  # fmt: skip
            if done.returncode:
                raise cannot_compile(
                    f"{command[0]} fails: {_first_error(done.stderr)}", f"name {OTHER}"
                )
            loaded = ctypes.CDLL(str(made))
    except OSError as error:
        raise cannot_compile(
            f"with {command[0]}: {error}",
            f"name {OTHER}, or in TMPDIR a folder to write to and to load libraries from",
        ) from error
    _declare(loaded)
    return loaded


def cannot_compile(problem: str, remedy: str) -> DeviceError:
    """Return what is raised where steps cannot be compiled, by this or by torch."""
    return DeviceError(
        "cannot_compile",
        f"--compile: {problem}; {remedy}, or leave --compile out, or go on with --resume and "
        "--no-compile",
    )


def _compiler() -> list[str]:
    """$CXX, or the first of `COMPILERS` that is here."""
    value = os.environ.get("CXX", "")
    try:
        named = shlex.split(value)
    except ValueError as error:
        raise cannot_compile(f"CXX={value}: {error}", f"name {OTHER}") from error
    for command in [named] if named else [[name] for name in COMPILERS]:
        if shutil.which(command[0]):
            return command
    here = f"no C++ compiler ({shlex.join(named) or ', '.join(COMPILERS)})"
    raise cannot_compile(here, f"install one, or name {OTHER}")


def _first_error(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return next((line for line in lines if TELLS.search(line)), (lines or ["no reason given"])[0])


def _declare(loaded: ctypes.CDLL) -> None:
    """Declare all signatures: by default ctypes cuts pointers to 32 bits. Where memory runs out,
    functions raise what torch raises: a RuntimeError in words that a step knows."""
    flag, shape, pointer = c_int32, POINTER(Shape), c_void_p
    loaded.snn_count.restype = c_int64
    loaded.snn_count.argtypes = [pointer, c_int64, c_int64, c_int64, flag]
    for each in (loaded.snn_currents, loaded.snn_gradients):
        each.restype, each.errcheck = c_bool, _memory_checked
    loaded.snn_currents.argtypes = [shape, pointer, pointer, pointer, flag, flag, c_int32]
    loaded.snn_gradients.argtypes = [shape, pointer, pointer, pointer, flag, c_int32]


def _memory_checked(enough: Any, function: Any, arguments: tuple[Any, ...]) -> Any:
    if not enough:
        pictures = arguments[0]._obj.pictures
        raise RuntimeError(f"not enough memory for a convolution of {pictures} pictures by events")
    return enough
