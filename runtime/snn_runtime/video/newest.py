"""The newest picture of a camera: one of this machine, or one on the network."""

from dataclasses import dataclass

from snn_runtime.addresses import public
from snn_runtime.errors import BusyError, InputError
from snn_runtime.image import DEFAULT_LIMITS, Limits
from snn_runtime.video.http import Address
from snn_runtime.video.latest import Latest, Pictures, Shown
from snn_runtime.video.names import (
    ADDRESSES,
    CAMERA_RETRIES,
    CAMERA_TIMEOUT,
    check_opencv,
    is_live,
    needs_opencv,
)
from snn_runtime.video.reading import Ended, frames
from snn_runtime.video.wanted import Wanted, camera

OPENING = 10.0
"""Seconds that the first picture may take beside the others' time: a process starts, and a stream
may begin with what only the next whole picture makes sense of."""


@dataclass(frozen=True)
class Camera:
    """How cameras are read, under the names of the flags."""

    fps: float | None = None
    """Pictures a second at most; where given, an address of one picture is read again and again."""
    camera_timeout: float = CAMERA_TIMEOUT
    """Seconds without another picture after which a camera counts as lost."""
    camera_retries: int = CAMERA_RETRIES
    """Attempts in a row to reach it again."""


def name_of(text: str) -> str:
    """Return what a camera is called in answers and messages: without user and password.

    Raises:
        InputError: `unreachable`: it is no address.
    """
    if "://" not in text:
        return text
    try:
        return public(text)
    except ValueError as error:
        raise InputError("unreachable", f"is no address: {error}") from error


def check(text: str) -> None:
    """Refuse what is no camera, before anything is opened.

    Raises:
        InputError: `bad_camera`, `unreachable`.
        ImportError: there is no OpenCV.
    """
    if not is_live(text):
        raise InputError(
            "bad_camera", "is no camera: expected camera:0, csi:0, rtsp://… or http://…"
        )
    name_of(text)
    if needs_opencv(text):
        camera(text)
        check_opencv()


def newest(text: str, settings: Camera, limits: Limits = DEFAULT_LIMITS) -> Latest:
    """Begin to read a camera, or an address.

    Raises:
        InputError: `bad_camera`, `unreachable`: the text means nothing.
    """
    name, timeout = name_of(text), settings.camera_timeout
    pause = 1 / settings.fps if settings.fps else None
    if text.lower().startswith(ADDRESSES):
        try:
            connect = Address(text, timeout=timeout, every=pause, limits=limits).read
        except ValueError as error:
            raise InputError("unreachable", f"is no address: {error}") from error
    else:
        wanted = camera(text, pause or 0.0)

        def connect() -> Pictures:
            return _shown(wanted, name, timeout + OPENING)

    # Between two pictures of what is asked so rarely, nothing can come.
    patience = timeout + (pause or 0)
    return Latest(name, connect, timeout=patience, retries=settings.camera_retries)


def _shown(wanted: Wanted, name: str, opening: float) -> Pictures:
    try:
        for each in frames(wanted, opening=opening):
            if each is None:
                yield None
                continue
            about, data = each
            yield Shown(data, about["captured"], another=about.get("another", False))
    except Ended as error:
        raise BusyError("camera_lost", str(error)) from error
    except (BusyError, InputError) as error:  # what libraries print may name all of an address
        message = error.message.replace(wanted.target, name) if "://" in name else error.message
        raise type(error)(error.code, message) from error
    return False
