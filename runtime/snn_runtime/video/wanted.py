"""What the reading process is asked for, and how cameras are named for OpenCV."""

from dataclasses import dataclass
from typing import Literal

from snn_runtime.errors import InputError

DEVICE = "/dev/video{}"
CSI = (
    "nvarguscamerasrc sensor-id={} ! video/x-raw(memory:NVMM),framerate=30/1 ! nvvidconv ! "
    "video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=BGR ! "
    "appsink drop=true max-buffers=1 sync=false"
)
"""A camera on a Jetson's ribbon cable; the image processor of the board makes its pictures."""


@dataclass(frozen=True)
class Wanted:
    """One film or camera."""

    target: str
    """What OpenCV opens: a path, an address, a pipeline."""
    backend: Literal["FFMPEG", "V4L2", "GSTREAMER"] = "FFMPEG"
    film: bool = False
    """Every frame counts, and it has an end; else only the newest counts."""
    every: int = 1
    """Of a film, only every so many-th frame, from the first on."""
    pause: float = 0.0
    """Seconds between two frames, at least: of a film, by its own clock."""
    max_pixels: int = 2**31
    """Larger films are refused before a frame is decoded."""


def camera(text: str, pause: float = 0.0) -> Wanted:
    """Return what `camera:0`, `camera:/dev/…`, `csi:0` or `rtsp://…` means.

    Raises:
        InputError: `bad_camera`: it means nothing.
    """
    kind, _, place = text.partition(":")
    if kind.lower() in ("rtsp", "rtsps"):
        return Wanted(text, pause=pause)
    if place.isdecimal() and len(place) < 4:
        if kind.lower() == "csi":
            return Wanted(CSI.format(int(place)), "GSTREAMER", pause=pause)
        return Wanted(DEVICE.format(int(place)), "V4L2", pause=pause)
    if kind.lower() == "camera" and place.startswith("/dev/"):
        return Wanted(place, "V4L2", pause=pause)
    raise InputError("bad_camera", "is no camera: expected camera:0, camera:/dev/… or csi:0")
