"""Bodies of requests: whole, in time, within limits; and the picture that one holds."""

import base64
import binascii
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from snn_serve.limits import Limits
from snn_serve.metrics import Metrics
from snn_serve.refusal import Refusal, bad_request

PATIENCE = 2.0
"""Seconds before a body's rate counts."""
NESTED = 1000
"""Lists and objects in JSON without tensors, and beyond one a comma: more than any request needs.
"""
DIGITS = 18
"""Of a number that a client may write: no limit needs more, and Python reads no thousands."""


class Bodies:
    """Reads bodies, and knows what all of them hold together."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._held = 0

    @contextmanager
    def room(self) -> Iterator["Room"]:
        """Account for one body for as long as it is needed."""
        room = Room()
        try:
            yield room
        finally:
            self._hold(-room.size)

    def check_room(self, length: int) -> None:
        """Raises: Refusal: 503, so many bytes more are not to be held."""
        if self._held + length > self._limits.held_bytes:
            raise Refusal(503, "busy", "too many bytes of others are waiting", close=True)

    async def read(self, request: Request, room: "Room") -> bytes:
        """Return the body of a request.

        Raises:
            Refusal: 400, 408, 413, 415 or 503.
        """
        encoding = request.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise Refusal(415, "encoding", "content-encoding: expected none", close=True)
        length = number_of(request.headers.get("content-length", "0"))
        if length is None or length > self._limits.max_bytes:
            raise self._too_large()
        pieces, begun = [], anyio.current_time()
        try:
            with anyio.fail_after(min(PATIENCE, self._limits.body_seconds)) as scope:
                async for piece in request.stream():
                    pieces.append(piece)
                    room.size += len(piece)
                    self._hold(len(piece))
                    if room.size > self._limits.max_bytes:
                        raise self._too_large()
                    self.check_room(0)
                    # Each byte buys time, so that silence is too slow as well.
                    bought = max(PATIENCE, room.size / self._limits.body_rate)
                    scope.deadline = begun + min(bought, self._limits.body_seconds)
            return b"".join(pieces)
        except TimeoutError as error:
            raise Refusal(408, "slow_body", "the body came too slowly", close=True) from error

    def _hold(self, size: int) -> None:
        self._held += size
        self._metrics.held_bytes.set(self._held)

    def _too_large(self) -> Refusal:
        most = self._limits.max_bytes
        return Refusal(413, "too_many_bytes", f"a body has at most {most:,} bytes", close=True)


class Room:
    """Bytes that one body takes."""

    size = 0


def number_of(text: str) -> int | None:
    """Return what decimal digits stand for; None is no number, or a longer one than is meant."""
    if not text.isdecimal() or len(digits := text.lstrip("0")) > DIGITS:
        return None
    return int(digits or "0")


def parsed_json(data: bytes, lists: int = 0) -> dict[str, Any]:
    """Return a JSON object.

    Reading it holds up all other requests, and lists take Python longest by far. More of them than
    tensors need are refused unread, and more than of what they may hold: `[[1,2],[3,4]]` has no
    more `[` than commas.

    Args:
        lists: those that tensors need, at most.

    Raises:
        Refusal: 400.
    """
    if _lists(data) > NESTED:
        bare = _without_strings(data)
        if _lists(bare) > NESTED + min(lists, bare.count(b",")):
            raise bad_request("the JSON has too many lists, or nests too deep")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise bad_request("the body is no JSON") from error
    if not isinstance(value, dict):
        raise bad_request("the body is no JSON object")
    return value


def _lists(data: bytes) -> int:
    return data.count(b"[") + data.count(b"{")


def _without_strings(data: bytes) -> bytes:
    """What JSON holds beside strings; all of it, where it has many: a tensor of numbers has none.

    Split at quotes, when those in strings are gone. A pattern may take quadratic time.
    """
    plain = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    return data if plain.count(b'"') > NESTED else b"".join(plain.split(b'"')[::2])


def from_base64(text: object) -> bytes:
    """Return what base64 stands for.

    Raises:
        Refusal: 400.
    """
    try:
        if isinstance(text, str):
            return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        pass
    raise bad_request("a picture in JSON is a string of base64")


async def picture_of(request: Request, body: bytes) -> bytes:
    """Return the bytes of the one picture that a body holds.

    Multipart holds it as its only file, JSON in base64 under `image`; any other body is it.

    Raises:
        Refusal: 400.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        fields = parsed_json(body)
        if fields.keys() != {"image"}:
            raise bad_request('JSON is {"image": "<base64>"}')
        return from_base64(fields["image"])
    if kind == "multipart/form-data":
        return await _only_file(request, body)
    return body


async def _only_file(request: Request, body: bytes) -> bytes:
    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(request.headers, whole(), max_files=1, max_fields=8)
    parser.spool_max_size = len(body) + 1  # in memory: there may be no disk to write to
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise bad_request("the multipart body cannot be read, or has several files") from error
    try:
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        if len(files) != 1:
            raise bad_request("the multipart body has no file")
        return bytes(await files[0].read())
    finally:
        await form.close()
