"""Deadlines and numbers of connections, which uvicorn lacks: heads that never end, answers that
nobody reads, a thousand clients that say nothing."""

import time
from asyncio.events import TimerHandle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from snn_serve.limits import Limits

FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n"
    b"connection: close\r\n\r\n"
)


class Connection(HttpToolsProtocol):
    """One connection, from which a head comes in time or none at all."""

    def __init__(self, limits: Limits, **given: Any) -> None:
        super().__init__(**given)
        self._limits = limits
        self._awaits_head = True
        self._head_bytes = 0
        self._since = time.monotonic()
        self._head_timer: TimerHandle | None = None
        self._send_timer: TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no request of it is being answered."""
        return self._awaits_head and (self.cycle is None or bool(self.cycle.response_complete))

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if not self._has_room():
            transport.write(FULL)
            transport.close()
            return
        self._await_head()

    def _has_room(self) -> bool:
        """Whether this connection may stay, for which the longest idle one may have to go."""
        # One that was told to go is listed until the loop's next turn, and many come in one turn.
        others = [each for each in self.connections if each is not self]
        there = [each for each in others if not each.transport.is_closing()]
        if len(there) < self._limits.connections:
            return True
        idle = [each for each in there if isinstance(each, Connection) and each.idle]
        if idle:
            min(idle, key=lambda each: each._since).transport.abort()
        return bool(idle)

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self._limits.header_seconds, self._give_up)

    def _give_up(self) -> None:
        if self.idle and not self.transport.is_closing():
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self._awaits_head:
            self._head_bytes += len(data)
            if self._head_timer is None:
                self._await_head()
        super().data_received(data)
        if self._awaits_head and self._head_bytes > self._limits.header_bytes:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        self._awaits_head = False
        self._cancel_head_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._awaits_head, self._head_bytes, self._since = True, 0, time.monotonic()
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._send_timer = self.loop.call_later(self._limits.send_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._cancel_send_timer()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_head_timer()
        self._cancel_send_timer()
        super().connection_lost(exc)

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _cancel_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None


class Server(uvicorn.Server):
    """A server whose signals are ours: uvicorn's own end the process by the signal, after all."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
