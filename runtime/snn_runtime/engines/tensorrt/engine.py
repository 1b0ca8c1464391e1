"""A loaded engine: pinned uint8 images to the device, sums and spikes back.

Batches larger than the engine's are cut. A size of batch that comes a second time is recorded as a
CUDA graph and replayed from then on, which saves the launch of every kernel. Every recorded size
has an execution context of its own, because a context that meets another shape may move what a
graph recorded before relies on.
"""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_runtime.engines.tensorrt.device import Buffer, Device
from snn_runtime.engines.tensorrt.library import Library
from snn_runtime.graph import INPUT, FloatArray, SpikingGraph
from snn_runtime.graph.reference import Spikes
from snn_runtime.onnx_build.float32 import SUMS, spikes_of

GRAPHS = 2
"""How many sizes of batch are recorded: each needs a context's memory."""


@dataclass(frozen=True, eq=False)
class Outputs:
    """The outputs of a debug engine."""

    sums: FloatArray
    """`[N, classes]`"""
    spikes: dict[str, Spikes]
    """`[N, O, H, W]` or `[N, O]` of every population, in graph order."""


class Engine:
    """A deserialised engine with the buffers of its largest batch."""

    def __init__(
        self,
        library: Library,
        device: Device,
        serialised: bytes,
        graph: SpikingGraph,
        *,
        largest: int,
        debug: bool,
    ) -> None:
        """Raises Refused where TensorRT does not take the engine."""
        device.use()
        self._device = device
        self._context = library.load(serialised)
        self._largest = largest
        image = graph.image
        self._image = Buffer(device, (largest, image.height, image.width, 3), np.uint8)
        self._outputs = {SUMS: Buffer(device, (largest, len(graph.labels)), np.float32)}
        if debug:
            for node in graph.populations:
                shape = (largest, *graph.shapes[node.name])
                number = np.bool_ if node.levels == 1 else np.uint8
                self._outputs[spikes_of(node.name)] = Buffer(device, shape, number)
        self._seen: Counter[int] = Counter()
        self._recorded: dict[int, tuple[Any, Any] | None] = {}
        self._busy = threading.Lock()

    def run(self, images: npt.NDArray[np.uint8]) -> FloatArray:
        """uint8 `[N, H, W, 3]` to the readout's sums, `[N, classes]`."""
        return self._run([SUMS], images)[0]

    def outputs(self, images: npt.NDArray[np.uint8]) -> Outputs:
        """The sums and all spikes of a debug engine."""
        names = list(self._outputs)
        sums, *spikes = self._run(names, images)
        populations = (name.partition("/")[0] for name in names[1:])
        return Outputs(sums, dict(zip(populations, spikes, strict=True)))

    def _run(self, names: Sequence[str], images: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
        parts: list[list[npt.NDArray[Any]]] = [
            [self._outputs[name].array[:0].copy()] for name in names
        ]
        # The thread may be another than the one that loaded the engine. And before the lock: in a
        # forked process, where this is refused, a thread that was not copied may hold it.
        self._device.use()
        with self._busy:
            for start in range(0, len(images), self._largest):
                rows = self._work(names, images[start : start + self._largest])
                for part, name in zip(parts, names, strict=True):
                    part.append(self._outputs[name].array[:rows].copy())
        return [np.concatenate(part) for part in parts]

    def _work(self, names: Sequence[str], images: npt.NDArray[np.uint8]) -> int:
        rows = len(images)
        self._image.array[:rows] = images
        recorded = self._replayable(rows) if list(names) == [SUMS] else None
        if recorded is None:
            self._enqueue(self._context, names, rows)
        else:
            self._device.replay(recorded)
        self._device.wait()
        return rows

    def _enqueue(self, context: Any, names: Sequence[str], rows: int) -> None:
        if not (self._prepare(context, rows) and self._launch(context, names, rows)):
            raise self._device.lose("TensorRT does not execute the engine")

    def _prepare(self, context: Any, rows: int) -> bool:
        accepted: bool = context.set_input_shape(INPUT, (rows, *self._image.array.shape[1:]))
        context.set_tensor_address(INPUT, self._image.address)
        for name, buffer in self._outputs.items():
            context.set_tensor_address(name, buffer.address)
        return accepted

    def _launch(self, context: Any, names: Sequence[str], rows: int) -> bool:
        self._image.send(rows)
        started: bool = context.execute_async_v3(self._device.stream)
        for name in names:
            self._outputs[name].fetch(rows)
        return started

    def _replayable(self, rows: int) -> Any | None:
        """The recording of a size of batch, made when the size comes a second time."""
        self._seen[rows] += 1
        if self._seen[rows] > 1 and rows not in self._recorded and len(self._recorded) < GRAPHS:
            self._recorded[rows] = self._record(rows)
        kept = self._recorded.get(rows)
        return None if kept is None else kept[1]

    def _record(self, rows: int) -> tuple[Any, Any] | None:
        context = self._context.engine.create_execution_context()
        if context is None or not self._prepare(context, rows):
            return None
        # Once for real: a context's first run with a shape does what cannot be recorded.
        if not self._launch(context, [SUMS], rows):
            return None
        self._device.wait()
        graph = self._device.capture(lambda: self._launch(context, [SUMS], rows))
        if graph is None:
            return None
        self._device.release_with(self, "cudaGraphExecDestroy", graph)
        return context, graph
