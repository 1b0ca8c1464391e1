"""How a server listens and how it stops to: uvicorn's server, with an end that loses nobody."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import cast

import uvicorn

from snn_serve.connections import LINGER

BACKLOG = 1024
"""Connections that the kernel takes before the server does."""


class Server(uvicorn.Server):
    """A server whose signals are ours, for uvicorn's own end the process by the signal after all;
    and whose end loses nobody who has connected."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to listen, and end after the last answer. With a listening socket the kernel resets
        all whose connection nobody has taken yet, and a request may be on its way there."""
        taken = [each for listener in sockets or [] for each in _waiting(listener)]
        for server in self.servers:
            server.close()
        tasks = [asyncio.create_task(self._serve_late(each)) for each in taken]
        if tasks:
            await asyncio.wait(tasks, timeout=LINGER)
        await super().shutdown(sockets)
        for task in tasks:
            task.cancel()

    async def _serve_late(self, taken: socket.socket) -> None:
        def protocol() -> asyncio.Protocol:
            made = cast(Callable[..., asyncio.Protocol], self.config.http_protocol_class)
            state = {"server_state": self.server_state, "app_state": self.lifespan.state}
            return made(config=self.config, **state)

        loop = asyncio.get_running_loop()
        with suppress(OSError):  # as of a client that is gone, or of TLS
            await loop.connect_accepted_socket(protocol, taken, ssl=self.config.ssl)


def _waiting(listener: socket.socket) -> Iterator[socket.socket]:
    """Take the connections that nobody has taken, but not for ever while others come."""
    with suppress(OSError):  # there are no more
        for _ in range(BACKLOG):
            taken, _address = listener.accept()
            taken.setblocking(False)
            yield taken
