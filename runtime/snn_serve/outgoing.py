"""What a connection sends, in few pieces."""

import asyncio
import select
from collections.abc import Callable
from typing import Any

LARGE = 1 << 16
"""Bytes that are sent at once and not gathered."""


class Outgoing:
    """A transport that gathers what one turn of the loop writes; in all else the one it wraps.

    uvicorn writes an answer's head and its body apart. Each piece costs a call of the kernel and
    wakes the client.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        close: Callable[[], None],
    ) -> None:
        """Wrap a transport; `close` is called in place of its own, when all is written."""
        self.transport, self._loop, self._close = transport, loop, close
        self._pieces: list[bytes] = []
        self.lingering = False
        """Whether it is closed for all but bytes that nobody wants."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def write(self, data: bytes) -> None:
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(data)
        if len(data) >= LARGE:
            self._flush()

    def _flush(self) -> None:
        if self._pieces:
            data, self._pieces = b"".join(self._pieces), []
            self.transport.write(data)

    @property
    def has_more(self) -> bool:
        """Whether the kernel holds bytes that have not been read, or the client's end."""
        look = select.poll()
        look.register(self.transport.get_extra_info("socket"), select.POLLIN)
        return bool(look.poll(0))

    def is_closing(self) -> bool:
        return self.lingering or self.transport.is_closing()

    def close(self) -> None:
        self._flush()
        if not self.is_closing():
            self._close()
