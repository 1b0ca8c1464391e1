"""Pictures from an address: one, or the newest of a camera again and again."""

import time
from collections.abc import Iterator
from datetime import datetime, timezone

from snn_runtime.errors import InputError
from snn_runtime.image import DEFAULT_LIMITS, Limits
from snn_runtime.image.intake import GLANCE
from snn_runtime.image.latest import Frame, Latest
from snn_runtime.image.network import Address, public
from snn_runtime.infer.sources import Camera, Source


def live(url: str, camera: Camera, limits: Limits = DEFAULT_LIMITS) -> Iterator[Source | None]:
    """Yield the newest picture, and None after each, so that it is labelled at once.

    Raises:
        BusyError: `camera_lost`.
    """
    every = 1 / camera.fps if camera.fps else None
    try:
        name = public(url)
        address = Address(url, timeout=camera.camera_timeout, every=every, limits=limits)
        # Between two pictures of an address that is read anew, nothing can come.
        patience = camera.camera_timeout + (every or 0)
        latest = Latest(name, address.read, timeout=patience, retries=camera.camera_retries)
        due = 0.0
        while not latest.finished:
            time.sleep(max(0.0, due - time.monotonic()))
            if frame := latest.take(GLANCE):
                due = time.monotonic() + (every or 0)
                yield Source(name if address.single else _numbered(name, frame), data=frame.data)
            yield None
    except InputError as error:
        yield Source(name, error)
    except ValueError as error:
        bare = url.rpartition("@")[2]  # without user and password
        yield Source(bare, InputError("unreachable", f"is no address: {error}"))


def _numbered(name: str, frame: Frame) -> str:
    """Return the name of a picture: the camera's, which one, and when it came."""
    when = datetime.fromtimestamp(frame.captured, timezone.utc)
    return f"{name}#{frame.number}@{when.isoformat(timespec='milliseconds')}"
