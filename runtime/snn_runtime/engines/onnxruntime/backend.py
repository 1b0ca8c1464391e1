"""ONNX Runtime on the CPU: the graph in integers where weights are int8, else in float32.

`integer` is what the module of that name makes of the graph: a quarter of the memory and a multiple
of the speed. `float` is `Float32`: int8 weights are handed over as float32 numbers, because ONNX
Runtime executes DequantizeLinear at every run instead of once. Sums of integers below
2^24 are exact in float32 too, so in either form neither its optimiser nor its threads nor its
kernels can change a spike.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from snn_runtime.engines.lifetime import Opened
from snn_runtime.engines.onnxruntime.integer import Integer
from snn_runtime.engines.watched import Watched
from snn_runtime.errors import DeviceError, ResourceError, SnnError, UsageError
from snn_runtime.graph import INPUT, OUTPUT, FloatArray, SpikingGraph
from snn_runtime.graph.activations import MAX_KEPT, NUMBER
from snn_runtime.graph.reference import Spikes
from snn_runtime.machine.cores import thread_count
from snn_runtime.machine.saturation import saturates_here
from snn_runtime.onnx_build import ModelProto
from snn_runtime.onnx_build.float32 import Float32, spikes_of

Optimisation = Literal["disable", "basic", "extended", "all"]
Form = Literal["integer", "float"]

PROVIDERS = ["CPUExecutionProvider"]
CHUNK_VALUES = 2**24
"""Values that the largest node may send for one chunk, 64 MiB in float32, whatever the batch."""
CHUNK_BYTES = MAX_KEPT
"""Bytes that all nodes together may send for one chunk: as much as one image may need."""

_LEVELS = {
    "disable": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
QUIET = 4
"""Log only fatal messages: errors reach the caller as exceptions."""


class OrtBackend(Watched):
    """Runs a graph with ONNX Runtime's CPU kernels."""

    name = "onnxruntime"

    def __init__(
        self,
        graph: SpikingGraph,
        *,
        threads: int | None = None,
        optimisation: Optimisation = "all",
        form: Form | None = None,
    ) -> None:
        """Make the graph ready to run.

        Args:
            graph: Any.
            threads: None is what `cores.usable` says.
            optimisation: How much ONNX Runtime may rewrite.
            form: None is `integer` for int8 weights; both forms answer alike.

        Raises:
            UsageError: `bad_form`, the form is integer and the weights are float32;
                `bad_threads`.
            DeviceError: ONNX Runtime refuses.
        """
        if form == "integer" and not graph.exact:
            raise UsageError("bad_form", "form is integer, expected float for float32 weights")
        self.form: Form = form or ("integer" if graph.exact else "float")
        super().__init__(graph, threads=threads, optimisation=optimisation, form=form)
        self._threads = thread_count(threads)
        self._optimisation = optimisation
        self._chunk = chunk_size(graph)
        self._session  # noqa: B018  # opened now, to be refused now

    @property
    def details(self) -> str:
        return f"{self.form}, {self._threads} thread{'s' * (self._threads > 1)}"

    def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return self._run(self._session, [OUTPUT], images)[0]

    def _watch(self, images: npt.NDArray[np.uint8]) -> tuple[FloatArray, dict[str, Spikes]]:
        names = [node.name for node in self._graph.populations]
        outputs = [OUTPUT, *map(spikes_of, names)]
        logits, *spikes = self._run(self._debug_session, outputs, images)
        return logits, dict(zip(names, spikes, strict=True))

    @Opened
    def _session(self) -> ort.InferenceSession:
        network = self._lowered()
        return self._open(network.op.model(network.logits()))

    @Opened
    def _debug_session(self) -> ort.InferenceSession:
        """The same network with its spikes as outputs, which prevents some fusions."""
        network = self._lowered()
        return self._open(network.op.model(network.logits(), *network.spikes()))

    def _lowered(self) -> Float32:
        if self.form == "float":
            return Float32(self._graph)
        return Integer(self._graph, np.uint8 if saturates_here() else np.int8)

    def _open(self, model: ModelProto) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        # Spinning threads save microseconds, and keep the core from reading the next image.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.graph_optimization_level = _LEVELS[self._optimisation]
        options.log_severity_level = QUIET
        try:
            session = ort.InferenceSession(
                model.SerializeToString(), options, providers=list(PROVIDERS)
            )
        except Exception as error:  # ORT's own classes have no public base
            raise translated(error) from error
        if session.get_providers() != PROVIDERS:
            raise DeviceError(
                "backend_unavailable",
                f"onnxruntime runs on {session.get_providers()}, expected {PROVIDERS}",
            )
        return session

    def _run(
        self, session: ort.InferenceSession, names: list[str], images: npt.NDArray[np.uint8]
    ) -> list[npt.NDArray[Any]]:
        return in_chunks(lambda chunk: session.run(names, {INPUT: chunk}), images, self._chunk)


def chunk_size(graph: SpikingGraph) -> int:
    """Return how many images to run at once.

    Floats round differently in a batch and alone (their kernels add in another order), and an
    answer must not depend on who else is asking. Integers do not round.
    """
    values = [math.prod(shape) for shape in graph.shapes.values()]
    most = min(CHUNK_VALUES // max(values), CHUNK_BYTES // (NUMBER * sum(values)))
    return max(1, most) if graph.exact else 1


def in_chunks(
    run: Callable[[npt.NDArray[np.uint8]], Sequence[npt.NDArray[Any]]],
    images: npt.NDArray[np.uint8],
    size: int,
) -> list[npt.NDArray[Any]]:
    """Run `size` images at a time and return the outputs of all, each in one piece.

    Raises:
        SnnError: ONNX Runtime failed.
    """
    # An empty batch is one empty chunk, so that the outputs have their shapes.
    starts = range(0, max(1, len(images)), size)
    try:
        chunks = [run(np.ascontiguousarray(images[i : i + size])) for i in starts]
    except Exception as error:  # ORT's own classes have no public base
        raise translated(error) from error
    return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]


def translated(error: Exception) -> SnnError:
    """Return the SnnError that stands for what ONNX Runtime raised."""
    text = " ".join(str(error).split())
    # What CUDA said is wrapped in half a page of C++ types and the name of the host.
    cuda = re.search(r"(CUDA|CUDNN|CUBLAS) failure -?\d+: [^;]*", text)
    text = cuda[0].strip() if cuda else text
    if re.search("alloc|out of memory", text, re.IGNORECASE):
        return ResourceError("out_of_memory", f"onnxruntime ran out of memory: {text:.200}")
    return DeviceError("backend_failed", f"onnxruntime failed: {text:.200}")
