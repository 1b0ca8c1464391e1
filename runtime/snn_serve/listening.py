"""How a server listens and how it stops to: uvicorn's server, with an end that loses nobody."""

import asyncio
import ctypes
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn

BACKLOG = 1024
"""Connections that the kernel takes before the server does."""
MOMENT = 0.05
"""Seconds in which connections that are being made are made."""
_SO_ATTACH_FILTER = 26
_NO_SYN = (
    (0x30, 0, 0, 13),  # load byte 13 of the TCP header, the flags
    (0x45, 0, 1, 0x02),  # unless SYN is set, jump over the next one
    (0x06, 0, 0, 0),  # take nothing of the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # take all of it
)
"""A filter of the kernel's (classic BPF): code, two jumps and a value of each instruction."""


class Server(uvicorn.Server):
    """A server whose signals are ours, for uvicorn's own end the process by the signal after all;
    and whose end loses nobody who has connected."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to listen, and end after the last answer. With a listening socket the kernel resets
        all whose connection nobody has taken yet, and a request may be on its way there."""
        for listener in sockets or []:
            with suppress(OSError):  # it is closed, or the kernel has no filters
                turn_away(listener)
        await asyncio.sleep(MOMENT)
        await super().shutdown(sockets)


def turn_away(listener: socket.socket) -> None:
    """Begin no more connections, and leave those that have begun. Who comes now tries again after
    a second, and is refused when nobody listens.

    Raises:
        OSError: the kernel cannot.
    """
    steps = b"".join(struct.pack("HBBI", *step) for step in _NO_SYN)
    code = ctypes.create_string_buffer(steps, len(steps))
    program = struct.pack("HP", len(_NO_SYN), ctypes.addressof(code))
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
