"""ONNX Runtime on the CPU: the graph as ordinary float32 ONNX.

Weights are handed over as the float32 numbers the int8 stand for, because ONNX Runtime executes
DequantizeLinear at every run instead of once. Sums of integers below 2^24 are exact in float32, so
neither its optimiser nor its threads nor its kernels can change a spike.
"""

import math
import os
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from snn_runtime.errors import DeviceError, ResourceError, SnnError
from snn_runtime.graph import INPUT, SpikingGraph
from snn_runtime.onnx_file.writer import OUTPUT, emit
from snn_runtime.reference import Spikes

Optimisation = Literal["disable", "basic", "extended", "all"]

PROVIDERS = ["CPUExecutionProvider"]
CHUNK_VALUES = 2**24
"""Values that the largest node may send for one chunk: 64 MiB, however large the batch is."""

_LEVELS = {
    "disable": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_QUIET = 4
"""Only fatal messages: what goes wrong reaches the caller as an exception."""


class OrtBackend:
    """Runs a graph with ONNX Runtime's CPU kernels."""

    name = "onnxruntime"

    def __init__(
        self, graph: SpikingGraph, *, threads: int | None = None, optimisation: Optimisation = "all"
    ) -> None:
        self._graph = graph
        self._threads = threads or len(os.sched_getaffinity(0))
        self._optimisation = optimisation
        # Floats round differently in a batch and alone (their kernels add in another order), and
        # an answer must not depend on who else is asking. Integers do not round.
        largest = max(math.prod(shape) for shape in graph.shapes.values())
        self._chunk = max(1, CHUNK_VALUES // largest) if graph.exact else 1
        self._session = self._open(watch=False)

    def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return self._run(self._session, [OUTPUT], images)[0]

    def spikes(self, images: npt.NDArray[np.uint8]) -> dict[str, Spikes]:
        names = [node.name for node in self._graph.populations]
        watched = [f"{name}/fires" for name in names]
        return dict(zip(names, self._run(self._watching, watched, images), strict=True))

    @cached_property
    def _watching(self) -> ort.InferenceSession:
        """The same network with its spikes as outputs, which costs some fusions and memory."""
        return self._open(watch=True)

    def _open(self, *, watch: bool) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        # Spinning threads win microseconds and take the core from whoever reads the next image.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.graph_optimization_level = _LEVELS[self._optimisation]
        options.log_severity_level = _QUIET
        model = emit(self._graph, dequantised=True, watch=watch)
        try:
            session = ort.InferenceSession(
                model.SerializeToString(), options, providers=list(PROVIDERS)
            )
        except Exception as error:  # ORT's own classes have no public base
            raise _ours(error) from error
        if session.get_providers() != PROVIDERS:
            raise DeviceError(
                "backend_unavailable",
                f"onnxruntime runs on {session.get_providers()}, asked for {PROVIDERS}",
            )
        return session

    def _run(
        self, session: ort.InferenceSession, names: list[str], images: npt.NDArray[np.uint8]
    ) -> list[npt.NDArray[Any]]:
        # An empty batch is one empty chunk, so that the outputs have their shapes.
        starts = range(0, max(1, len(images)), self._chunk)
        try:
            chunks = [
                session.run(names, {INPUT: np.ascontiguousarray(images[i : i + self._chunk])})
                for i in starts
            ]
        except Exception as error:
            raise _ours(error) from error
        return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]


def _ours(error: Exception) -> SnnError:
    text = " ".join(str(error).split())
    if "alloc" in text.lower():
        return ResourceError("out_of_memory", f"onnxruntime ran out of memory: {text:.200}")
    return DeviceError("backend_failed", f"onnxruntime failed: {text:.200}")
