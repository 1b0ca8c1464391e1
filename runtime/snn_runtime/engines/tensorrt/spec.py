"""The specification of an engine: everything it depends on, and its key in the cache.

An engine runs on the device, with the TensorRT and the CUDA it was built for; of two GPUs with one
name one may have fewer processors. The golden hash is part of the key too, so that a model whose
hash was changed does not inherit a proof.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass

from snn_runtime.engines import LARGEST_BATCH
from snn_runtime.engines.tensorrt.build import workspace
from snn_runtime.engines.tensorrt.device import Device
from snn_runtime.engines.tensorrt.library import Library, Request
from snn_runtime.engines.tensorrt.lowering import LOWERING, Form
from snn_runtime.graph import SpikingGraph

USUAL_BATCH = 1
"""The batch that engines are tuned for: one image from a camera."""
BATCH_VALUES = 2**25
"""Values that the widest node may send for one batch: 128 MiB in float32."""
WATCHED_VALUES = 2**26
"""Spikes that a debug engine may show for one batch, in pinned memory and on the device."""


@dataclass(frozen=True)
class EngineSpec:
    """How an engine is built, and what its key is made of."""

    description: dict[str, object]
    """Everything on which the engine and its outputs depend."""
    request: Request
    debug: bool
    """Whether spikes are outputs as well."""

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
        *,
        debug: bool,
        choice: str = "",
    ) -> "EngineSpec":
        """Describe an engine of `graph`, or, with `choice`, which of several forms is fastest."""
        request = Request(
            form=form,
            size=(graph.image.height, graph.image.width),
            usual=USUAL_BATCH,
            largest=largest_batch(graph, debug),
            workspace=workspace(device.traits.memory),
        )
        description: dict[str, object] = {
            "graph": graph.digest(),
            "golden": golden,
            "lowering": LOWERING,
            "debug": debug,
            "choice": choice,
            "library": library.name,
            "version": library.version,
            "device": asdict(device.traits),
            "request": asdict(request),
        }
        return cls(description, request, debug)


def largest_batch(graph: SpikingGraph, debug: bool) -> int:
    """The largest batch of an engine: `LARGEST_BATCH`, or fewer where images are large."""
    widest = max(math.prod(shape) for shape in graph.shapes.values())
    most = BATCH_VALUES // widest
    if debug:
        spikes = sum(math.prod(graph.shapes[node.name]) for node in graph.populations)
        most = min(most, WATCHED_VALUES // spikes)
    return max(1, min(LARGEST_BATCH, most))
