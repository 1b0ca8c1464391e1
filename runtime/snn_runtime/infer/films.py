"""The frames of a film, each a picture with its number and its time in the film."""

import os
import sys
from collections.abc import Iterator

from snn_runtime.door import open_file
from snn_runtime.errors import InputError
from snn_runtime.image import DEFAULT_LIMITS, Limits
from snn_runtime.infer.sources import Source
from snn_runtime.video.reading import Ended, frames
from snn_runtime.video.wanted import Wanted

_BEGINS = (
    b"\x1aE\xdf\xa3",
    b"FLV\1",
    b"OggS",
    b"0&\xb2u\x8ef\xcf\x11",
    b"\0\0\1\xba",
    b"\0\0\1\xb3",
)
"""Matroska and WebM, Flash, Ogg, ASF, MPEG program streams and MPEG video."""
_ATOMS = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"})


def film(
    path: str, *, every: int = 1, fps: float | None = None, limits: Limits = DEFAULT_LIMITS
) -> Iterator[Source | None]:
    """Yield frames, and in the end a failure where the film is damaged; None where the next one is
    not decoded yet.

    Args:
        every: only every so many-th frame, from the first on.
        fps: so many frames a second of the film, at most.

    Raises:
        DeviceError: `missing_package`.
    """
    name = path
    try:
        with open_file(path, sys.maxsize) as file:
            if not is_film(file.read(400)):
                raise InputError("not_a_film", "is no film, though its name says so")
            # Not by its name, which OpenCV might take for an address or a pattern of names.
            wanted = Wanted(
                f"/proc/self/fd/{file.fileno()}",
                film=True,
                every=every,
                pause=1 / fps if fps else 0.0,
                max_pixels=limits.max_pixels,
            )
            for each in frames(wanted, files=[file.fileno()]):
                if each is None:
                    yield None
                    continue
                about, data = each
                name = f"{path}#{about['number']}@{clock(about['seconds'])}"
                warned = (f"the decoder says: {about['warning']}",) * bool(about["warning"])
                rate = about["rate"] / every
                yield Source(
                    name,
                    data=data,
                    warnings=warned,
                    seconds=about["seconds"],
                    rate=min(rate, fps or rate),
                )
            if name == path:
                raise InputError("corrupt", "holds no frame")
    except InputError as error:
        yield Source(path, error)
    except Ended as error:
        after = "" if name == path else f" after {os.path.basename(name)}"
        yield Source(path, InputError("corrupt", f"ends its decoder{after}: {error}"))


def is_film(head: bytes) -> bool:
    """Whether a file that begins like this is a film, and no list of other files and addresses."""
    packets = head[:1] == head[188:189] == b"G" or head[4:5] == head[196:197] == b"G"
    riff = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    return packets or riff or head[4:8] in _ATOMS or head.startswith(_BEGINS)


def clock(seconds: float) -> str:
    """Return a time in a film: `0:01:02.040`."""
    whole = round(1000 * max(seconds, 0.0))
    return (
        f"{whole // 3_600_000}:{whole // 60_000 % 60:02}:{whole // 1000 % 60:02}.{whole % 1000:03}"
    )
