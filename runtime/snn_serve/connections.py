"""Deadlines and numbers of connections, which uvicorn lacks: heads that never end, answers that
nobody reads, a thousand clients that say nothing; and requests that are refused by their heads."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from snn_serve.admission import FULL, NO_HTTP, Admission, written
from snn_serve.limits import Limits
from snn_serve.outgoing import Outgoing
from snn_serve.parser import Parser
from snn_serve.refusal import Refusal
from snn_serve.timers import Timers

LINGER = 1.0
"""Seconds in which a client that has its answer may send the rest of its request.

A socket that is closed with bytes unread resets the connection, and the client may lose what it has
not read yet. So the rest is read, and dropped."""
PIPELINED = 8
"""Requests that may wait for the answer of one before them: one read can hold thousands, of which
each takes memory. Clients ask again for what comes after the last answer of a connection."""


class Connections:
    """The connections of a server."""

    def __init__(self, limits: Limits, admission: Admission, leaving: Callable[[], bool]) -> None:
        self.limits, self.admission, self.leaving = limits, admission, leaving
        self.count = 0
        self.idle: dict[Connection, None] = {}
        """Those that may be closed, the one that has been idle longest first."""
        self.told: set[Connection] = set()
        """Those that have been told that there is no room, and are read for a moment."""


class Connection(HttpToolsProtocol):
    """One connection, from which a head comes in time or none at all."""

    def __init__(self, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self.parser = Parser(self)
        self._connections, self._limits = connections, connections.limits
        self._counted = False
        self._began = False
        """Whether a request has ever begun here."""
        self._awaits_head = True
        self._head_bytes = 0
        self._idle_bytes = 0
        """What came after a head, and was no body: extensions of chunks, and trailers."""
        self._refused = False
        """Whether the request that is coming has been refused by its head."""
        self._running: RequestResponseCycle | None = None
        """The request that is being answered; `cycle` is the newest one."""
        self._timers = Timers(self.loop)
        self._out: Outgoing

    def connection_made(self, transport: Any) -> None:
        self._out = Outgoing(transport, self.loop, self._close)
        super().connection_made(cast(asyncio.Transport, self._out))
        if self._connections.count >= self._limits.connections and self._connections.idle:
            next(iter(self._connections.idle))._make_room()
        if self._connections.count >= self._limits.connections:
            self._refuse()
            return
        self._connections.count += 1
        self._counted = True
        self._rest()
        self._timers.after("head", self._limits.header_seconds, self._out.close)

    def _make_room(self) -> None:
        """Close for the sake of another. Clients ask again where a connection ends between two
        requests; the first request may be on its way, and its client is told."""
        self._forget()
        if self._began:
            self._out.abort()
        else:
            self._refuse()

    def _refuse(self) -> None:
        if len(self._connections.told) >= self._limits.connections:
            self._out.abort()
            return
        self._connections.told.add(self)
        self._timers.stop("head")
        self._awaits_head = False
        self._tell(FULL)

    def _tell(self, refusal: Refusal) -> None:
        """Say that there is no request that could be answered, and close."""
        self._out.write(written(refusal, keep=False))
        self._out.close()

    def _forget(self) -> None:
        self._connections.idle.pop(self, None)
        self._connections.count -= self._counted
        self._counted = False

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _rest(self) -> None:
        """Count as idle, if nothing is being read or answered."""
        if self._awaits_head and not self._answering and self._counted:
            self._connections.idle.pop(self, None)
            self._connections.idle[self] = None

    def data_received(self, data: bytes) -> None:
        if self._out.lingering:
            return
        if self._awaits_head:
            self._head_bytes += len(data)
        else:
            self._idle_bytes += len(data)
        super().data_received(data)
        if not self._awaits_head and self._idle_bytes > self._limits.header_bytes:
            self._out.abort()
        if self._awaits_head and self._head_bytes:
            if "head" not in self._timers:
                self._timers.after("head", self._limits.header_seconds, self._out.close)
            if self._head_bytes > self._limits.header_bytes:
                self._out.abort()

    def on_message_begin(self) -> None:
        self._began, self._refused = True, False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._awaits_head:  # else a trailer, which nobody reads
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # it comes again
        self._awaits_head, self._idle_bytes = False, 0
        self._timers.stop("head")
        self._connections.idle.pop(self, None)
        if self._answering and len(self.pipeline) >= PIPELINED:
            self.cycle.keep_alive = False
        if self._out.is_closing() or (self._answering and not self.cycle.keep_alive):
            self._refused = True  # and not answered: the one before it is the last
            return
        keep = self.parser.should_keep_alive() and not self._connections.leaving()
        answer = self._connections.admission.refusal(
            self.client[0] if self.client else "",
            self.parser.get_method(),
            self.url.decode("latin-1"),
            self.headers,
            keep,
        )
        if answer is None:
            super().on_headers_complete()
            return
        self._refused = True
        if self._answering:  # one before it, and answers keep their order: that one is the last
            self.cycle.keep_alive = False
            return
        self._out.write(answer)
        if not keep:
            self._out.close()
        self.on_response_complete()

    def send_400_response(self, msg: str) -> None:
        if self._answering and self._awaits_head:  # what is no HTTP came behind a whole request
            self.cycle.keep_alive = False
        else:
            self._tell(NO_HTTP)

    def on_body(self, body: bytes) -> None:
        self._idle_bytes = 0
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._awaits_head, self._head_bytes = True, 0
        self._timers.stop("rest")
        if not self._refused:
            super().on_message_complete()
        self._rest()
        if self._out.lingering:
            self._out.transport.close()
        elif not (self._answering or self._out.is_closing()):  # its bytes have stopped the timer
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._rest()
        if not self._awaits_head and not self._answering and not self._out.is_closing():
            self._timers.after("rest", LINGER, self._out.abort)

    def _close(self) -> None:
        """Close, or linger where the client is still sending."""
        if self._awaits_head:
            self._out.transport.close()
            return
        self._out.lingering = True
        if self._out.transport.can_write_eof():
            with suppress(OSError):  # the client has gone meanwhile
                self._out.transport.write_eof()
        self.flow.resume_reading()
        self._timers.after("rest", LINGER, self._out.abort)
        if self._counted:
            self._connections.idle[self] = None

    def shutdown(self) -> None:
        """End after what has begun. A request may have been sent and not been read yet: it is
        answered too, and who has connected and not asked is told."""
        if self._out.is_closing():
            return
        if self._answering:
            super().shutdown()
        elif self._awaits_head and (self._head_bytes or self._out.has_more):
            return  # its answer is the last, for the server is leaving
        elif self._began:
            self._out.close()
        else:
            self._forget()
            self._refuse()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._timers.after("send", self._limits.send_seconds, self._out.abort)

    def resume_writing(self) -> None:
        self._timers.stop("send")
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timers.end()
        self._forget()
        self._connections.told.discard(self)
        super().connection_lost(exc)
        if self._running is not None:  # uvicorn tells the newest request alone
            self._running.disconnected = True
            self._running.message_event.set()
        self.pipeline.clear()
