"""What an engine depends on, all of it, and the key that it is kept under.

An engine runs on the device, with the TensorRT and the CUDA it was built for; of two GPUs with one
name one may have fewer processors. The spikes that it proved are part of the key too, so a model
whose hash was changed does not inherit a proof.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass

from snn_runtime.engines.tensorrt.builder import workspace
from snn_runtime.engines.tensorrt.device import Device
from snn_runtime.engines.tensorrt.library import Library, Request
from snn_runtime.engines.tensorrt.lowering import LOWERING, Form
from snn_runtime.graph import SpikingGraph

LARGEST_BATCH = 32
USUAL_BATCH = 1
"""What engines are tuned for: one picture from a camera."""
BATCH_VALUES = 2**25
"""Values that the widest node may send for one batch: 128 MiB in float32."""
WATCHED_VALUES = 2**26
"""Spikes that a watched engine may show for one batch, in pinned memory and on the device."""


@dataclass(frozen=True)
class Workpiece:
    """An engine to be, or one that is kept."""

    description: dict[str, object]
    """Everything that another engine, or another answer, would follow from."""
    request: Request
    watched: bool

    @property
    def key(self) -> str:
        """SHA-256 of the description."""
        return hashlib.sha256(json.dumps(self.description, sort_keys=True).encode()).hexdigest()

    @classmethod
    def of(
        cls,
        graph: SpikingGraph,
        golden: str,
        library: Library,
        device: Device,
        form: Form,
        watched: bool,
        choice: str = "",
    ) -> "Workpiece":
        """Describe an engine of `graph`, or, with `choice`, which of several forms is fastest."""
        request = Request(
            form=form,
            size=(graph.image.height, graph.image.width),
            usual=USUAL_BATCH,
            largest=largest_batch(graph, watched),
            workspace=workspace(device.traits.memory),
        )
        description: dict[str, object] = {
            "graph": graph.digest(),
            "golden": golden,
            "lowering": LOWERING,
            "watched": watched,
            "choice": choice,
            "library": library.name,
            "version": library.version,
            "device": asdict(device.traits),
            "request": asdict(request),
        }
        return cls(description, request, watched)


def largest_batch(graph: SpikingGraph, watched: bool) -> int:
    """How many pictures an engine takes at once: 32, or fewer where they are large."""
    widest = max(math.prod(shape) for shape in graph.shapes.values())
    most = BATCH_VALUES // widest
    if watched:
        spikes = sum(math.prod(graph.shapes[node.name]) for node in graph.populations)
        most = min(most, WATCHED_VALUES // spikes)
    return max(1, min(LARGEST_BATCH, most))
