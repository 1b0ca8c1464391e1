"""Answers to a camera, as server-sent events: one reader, however many listen.

The camera is read while somebody listens. Each listener is sent the newest answer, and then what
is the newest by then: a slow one misses answers, and gets none late. Where there is none for a
while, an event says so, which also keeps proxies from closing the connection. Spikes are looked at
while a listener has asked for them.
"""

import asyncio
import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from snn_runtime.errors import InputError, SnnError, UsageError
from snn_runtime.video.latest import EXPIRES, LONGEST_PAUSE, Frame, Latest, moment
from snn_runtime.video.newest import Camera, check, newest
from snn_serve.refusal import Refusal, bad_request

SILENCE = 5.0
"""Seconds without an answer until an event says that there is none."""
_LOOK = 0.2
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}

Label: TypeAlias = Callable[[bytes, bool], Awaitable[dict[str, Any]]]
"""Returns what is known about a picture, the fields of an answer, and its `layers` if asked.
Raises SnnError or Refusal where it cannot be used, or there is no time."""

_log = logging.getLogger(__name__)


def reading(text: str, rate: float) -> Callable[[], Latest]:
    """Return what begins to read a camera, for as long as it takes.

    Raises:
        UsageError: `bad_flag`: it is none.
        ImportError: there is no OpenCV.
    """
    try:
        check(text)
    except InputError as error:
        raise UsageError(
            "bad_flag", f"--camera {text.rpartition('@')[2]} {error.message}"
        ) from error
    return partial(newest, text, Camera(fps=rate, camera_retries=sys.maxsize))


class Stream:
    """The answers of one camera."""

    def __init__(self, camera: Callable[[], Latest] | None, label: Label, rate: float) -> None:
        """Open nothing yet.

        Args:
            camera: begins to read it; None is a server without one.
            label: answers one picture.
            rate: answers a second, at most.
        """
        self._camera, self._label, self._pause = camera, label, 1 / rate
        self._listeners = self._shown = 0
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._newest = {False: b"", True: b""}
        """The newest event, without and with what the layers sent; empty if nobody asked."""
        self._count, self._since = 0, time.monotonic()
        self._closed = False

    @property
    def has_camera(self) -> bool:
        return self._camera is not None

    async def answer(self, request: Request) -> Response:
        """The events, until the client leaves or the server ends.

        Raises:
            Refusal: 400, parameters; 404, there is no camera; 503, the server ends.
        """
        shown = _wishes(request)
        if self._camera is None:
            raise Refusal(404, "no_camera", "this server has no camera: see --camera")
        if self._closed:
            raise Refusal(503, "not_ready", "the server ends")
        return _Events(self, shown)

    def close(self) -> None:
        """End all streams and the reading."""
        self._closed = True
        self._stop()
        self._changed.set()

    @contextmanager
    def listening(self, shown: bool) -> Iterator[None]:
        """Have the camera read while somebody listens, and the spikes if they are to be shown."""
        self._listeners += 1
        self._shown += shown
        if self._task is None:
            self._since = time.monotonic()
            self._task = asyncio.create_task(self._read())
        try:
            yield
        finally:
            self._listeners -= 1
            self._shown -= shown
            if not self._listeners:
                self._stop()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def events(self, shown: bool) -> AsyncIterator[bytes]:
        """Yield the newest answer, and the newest again."""
        seen = self._count
        yield b": a camera's answers\n\n"
        while not self._closed:
            if seen == self._count:
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), SILENCE)
            silent, new = time.monotonic() - self._since, seen != self._count
            seen = self._count  # before a client may make us wait
            if new and silent < EXPIRES and self._newest[shown]:
                yield self._newest[shown]
            elif silent >= SILENCE:
                yield _event("silence", {"seconds": round(silent, 1)})

    async def _read(self) -> None:
        """Label the newest picture, again and again; where a camera fails for good, try later."""
        assert self._camera is not None
        while True:
            try:
                await self._follow(self._camera)
            except Exception as error:  # whatever it is, the next try may do better
                kind = "" if isinstance(error, SnnError) else f"{type(error).__name__}: "
                _log.error("camera: %s%s; again in %.0f s", kind, error, LONGEST_PAUSE)
            await asyncio.sleep(LONGEST_PAUSE)

    async def _follow(self, camera: Callable[[], Latest]) -> None:
        latest = camera()
        try:
            while not latest.finished:
                frame = await asyncio.to_thread(latest.take, _LOOK)
                if frame is not None:
                    due = time.monotonic() + self._pause
                    await self._answered(frame)
                    await asyncio.sleep(due - time.monotonic())
        finally:
            latest.close()

    async def _answered(self, frame: Frame) -> None:
        asked = self._shown > 0
        try:
            said = await self._label(frame.data, asked)
        except Refusal as refusal:  # too busy: the next picture may have more luck
            _log.debug("camera: %s", refusal.message)
            return
        except SnnError as error:
            said = {"ok": False, "error": {"code": error.code, "message": error.message}}
        whole = {"frame": frame.number, "captured": moment(frame.captured), **said}
        plain = {name: value for name, value in whole.items() if name != "layers"}
        self._newest = {
            False: _event("message", plain),
            True: _event("message", whole) if asked else b"",
        }
        self._count, self._since = self._count + 1, time.monotonic()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class _Events(StreamingResponse):
    def __init__(self, stream: Stream, shown: bool) -> None:
        super().__init__(stream.events(shown), headers=_HEADERS, media_type="text/event-stream")
        self._stream, self._shown = stream, shown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._stream.listening(self._shown):
            await super().__call__(scope, receive, send)


def _wishes(request: Request) -> bool:
    """Whether the client wants the spikes, too."""
    given = request.query_params.multi_items()
    if given not in ([], [("spikes", "false")], [("spikes", "true")]):
        raise bad_request("expected no parameter but spikes, true or false")
    return given == [("spikes", "true")]


def _event(kind: str, fields: dict[str, Any]) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(fields, allow_nan=False)}\n\n".encode()
