"""Frames of the reading process, which is ended by whoever stops to take them.

A driver that hangs cannot be interrupted from inside a process, and a film may end its decoder, so
neither happens in ours.
"""

import fcntl
import json
import os
import select
import subprocess
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, TypeAlias

from snn_runtime import errors
from snn_runtime.image.intake import GLANCE
from snn_runtime.machine.children import child_environment, main_command
from snn_runtime.video.wanted import Wanted

COMMAND = main_command("snn_runtime.video.reader")
_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_STREAMS = "rtsp_transport;tcp|analyzeduration;1000000|fpsprobesize;0"
"""By TCP no part of a picture is lost; one second of a stream is studied beforehand, not five."""
_PIECE = 2**20

Frame: TypeAlias = tuple[dict[str, Any], bytes]
"""What is known about a frame, and the bytes of a BMP file."""


class Ended(Exception):
    """The process ended and did not say why."""


def frames(
    wanted: Wanted, *, opening: float = float("inf"), files: Sequence[int] = ()
) -> Generator[Frame | None, None, None]:
    """Yield each frame, and None now and then while the next has not come. Before the first, no
    None comes.

    Args:
        opening: seconds after which it is too late for a first frame.
        files: descriptors that the process gets.

    Raises:
        SnnError: what the process says.
        Ended: it dies, or has not opened in time.
    """
    process = subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(wanted),
        pass_fds=files,
        start_new_session=True,  # Ctrl-C is for us
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps(asdict(wanted)).encode() + b"\n")
        process.stdin.flush()
        latest, begun = time.monotonic() + opening, False
        for each in _messages(process.stdout.fileno()):
            if each is None and not begun:
                if time.monotonic() > latest:
                    raise Ended(f"no picture within {opening:g} s")
                continue
            if each is not None and not each[1]:
                if (kind := each[0].get("error")) is None:
                    return
                raise errors.named(kind, each[0]["code"], each[0]["message"])
            begun = True
            yield each
        raise Ended(f"its reader ended with {process.wait()}")
    except BrokenPipeError as error:
        raise Ended("its reader could not start") from error
    finally:
        process.kill()
        with suppress(subprocess.TimeoutExpired):  # a driver may hold on to it
            process.wait(1)
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.close()


def _messages(descriptor: int) -> Generator[Frame | None, None, None]:
    """Yield what arrives in a pipe, and None where nothing does for a moment."""
    with suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIECE)
    held = bytearray()
    while True:
        while (end := held.find(b"\n")) < 0:
            yield from _waits(descriptor)
            if not (piece := os.read(descriptor, 4096)):
                return
            held += piece
        fields = json.loads(held[:end])
        data, filled = bytearray(fields["length"]), min(len(held) - end - 1, fields["length"])
        data[:filled] = held[end + 1 : end + 1 + filled]
        del held[: end + 1 + filled]
        while filled < len(data):
            yield from _waits(descriptor)
            if not (count := os.readv(descriptor, [memoryview(data)[filled:]])):
                return
            filled += count
        yield fields, bytes(data)


def _waits(descriptor: int) -> Iterator[None]:
    """Yield None where nothing arrives for a moment, until something does."""
    while not select.select([descriptor], [], [], GLANCE)[0]:
        yield None


def _environment(wanted: Wanted) -> dict[str, str]:
    """What OpenCV heeds. A film reads no other file and no address, whatever is written in it."""
    environment = {**child_environment(), "OPENCV_LOG_LEVEL": "OFF"}
    if wanted.film:
        return {**environment, _OPTIONS: "protocol_whitelist;file"}
    return {_OPTIONS: _STREAMS, **environment}
