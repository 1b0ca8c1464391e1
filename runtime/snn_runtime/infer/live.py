"""Pictures from an address: one, or the newest of a camera again and again."""

import time
from collections.abc import Iterator

from snn_runtime.errors import InputError
from snn_runtime.image import DEFAULT_LIMITS, Limits
from snn_runtime.image.intake import GLANCE
from snn_runtime.infer.sources import Source
from snn_runtime.video.newest import Camera, name_of, newest


def live(text: str, camera: Camera, limits: Limits = DEFAULT_LIMITS) -> Iterator[Source | None]:
    """Yield the newest picture, and None after each, so that it is labelled at once.

    Raises:
        BusyError: `camera_lost`.
        DeviceError: `missing_package`, `opencv_backend`.
    """
    name = text.rpartition("@")[2]
    try:
        name = name_of(text)
        latest, due = newest(text, camera, limits), 0.0
        while not latest.finished:
            time.sleep(max(0.0, due - time.monotonic()))
            if frame := latest.take(GLANCE):
                due = time.monotonic() + (1 / camera.fps if camera.fps else 0)
                yield Source(
                    frame.name, data=frame.data, seconds=frame.captured, rate=camera.fps or 0.0
                )
            yield None
    except InputError as error:
        yield Source(name, error)
