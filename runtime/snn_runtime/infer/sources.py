"""Which pictures a command line means: files, folders (see `image.folder`), lists of names,
standard input, films, cameras, a folder that is watched.

All are an iterator of `Source`, in which None says that nothing more is there for the moment: what
came before is then labelled without waiting for a full batch.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from snn_runtime.errors import InputError
from snn_runtime.image import DEFAULT_LIMITS, Limits, Prepared, Waiting, read_file
from snn_runtime.image.folder import DANGLING, OUTSIDE, SPECIAL, Tally, walk
from snn_runtime.video.names import CAMERA_RETRIES, CAMERA_TIMEOUT, is_film, is_live

STANDARD_INPUT = "-"
LEADS_OUTSIDE = "is a link that leads outside the folder (--follow)"


@dataclass(frozen=True)
class Source:
    """One thing that may be a picture."""

    name: str
    """As given or found, undecodable bytes as surrogates; `-` is standard input."""
    error: InputError | None = None
    """Why it is none, where that is known before reading."""
    skipped: str = ""
    """Why it is left out though nothing is wrong with it."""
    data: bytes | None = None
    """What it holds, where that is no file to be read."""
    warnings: tuple[str, ...] = ()
    """What is known about it before it is decoded."""
    seconds: float = 0.0
    """When it is shown, in its film, or when it came, since 1970."""
    rate: float = 0.0
    """How many a second there are, of those that are labelled; 0 where nobody knows."""
    arrived: bool = False
    """Whether it came into a folder that is watched: another than all before of its name."""

    def content(self, read: Callable[[str], bytes]) -> bytes:
        """Return its bytes; `read` returns those of a file."""
        return read(self.name) if self.data is None else self.data

    def prepared(
        self, take: Callable[[bytes], Prepared], read: Callable[[str], bytes] = read_file
    ) -> Prepared | InputError:
        """Return what `take` makes of its bytes, or why there is none, without its name."""
        if self.error is not None:
            return self.error
        try:
            if self.skipped:
                raise InputError("skipped", self.skipped)
            image, warnings = take(self.content(read))
            return image, warnings + self.warnings
        except InputError as error:
            return error


@dataclass(frozen=True)
class Asked:
    """What a command line says about its sources, under the names of its flags."""

    inputs: tuple[str, ...] = ()
    files_from: str | None = None
    watch: str | None = None
    follow: bool = False
    fps: float | None = None
    """Pictures a second of a camera or a film, at most."""
    every: int = 1
    """Of a film, only every so many-th frame."""
    camera_timeout: float = CAMERA_TIMEOUT
    camera_retries: int = CAMERA_RETRIES
    shard: tuple[int, int] = (1, 1)
    """Which part, of how many."""
    moves: bool = False
    """Whether pictures are moved: none may be found again, and frames of a film are no files."""
    limits: Limits = DEFAULT_LIMITS

    @property
    def countable(self) -> bool:
        """Whether all can be found twice, so counted before they are read."""
        unknown = self.watch is not None or any(is_live(i) or is_film(i) for i in self.inputs)
        return not unknown and STANDARD_INPUT not in (*self.inputs, self.files_from)


def find(
    asked: Asked, tally: Tally | None = None, *, films: bool = True
) -> Iterator[Source | None]:
    """Yield what is asked for, one by one, never holding more than one folder's names.

    Args:
        tally: counts what is passed over in folders without a line of its own.
        films: whether films are opened; each counts as one picture else.

    Raises:
        InputError: the list of names cannot be read.
    """
    part, parts = asked.shard
    place = 0
    for source in _all(asked, Tally() if tally is None else tally):
        for each in _frames(source, asked) if source and films else (source,):
            if each is None or place % parts == part - 1:
                yield each
            place += each is not None


def _frames(source: Source, asked: Asked) -> Iterable[Source | None]:
    """Return the frames of a film; a picture is itself."""
    if not is_film(source.name):
        return (source,)
    if asked.moves:
        said = "is a film, and --move-to is for pictures in files"
        return (Source(source.name, InputError("not_an_image", said)),)
    from snn_runtime.infer.films import film

    return film(source.name, every=asked.every, fps=asked.fps, limits=asked.limits)


def _all(asked: Asked, tally: Tally) -> Iterator[Source | None]:
    inputs = _given(asked, tally)
    yield from list(inputs) if asked.moves else inputs
    if asked.files_from is not None:
        yield from _listed(asked, asked.files_from, tally)
    if asked.watch is not None:
        from snn_runtime.infer.watching import arriving

        yield from arriving(asked.watch, follow=asked.follow)


def _given(asked: Asked, tally: Tally) -> Iterator[Source | None]:
    for argument in asked.inputs:
        if argument == STANDARD_INPUT:
            yield from _piped(asked.limits)
        elif is_live(argument):
            from snn_runtime.infer.live import live
            from snn_runtime.video.newest import Camera

            camera = Camera(asked.fps, asked.camera_timeout, asked.camera_retries)
            yield from live(argument, camera, asked.limits)
        elif (meant := _meant(argument)) and not (
            os.path.isfile(argument) or os.path.isdir(argument)
        ):
            yield Source(argument, InputError("missing", f"is no such file; {meant}"))
        else:
            yield from at(argument, asked.follow, tally)


def _listed(asked: Asked, path: str, tally: Tally) -> Iterator[Source | None]:
    from snn_runtime.infer.listed import names

    count = 0
    for name in names(path):
        if name is None:
            yield None
            continue
        count += 1
        found = at(name, asked.follow, tally)
        yield from list(found) if asked.moves else found
    if not count:
        yield Source(path, InputError("no_images", "there is no name in this list"))


def standard_input() -> Waiting:
    # A standard input that is closed is None, and number 0 then refuses to be read.
    return Waiting(sys.stdin.fileno() if sys.stdin else 0)


def _meant(text: str) -> str:
    """Return how to name what other programs call so, or nothing."""
    if text.isdecimal() or text.startswith("/dev/video"):
        return f"a camera is camera:{text}"
    if "://" in text:
        return (
            "addresses begin with http://, https://, rtsp:// or rtsps://, files with no such thing"
        )
    return ""


def at(path: str, follow: bool = False, tally: Tally | None = None) -> Iterable[Source]:
    """Return a file, or what is in a folder."""
    if os.path.isdir(path):
        return _in_folder(path, follow, Tally() if tally is None else tally)
    return (Source(path),)


def _piped(limits: Limits) -> Iterator[Source | None]:
    from snn_runtime.image.series import pictures

    count = 0
    try:
        for picture in pictures(standard_input(), limits):
            if picture is None:
                yield None
                continue
            count += 1
            if isinstance(picture, InputError):
                yield Source(_numbered(count), picture)
            else:
                yield Source(_numbered(count), data=picture[0], warnings=picture[1])
    except InputError as error:
        yield Source(_numbered(count + 1), error)


def _numbered(count: int) -> str:
    """Return the name of a picture on standard input: `-`, `-:2`, `-:3`."""
    return STANDARD_INPUT if count == 1 else f"{STANDARD_INPUT}:{count}"


def _in_folder(root: str, follow: bool, tally: Tally) -> Iterator[Source]:
    left: InputError | None = InputError("no_images", "no supported images in this folder")
    for entry in walk(root, follow=follow):
        source = Source(entry.path, entry.error)
        if entry.passed == OUTSIDE:
            source = Source(entry.path, skipped=LEADS_OUTSIDE)
            left = left and InputError("skipped", "all its pictures are links that lead outside")
        elif entry.passed not in ("", SPECIAL, DANGLING):  # those two fail when they are read
            tally.add(entry)
            continue
        else:
            left = None
        yield source
    if left:
        yield Source(root, left)
