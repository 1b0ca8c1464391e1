"""The spike-driven engine: C++ that does the work of the spikes there are, in whole numbers.

It takes every graph of int8 weights and agrees with the interpreter bit for bit, whatever the
instruction set and the number of threads.
"""

import ctypes
import math
import os
import weakref
from functools import cached_property

import numpy as np
import numpy.typing as npt

from snn_runtime.engines.event.library import bandwidth, instruction_sets, library
from snn_runtime.engines.event.lowering import lower
from snn_runtime.engines.lifetime import Reopened
from snn_runtime.errors import DeviceError, ResourceError, UsageError
from snn_runtime.graph import SpikingGraph
from snn_runtime.graph.reference import Spikes
from snn_runtime.machine.cores import thread_count

__all__ = ["EventBackend", "bandwidth", "instruction_sets"]

SETTING = "SNN_EVENT_ISA"
"""Environment variable that forces the instruction set."""
WATCHED_BYTES = 2**28
"""Of spikes that `spikes` asks for at once, however large the batch is."""
_SENTENCE = 500


class EventBackend(Reopened):
    """Runs a graph of int8 weights where the spikes are."""

    name = "event"
    _opened = ("_engine",)

    def __init__(
        self,
        graph: SpikingGraph,
        *,
        threads: int | None = None,
        instruction_set: str | None = None,
    ) -> None:
        """Raises DeviceError where there is no engine or it does not take the graph, UsageError for
        an instruction set that is not here or a number of threads that cannot be."""
        if not graph.exact:
            raise DeviceError(
                "backend_unavailable",
                "backend event takes int8 weights and this network has float32; "
                "use --backend onnxruntime",
            )
        super().__init__(graph, threads=threads, instruction_set=instruction_set)
        self.threads = thread_count(threads)
        self._wanted = _checked(instruction_set)
        self._engine  # noqa: B018  # opened now, to be refused now

    @property
    def instruction_set(self) -> str:
        """The one that actually runs."""
        name: bytes = library().snn_event_instruction_set(self._engine.address)
        return name.decode()

    @property
    def details(self) -> str:
        return f"{self.instruction_set}, {self.threads} thread{'s' * (self.threads > 1)}"

    @property
    def room(self) -> int:
        """Bytes that the values of one image take while it runs."""
        size: int = library().snn_event_room(self._engine.address)
        return size

    def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return self._run(images, None)

    def spikes(self, images: npt.NDArray[np.uint8]) -> dict[str, Spikes]:
        shapes = {node.name: self._graph.shapes[node.name] for node in self._graph.populations}
        step = max(1, WATCHED_BYTES // max(1, sum(map(math.prod, shapes.values()))))
        parts: dict[str, list[npt.NDArray[np.uint8]]] = {name: [] for name in shapes}
        for start in range(0, max(1, len(images)), step):  # an empty batch is one empty part
            chunk = images[start : start + step]
            sizes = [len(chunk) * math.prod(shape) for shape in shapes.values()]
            buffer = np.empty(sum(sizes), np.uint8)
            self._run(chunk, buffer)
            bits = np.split(buffer, np.cumsum(sizes)[:-1]) if sizes else []
            for (name, shape), own in zip(shapes.items(), bits, strict=True):
                parts[name].append(own.reshape(len(chunk), *shape))
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}

    @cached_property
    def _engine(self) -> "_Engine":
        lowered = lower(self._graph)
        sentence = ctypes.create_string_buffer(_SENTENCE)
        engine = library().snn_event_create(
            ctypes.byref(lowered.struct), self.threads, self._wanted.encode(), sentence, _SENTENCE
        )
        if not engine:
            why = sentence.value.decode(errors="replace")
            raise DeviceError("backend_unavailable", f"backend event refuses the network: {why}")
        return _Engine(engine)

    def _run(
        self, images: npt.NDArray[np.uint8], spikes: npt.NDArray[np.uint8] | None
    ) -> npt.NDArray[np.float32]:
        images = np.ascontiguousarray(images)
        logits = np.empty((len(images), len(self._graph.labels)), np.float32)
        failed = library().snn_event_run(
            self._engine.address,
            images.ctypes.data,
            len(images),
            logits.ctypes.data,
            None if spikes is None else spikes.ctypes.data,
        )
        if failed:
            raise ResourceError(
                "out_of_memory", f"backend event ran out of memory on a batch of {len(images):,}"
            )
        return logits


class _Engine:
    """The engine's address; it is destroyed with this object."""

    def __init__(self, address: int) -> None:
        self.address = address
        # At the end of the process a thread may still be inside, and all memory goes anyway.
        weakref.finalize(self, library().snn_event_destroy, address).atexit = False


def _checked(instruction_set: str | None) -> str:
    """The instruction set to ask for, "" for the best."""
    wanted = instruction_set or os.environ.get(SETTING, "")
    available = instruction_sets()
    if wanted and wanted not in available:
        origin = "instruction set" if instruction_set else SETTING
        # Not a DeviceError: `auto` must not answer a demand by taking another engine.
        raise UsageError(
            "bad_instruction_set",
            f"{origin} is {wanted!r}, this machine runs {', '.join(available)}",
        )
    return wanted
