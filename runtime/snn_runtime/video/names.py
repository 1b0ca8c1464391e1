"""Which inputs are films, and which are cameras or addresses: by their names alone."""

from importlib.util import find_spec

FILMS = tuple(
    ".mp4 .m4v .mov .mkv .webm .avi .ts .mts .m2ts .mpg .mpeg .wmv .flv .ogv .3gp".split()
)
"""How the name of a film ends, in any case."""
WRITTEN = {".mp4": "mp4v", ".webm": "VP80"}
"""Films that are written, with OpenCV's names of codecs: MPEG-4 Part 2, which players show, and
VP8, which browsers show too and which takes far longer."""
ADDRESSES = ("http://", "https://")
"""What is read without OpenCV."""
CAMERA_TIMEOUT, CAMERA_RETRIES = 5.0, 5
"""Seconds without another picture after which a camera counts as lost, and attempts in a row to
reach it again, where nobody says."""
CAMERAS = ("camera:", "csi:", "rtsp://", "rtsps://")


def is_film(text: str) -> bool:
    """Whether an input is a file with frames."""
    return text.lower().endswith(FILMS) and not is_live(text)


def is_live(text: str) -> bool:
    """Whether an input is a camera, or something on the network."""
    return text.lower().startswith((*ADDRESSES, *CAMERAS))


def needs_opencv(text: str) -> bool:
    """Whether an input is read by OpenCV, which the extra `video` brings."""
    return is_film(text) or text.lower().startswith(CAMERAS)


def check_opencv() -> None:
    """Raises: ImportError: OpenCV is not installed; not imported here, since that takes a while."""
    if find_spec("cv2") is None:
        raise ModuleNotFoundError("no OpenCV", name="cv2")
