"""The backend `event`: C++ whose work is proportional to the spikes.

It runs every graph of int8 weights with at most 65,535 channels a population and a side of a
kernel, and agrees with the reference bit for bit, whatever the instruction set and the number of
threads.
"""

import ctypes
import math
import os
import re
import weakref

import numpy as np
import numpy.typing as npt

from snn_runtime.calibration import Numbers
from snn_runtime.engines.event.library import instruction_sets, library
from snn_runtime.engines.event.lowering import lower
from snn_runtime.engines.lifetime import Opened, Reopened
from snn_runtime.errors import DeviceError, ResourceError, UsageError
from snn_runtime.graph import SpikingGraph
from snn_runtime.graph.reference import Counts, Spikes
from snn_runtime.machine.cores import thread_count

SETTING = "SNN_EVENT_ISA"
"""Environment variable that forces the instruction set."""
SPIKE_BYTES = 2**28
"""Memory for the spikes of one call of the engine: a larger batch takes several calls."""
_MESSAGE_BYTES = 500


class EventBackend(Reopened):
    """Runs a graph of int8 weights event by event."""

    name = "event"

    def __init__(
        self,
        graph: SpikingGraph,
        *,
        threads: int | None = None,
        instruction_set: str | None = None,
    ) -> None:
        """Open the engine. `threads` None: as many as the process may use, or the system gives.

        Raises:
            DeviceError: There is no engine, or it refuses the graph.
            ResourceError: Memory is too short for the weights.
            UsageError: This machine lacks the instruction set, or `threads` is not possible.
        """
        if not graph.exact:
            raise DeviceError(
                "backend_failed",
                "backend event takes int8 weights and this network has float32; "
                "use --backend onnxruntime",
            )
        super().__init__(graph, threads=threads, instruction_set=instruction_set)
        self._threads = thread_count(threads)
        self._demanded = threads is not None
        self._channels = sum(graph.channels.values())
        self._instruction_set = _check_instruction_set(instruction_set)
        known = graph.calibration.familiarity
        self._usual = np.concatenate(known.per_channel) if known else np.empty(0)
        self._usual_at = self._usual.ctypes.data  # asked once, for that is slow
        self._engine  # noqa: B018  # opened here, so that errors are raised here

    @property
    def instruction_set(self) -> str:
        """The instruction set in use."""
        name: bytes = library().snn_event_instruction_set(self._engine.address)
        return name.decode()

    @property
    def threads(self) -> int:
        """How many there are."""
        count: int = library().snn_event_threads(self._engine.address)
        return count

    @property
    def details(self) -> str:
        threads = self.threads
        return f"{self.instruction_set}, {threads} thread{'s' * (threads > 1)}"

    @property
    def image_bytes(self) -> int:
        """Memory of one image while it runs: of its values, and of itself with its padding."""
        size: int = library().snn_event_image_bytes(self._engine.address)
        return size

    def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return self._run(images)

    def count(self, images: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], Counts]:
        counts = np.empty((len(images), self._channels), np.int64)
        return self._run(images, counts=counts), counts

    def observe(
        self, images: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], Numbers | None]:
        if self._graph.calibration.familiarity is None:
            return self.run(images), None
        distances = np.empty(len(images))
        return self._run(images, distances=distances), distances

    def spikes(self, images: npt.NDArray[np.uint8]) -> dict[str, Spikes]:
        shapes = {node.name: self._graph.shapes[node.name] for node in self._graph.populations}
        step = max(1, SPIKE_BYTES // max(1, sum(map(math.prod, shapes.values()))))
        parts: dict[str, list[npt.NDArray[np.uint8]]] = {name: [] for name in shapes}
        for start in range(0, max(1, len(images)), step):  # an empty batch is one empty part
            chunk = images[start : start + step]
            sizes = [len(chunk) * math.prod(shape) for shape in shapes.values()]
            buffer = np.empty(sum(sizes), np.uint8)
            self._run(chunk, spikes=buffer)
            populations = np.split(buffer, np.cumsum(sizes)[:-1]) if sizes else []
            for (name, shape), bits in zip(shapes.items(), populations, strict=True):
                parts[name].append(bits.reshape(len(chunk), *shape))
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}

    @Opened
    def _engine(self) -> "_Engine":
        lowered = lower(self._graph)
        message = ctypes.create_string_buffer(_MESSAGE_BYTES)
        engine = library().snn_event_create(
            ctypes.byref(lowered.struct),
            self._threads,
            self._instruction_set.encode(),
            message,
            _MESSAGE_BYTES,
        )
        if not engine:
            raise self._refusal(message.value.decode(errors="replace"))
        owned, made = _Engine(engine), library().snn_event_threads(engine)
        if self._demanded and made < self._threads:
            # Not a DeviceError, after which `auto` would take another engine.
            raise UsageError(
                "bad_threads",
                f"threads is {self._threads}, system and memory allow {made} for this network: "
                f"name {made} or fewer",
            )
        return owned

    def _refusal(self, reason: str) -> DeviceError | ResourceError:
        """What is raised where the engine does not open; a reason of "": memory is short."""
        if not reason:
            return ResourceError("out_of_memory", "backend event ran out of memory when it opened")
        nodes = ["image", *(node.name for node in self._graph.nodes), "readout"]
        named = re.sub(r"^node (-?\d+)", lambda found: nodes[int(found[1]) + 1], reason)
        return DeviceError("backend_failed", f"backend event refuses the network: {named}")

    def _run(
        self,
        images: npt.NDArray[np.uint8],
        *,
        spikes: npt.NDArray[np.uint8] | None = None,
        counts: Counts | None = None,
        distances: Numbers | None = None,
    ) -> npt.NDArray[np.float32]:
        engine = self._engine  # held here, for the whole call
        images = np.ascontiguousarray(images)
        logits = np.empty((len(images), len(self._graph.labels)), np.float32)
        failed = library().snn_event_run(
            engine.address,
            images.ctypes.data,
            len(images),
            logits.ctypes.data,
            None if spikes is None else spikes.ctypes.data,
            None if counts is None else counts.ctypes.data,
            None if distances is None else self._usual_at,
            None if distances is None else distances.ctypes.data,
        )
        if failed:
            raise ResourceError(
                "out_of_memory", f"backend event ran out of memory on a batch of {len(images):,}"
            )
        return logits


class _Engine:
    """Owns an snn_engine: destroys it when it is collected."""

    def __init__(self, address: int) -> None:
        self.address = address
        # Not at exit: a thread may still run in it, and the process frees all memory anyway.
        weakref.finalize(self, library().snn_event_destroy, address).atexit = False


def _check_instruction_set(instruction_set: str | None) -> str:
    """Return the argument, else the setting, else "", which stands for the best."""
    wanted = instruction_set or os.environ.get(SETTING, "")
    available = instruction_sets()
    if wanted and wanted not in available:
        origin = "instruction set" if instruction_set else SETTING
        # Not a DeviceError, after which `auto` would take another engine.
        raise UsageError(
            "bad_instruction_set",
            f"{origin} is {wanted!r}, this machine runs {', '.join(available)}",
        )
    return wanted
