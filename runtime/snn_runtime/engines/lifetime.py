"""Copies, pickles and forks of an engine.

An engine is memory and threads that Python does not see. A second object must not point at them, so
a copy is opened again from the graph and the caller's arguments: it may be on another machine.

A forked process has the memory but none of the threads. Destroying an engine there would wait for
them for ever, at the end of the process too. So it is never destroyed: another is opened when it is
needed or, on a GPU, which does not survive a fork, refused.
"""

import ctypes
import os
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar, overload

from snn_runtime.errors import DeviceError
from snn_runtime.graph import SpikingGraph

T = TypeVar("T")


class Opened(Generic[T]):
    """A property that holds an engine: the first who reads it opens it, and all others wait.

    `functools.cached_property` has no lock since Python 3.12. Of two threads, each would open an
    engine, and the later one's would take the place of the other, which runs.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, backend: None, owner: type) -> "Opened[T]": ...

    @overload
    def __get__(self, backend: "Reopened", owner: type) -> T: ...

    def __get__(self, backend: "Reopened | None", owner: type) -> "T | Opened[T]":
        """Open it: once it is among the backend's attributes, Python does not ask here."""
        if backend is None:
            return self
        kept = vars(backend)
        with backend._opening:
            if self._name not in kept:
                # A signal's handler may open one meanwhile, in this very thread: that one stays.
                kept.setdefault(self._name, self._make(backend))
            engine: T = kept[self._name]
        return engine


class Reopened:
    """Base of the backends: one whose copies are opened from the graph."""

    def __init__(self, graph: SpikingGraph, **arguments: Any) -> None:
        """Remember the graph and the other arguments that the backend was made with."""
        self._graph = graph
        self._arguments = arguments
        self._opening = threading.RLock()
        with _adding:
            _alive.add(self)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[SpikingGraph]]:
        return partial(type(self), **self._arguments), (self._graph,)

    def _forked(self) -> None:
        """Forget the engine: this process is a copy of the one that has its threads."""
        for name in list(vars(self)):
            if isinstance(getattr(type(self), name, None), Opened):
                del vars(self)[name]


def gpu_left_behind() -> DeviceError:
    """Return the error of an engine on a GPU in a forked process."""
    return DeviceError("backend_failed", "the GPU does not survive a fork: load the model after it")


_alive: weakref.WeakSet[Reopened] = weakref.WeakSet()
_adding = threading.RLock()
"""Held while a backend is added to `_alive`, and during a fork, which goes through them."""
_held: list[list[Reopened]] = []
"""What a fork is about to leave behind, a list for each that is under way. A collection that comes
first in the child, such as another handler's, must not destroy an engine that nobody holds."""


def _hold_engines() -> None:
    _adding.acquire()
    held: list[Reopened] = []
    _held.append(held)  # first, for it is taken away whatever happens here
    held.extend(_alive)


def _go_on() -> None:
    _held.pop()
    _adding.release()


def _leave_engines_behind() -> None:
    try:
        for backend in _alive:
            # One reference too many, so that what the backend holds is never destroyed.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(dict(vars(backend))))
            backend._opening = threading.RLock()  # a thread that is not here may hold the other
            backend._forked()
    finally:
        _held.clear()
        _adding.release()


# A process id would not show a fork: a container counts them from 1 again.
os.register_at_fork(
    before=_hold_engines, after_in_parent=_go_on, after_in_child=_leave_engines_behind
)
