"""A process that decodes pictures, one after the other, and may die of one: see `decoders`.

It writes an empty line when it is ready. A request is a line of JSON, `length`, `height`, `width`
and `fit`, and the bytes of the picture. The answer is a line of JSON, `warnings`, and the pixels,
or `code` and `message`.
"""

import json
import os
import resource
import sys
import warnings
from typing import BinaryIO, TypedDict

from snn_runtime.errors import InputError
from snn_runtime.image import Fit, Limits, prepare


def main() -> None:
    """Decode until standard input ends."""
    max_bytes, max_pixels, memory = map(int, sys.argv[1:])
    warnings.simplefilter("ignore")  # Pillow's, about odd tags
    _limit(memory)
    limits = Limits(max_bytes=max_bytes, max_pixels=max_pixels)
    sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()
    while head := sys.stdin.buffer.readline():
        sys.stdout.buffer.write(_answer(json.loads(head), sys.stdin.buffer, limits))
        sys.stdout.buffer.flush()


class _Asked(TypedDict):
    """A request, as JSON has it."""

    length: int
    height: int
    width: int
    fit: Fit


def _answer(asked: _Asked, source: BinaryIO, limits: Limits) -> bytes:
    data = source.read(asked["length"])
    try:
        pixels, said = prepare(data, asked["height"], asked["width"], asked["fit"], limits=limits)
    except InputError as error:
        return json.dumps({"code": error.code, "message": error.message}).encode() + b"\n"
    return json.dumps({"warnings": said}).encode() + b"\n" + pixels.tobytes()


def _limit(memory: int) -> None:
    """Allow `memory` bytes of address space beyond what is in use, and no core files."""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + memory,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
