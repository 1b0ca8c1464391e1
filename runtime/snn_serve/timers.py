"""Deadlines of one connection, by their names."""

import asyncio
from collections.abc import Callable


class Timers:
    """What happens later, unless it is stopped."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handles: dict[str, asyncio.TimerHandle] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._handles

    def after(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        """Begin anew, where one of this name runs already."""
        self.stop(name)
        self._handles[name] = self._loop.call_later(seconds, action)

    def stop(self, name: str) -> None:
        if name in self._handles:
            self._handles.pop(name).cancel()

    def end(self) -> None:
        """Stop all."""
        for name in list(self._handles):
            self.stop(name)
