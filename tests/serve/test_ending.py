"""The moment in which a server stops to listen: whoever has sent a request is answered.

Client and server share a loop here, so that requests are sent while the server does not look.
"""

import asyncio
import errno
import functools
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import Mock

import pytest
import uvicorn
from serving import PATIENCE

from snn_serve.connections import Connection, Connections
from snn_serve.gate import Access, Gate
from snn_serve.limits import Limits
from snn_serve.listening import Server, turn_away
from snn_serve.metrics import Metrics
from snn_serve.server import Place

REQUEST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody"


class Ending:
    """A server whose answers are the bodies that it is sent."""

    def __init__(self) -> None:
        self.leaving = False
        admission = Mock()
        admission.refusal.return_value = None
        self.connections = Connections(Limits(), admission, lambda: self.leaving)
        gate = Gate(self.answer, Access(None), Metrics(), self.connections.leaving)
        protocol: Any = functools.partial(Connection, self.connections)
        self.server = Server(uvicorn.Config(gate, http=protocol, lifespan="off", log_config=None))
        self.listener = Place("127.0.0.1", 0).opened()
        self.address = self.listener.getsockname()

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        body = message["body"]
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})

    def connected(self, sent: bytes = b"") -> socket.socket:
        """A client, without a turn of the loop."""
        client = socket.create_connection(self.address, timeout=PATIENCE)
        client.sendall(sent)
        return client

    async def used(self) -> socket.socket:
        """A client that has had an answer."""
        client = self.connected(REQUEST)
        assert (await asyncio.to_thread(client.recv, 65536)).startswith(b"HTTP/1.1 200 ")
        return client


@asynccontextmanager
async def ending() -> AsyncIterator[Ending]:
    here = Ending()
    serving = asyncio.create_task(here.server.serve([here.listener]))
    while not here.server.started:
        await asyncio.sleep(0)
    yield here
    here.server.should_exit = True
    await serving


async def rest(client: socket.socket) -> bytes:
    """What comes until the connection ends, which a reset is not."""

    def read() -> bytes:
        found = b""
        while piece := client.recv(65536):
            found += piece
        client.close()
        return found

    return await asyncio.to_thread(read)


def test_nobody_comes_and_who_is_there_stays() -> None:
    with Place("127.0.0.1", 0).opened() as listener, socket.socket() as late:
        here = socket.create_connection(listener.getsockname())
        here.sendall(REQUEST)
        turn_away(listener)
        late.setblocking(False)
        assert late.connect_ex(listener.getsockname()) == errno.EINPROGRESS
        taken, address = listener.accept()
        with here, taken:
            assert address == here.getsockname() and taken.recv(65536) == REQUEST
            here.sendall(REQUEST)
            assert taken.recv(65536) == REQUEST
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("more", [[], [REQUEST, REQUEST[:20]]])
def test_who_has_sent_a_request_is_answered(more: list[bytes]) -> None:
    """On connections that the server knows, and on `more` that it has not taken yet."""

    async def end() -> None:
        async with ending() as here:
            silent, begun = here.connected(), here.connected(REQUEST[:20])
            idle, again = await here.used(), await here.used()
            here.leaving = True
            again.sendall(REQUEST)
            late = [here.connected(sent) for sent in more]
            stopping = asyncio.create_task(here.server.shutdown([here.listener]))
            assert (await rest(silent)).startswith(b"HTTP/1.1 503 ")
            assert await rest(idle) == b""
            for client, sent in ((begun, REQUEST[:20]), *zip(late, more, strict=True)):
                client.sendall(REQUEST[len(sent) :])
            for client in (begun, again, *late):
                answered(await rest(client))
            await stopping

    asyncio.run(end())


def test_a_request_that_has_not_been_read_is_answered() -> None:
    """Where the server ends a connection in the moment in which it is used again."""

    async def end() -> None:
        async with ending() as here:
            again = await here.used()
            here.leaving = True
            again.sendall(REQUEST)
            for connection in here.server.server_state.connections:
                connection.shutdown()
            answered(await rest(again))

    asyncio.run(end())


def answered(found: bytes) -> None:
    assert found.startswith(b"HTTP/1.1 200 ") and found.endswith(b"body")
    assert b"connection: close" in found
