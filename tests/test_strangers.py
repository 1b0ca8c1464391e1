"""Every flag that takes a path, given what is no file: refused in one line, at once, without
reading it, and never an internal error."""

import contextlib
import ctypes
import io
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
from pages import MAINS

PICTURE = "--image-size 8x8 --labels a,b --mean 0 --std 1".split()
INPUTS = [
    *(f"train-snn --data {name}:{{}}" for name in (
        "imagefolder", "imagenet", "cifar10", "cifar100", "mnist", "fashion-mnist")),
    "train-snn --resume {}",
    "train-snn --data digits --int-bits 4 --from {}",
    "export-snn {} model.onnx",
    *(f"export-snn {{}} model.onnx --from {name} --image-size 8x8 --labels a,b --mean 0 --std 1"
      for name in ("iir-official", "nir")),
    *(f"export-snn {{}} model.onnx --from {name} --image-size 8x8 --labels a,b --mean 0 --std 1 "
      "--module net.py:build" for name in ("snntorch", "spikingjelly")),
    "export-snn file model.onnx --from iir-official --image-size 8x8 --mean 0 --std 1 --labels {}",
    "export-snn file model.onnx --from snntorch --image-size 8x8 --labels a,b --mean 0 --std 1 "
    "--module {}.py:build",
    "snn-infer {}",
    "snn-infer picture.jpg --model {}",
    "snn-bench --model {}",
    "snn-bench --images {}",
    "snn-doctor --model {}",
]  # fmt: skip
OUTPUTS = [
    "export-snn file {}",
    "snn-bench --topology vgg16 --width 0.05 --plot {}",
    "snn-doctor --output {}",
    "train-snn --data digits --epochs 1 --timesteps 1 --out {}",
]
KINDS = ("zeros", "pipe", "folder", "socket", "missing", "empty", "huge", "unreadable", "nul\0")
"""What a path may lead to, each under its own name, and with .py behind it."""
SECONDS = 20
ROOM = 2 * 2**30
"""Bytes that a refusal may take beside what Python has already."""


def make(kind: str, path: Path) -> None:
    if kind == "zeros":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    elif kind in ("empty", "unreadable", "huge"):
        path.touch(0o000 if kind == "unreadable" else 0o644)
        if kind == "huge":
            os.truncate(path, 100 * 10**9)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for kind in KINDS:
        if "\0" not in kind:
            make(kind, tmp_path / kind)
            make(kind, tmp_path / f"{kind}.py")
    (tmp_path / "file").write_bytes(b"no network")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ordinary() -> Iterator[None]:
    """Root reads everything: without these two capabilities it is stopped by a mode as others."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    before = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.capget(header, before) == 0
    effective, *rest = before
    # All of what is effective but CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH.
    without = (ctypes.c_uint32 * 6)(effective & ~0b110, *rest)
    assert libc.capset(header, without) == 0
    yield
    assert libc.capset(header, before) == 0


def answer(line: str, path: str) -> tuple[int, str]:
    """The exit code of a command, and what it says on stderr, in bounded time and memory."""
    words = [word.replace("{}", path) for word in line.split()]
    main: Callable[[], int] = import_module(MAINS[words[0]]).main
    said, printed = io.StringIO(), io.TextIOWrapper(io.BytesIO())

    def late(*_: object) -> None:
        raise AssertionError(f"no answer in {SECONDS} s: {words}")

    before = sys.argv, signal.signal(signal.SIGALRM, late), resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, before[2][1]))
    signal.alarm(SECONDS)
    sys.argv = words
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
            return main(), said.getvalue()
    finally:
        signal.alarm(0)
        sys.argv = before[0]
        signal.signal(signal.SIGALRM, before[1])
        resource.setrlimit(resource.RLIMIT_AS, before[2])


@pytest.mark.parametrize("line", INPUTS)
def test_what_is_no_file_is_refused_at_the_door(line: str, place: Path, ordinary: None) -> None:
    for kind in KINDS:
        code, said = answer(line, kind)
        errors = [part for part in said.splitlines() if ": error: " in part]
        assert code in (2, 3, 5) and len(errors) == 1, (kind, code, said)
        assert "memory" not in said and "internal" not in said, (kind, said)
        assert not (place / "model.onnx").exists()


@pytest.mark.parametrize("line", OUTPUTS)
def test_only_a_file_is_replaced(line: str, place: Path, ordinary: None) -> None:
    """And that is known before the work."""
    folders = line.startswith("train-snn")
    for kind in ("zeros", "pipe", "socket", "nul\0", *(["empty"] if folders else ["folder"])):
        code, said = answer(line, kind)
        assert code in (2, 7) and said.count(": error: ") == 1, (kind, code, said)
        assert "internal" not in said
    assert (place / "zeros").is_symlink() and (place / "pipe").is_fifo()
