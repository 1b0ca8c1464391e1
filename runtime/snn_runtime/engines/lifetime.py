"""Copies, pickles and forks of an engine.

An engine is memory and threads that Python does not see. A second object must not point at them, so
a copy is opened again from the graph and the caller's arguments: it may be on another machine.

A forked process has the memory but none of the threads. Destroying an engine there would wait for
them for ever, at the end of the process too. So it is never destroyed: another is opened when it is
needed or, on a GPU, which does not survive a fork, refused.
"""

import ctypes
import os
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from snn_runtime.errors import DeviceError
from snn_runtime.graph import SpikingGraph


class Reopened:
    """Base of the backends: one whose copies are opened from the graph."""

    _opened: ClassVar[tuple[str, ...]] = ()
    """Cached properties that hold an engine, and open one when first read."""

    def __init__(self, graph: SpikingGraph, **arguments: Any) -> None:
        """Remember the graph and the other arguments that the backend was made with."""
        self._graph = graph
        self._arguments = arguments
        _alive.add(self)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[SpikingGraph]]:
        return partial(type(self), **self._arguments), (self._graph,)

    def _forked(self) -> None:
        """Forget the engine: this process is a copy of the one that has its threads."""
        for name in self._opened:
            vars(self).pop(name, None)


def gpu_left_behind() -> DeviceError:
    """Return the error of an engine on a GPU in a forked process."""
    return DeviceError("backend_failed", "the GPU does not survive a fork: load the model after it")


_alive: weakref.WeakSet[Reopened] = weakref.WeakSet()
_held: list[list[Reopened]] = []
"""What a fork is about to leave behind, a list for each that is under way. A collection that comes
first in the child, such as another handler's, must not destroy an engine that nobody holds."""


def _hold_engines() -> None:
    _held.append(list(_alive))


def _leave_engines_behind() -> None:
    for backend in _alive:
        # One reference too many, so that what the backend holds is never destroyed.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(dict(vars(backend))))
        backend._forked()
    _held.clear()


# A process id would not show a fork: a container counts them from 1 again.
os.register_at_fork(
    before=_hold_engines, after_in_parent=_held.pop, after_in_child=_leave_engines_behind
)
