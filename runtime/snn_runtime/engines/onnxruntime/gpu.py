"""ONNX Runtime on an NVIDIA GPU: through its CUDA provider, or through TensorRT.

The graph is in float32 without TF32, where sums of integers below 2^24 are exact in any order. Not
covered are kernels that transform their tiles by fractions (Winograd's): thresholds lie ½ from
every integer, sums of the readout are rounded to whole numbers, and the self-test decides.

A node that a CPU would compute is refused. The readout's scale and bias are applied here, since a
compiler that fuses a · x + b rounds once and not twice.
"""

import logging
import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from snn_runtime.engines import LARGEST_BATCH
from snn_runtime.engines.cache import open_cache
from snn_runtime.engines.cache_files import ONNXRUNTIME, Shown
from snn_runtime.engines.lifetime import gpu_left_behind
from snn_runtime.engines.onnxruntime.backend import QUIET, chunk_size, in_chunks
from snn_runtime.engines.onnxruntime.providers import CUDA, TENSORRT, prepare, refusal
from snn_runtime.engines.watched import Watched
from snn_runtime.errors import DeviceError
from snn_runtime.graph import INPUT, FloatArray, SpikingGraph
from snn_runtime.graph.reference import Spikes
from snn_runtime.onnx_build import ModelProto
from snn_runtime.onnx_build.float32 import SUMS, Float32, spikes_of
from snn_runtime.proof.forms import logits

LOG = logging.getLogger(__name__)

Options: TypeAlias = dict[str, str]

DEVICE = "cuda"
"""The memory that both providers keep outputs in, as ONNX Runtime calls it."""
WORKSPACE = 2**30
"""Bytes that TensorRT may use besides weights and activations; its own default is the whole GPU."""


class OrtCudaBackend(Watched):
    """Runs a graph with ONNX Runtime's CUDA kernels."""

    name = "onnxruntime"
    kind: ClassVar[str] = "cuda"
    providers: ClassVar[tuple[str, ...]] = (CUDA,)
    """Those that may compute; the first is the one wanted."""
    _left_behind = False
    """Whether this is a forked process, which has no GPU."""

    def __init__(self, graph: SpikingGraph, *, index: int = 0) -> None:
        """Make the graph ready to run on the GPU of number `index`, and run it once.

        Raises:
            DeviceError: Provider, driver or GPU are not here, or do not take every node.
            ResourceError: The GPU has not enough memory.
        """
        super().__init__(graph, index=index)
        self._index = index
        self._chunk = self._chunk_size()
        prepare(self.providers[0])
        network = Float32(graph)
        self._session = self._open(network.op.model(network.sums()), "sums")
        image = graph.image
        try:  # some GPUs lack kernels, which shows no earlier
            self.run(np.zeros((1, image.height, image.width, 3), np.uint8))
        except DeviceError as error:
            raise refusal(self.providers[0], error) from error

    @property
    def details(self) -> str:
        return f"{self.kind}:{self._index}, float32, {self._placed(self._session)}"

    def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        (sums,) = self._run(self._session, [SUMS], images)
        return logits(self._graph, sums)

    def _watch(self, images: npt.NDArray[np.uint8]) -> tuple[FloatArray, dict[str, Spikes]]:
        names = [node.name for node in self._graph.populations]
        outputs = [SUMS, *map(spikes_of, names)]
        sums, *spikes = self._run(self._debug_session, outputs, images)
        return logits(self._graph, sums), dict(zip(names, spikes, strict=True))

    @cached_property
    def _debug_session(self) -> ort.InferenceSession:
        """The same network with its spikes as outputs, which prevents some fusions."""
        network = Float32(self._graph)
        return self._open(network.op.model(network.sums(), *network.spikes()), "spikes")

    def _forked(self) -> None:
        self._left_behind = True

    def _chunk_size(self) -> int:
        return chunk_size(self._graph)

    def _options(self, shown: Shown) -> dict[str, Options]:
        """The options of each provider, in the order of `providers`."""
        # The default search tries every kernel for every new batch size, which needs seconds.
        settings = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
        return {CUDA: {"device_id": str(self._index), **settings}}

    def _open(self, model: ModelProto, shown: Shown) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.log_severity_level = QUIET
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        providers = list(self._options(shown).items())
        try:
            session = ort.InferenceSession(
                model.SerializeToString(), options, providers=providers, enable_fallback=0
            )
        except Exception as error:  # ORT's own classes have no public base
            raise refusal(self.providers[0], error) from error
        if self.providers[0] not in session.get_providers():
            raise refusal(self.providers[0], None)
        self._check_placement(placement(session))
        return session

    def _check_placement(self, placed: Mapping[str, list[str]]) -> None:
        strange = [name for name in placed if name not in self.providers]
        if not placed.get(self.providers[0]) or strange:
            other = (strange or list(placed) or ["nothing"])[0]
            nodes = placed.get(other, [])
            raise DeviceError(
                "backend_unavailable",
                f"onnxruntime would compute {len(nodes)} nodes ({', '.join(nodes[:3])}) with "
                f"{other}, expected {self.providers[0]}; use --device cpu",
            )

    def _placed(self, session: ort.InferenceSession) -> str:
        """How many nodes each provider has: `all 30 nodes`, `28 of 30 nodes`."""
        counts = {name: len(nodes) for name, nodes in placement(session).items()}
        mine, every = counts[self.providers[0]], sum(counts.values())
        return f"all {every} nodes" if mine == every else f"{mine} of {every} nodes, others on cuda"

    def _run(
        self, session: ort.InferenceSession, names: list[str], images: npt.NDArray[np.uint8]
    ) -> list[npt.NDArray[Any]]:
        if self._left_behind:
            raise gpu_left_behind()

        def bound(chunk: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
            binding = session.io_binding()
            binding.bind_cpu_input(INPUT, chunk)  # copied to the GPU as it is, one byte a colour
            for name in names:
                binding.bind_output(name, DEVICE, self._index)
            session.run_with_iobinding(binding)
            copied: list[npt.NDArray[Any]] = binding.copy_outputs_to_cpu()
            return copied

        # TensorRT takes no empty batch.
        some = images if len(images) else np.zeros((1, *images.shape[1:]), np.uint8)
        return [output[: len(images)] for output in in_chunks(bound, some, self._chunk)]


class OrtTensorRtBackend(OrtCudaBackend):
    """Runs a graph with TensorRT inside ONNX Runtime, and with CUDA what TensorRT does not take."""

    kind = "tensorrt"
    providers = (TENSORRT, CUDA)

    def __init__(self, graph: SpikingGraph, *, index: int = 0) -> None:
        # The provider has no option for TF32. NVIDIA's libraries read this when they load.
        os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
        super().__init__(graph, index=index)

    def _chunk_size(self) -> int:
        return min(LARGEST_BATCH, super()._chunk_size())

    def _options(self, shown: Shown) -> dict[str, Options]:
        image = self._graph.image
        shape = f"x{image.height}x{image.width}x3"
        tensorrt = {
            "device_id": str(self._index),
            "trt_max_workspace_size": str(WORKSPACE),
            "trt_fp16_enable": "0",
            "trt_int8_enable": "0",
            # Without these an engine is built anew for every batch larger than all before.
            "trt_profile_min_shapes": f"{INPUT}:1{shape}",
            "trt_profile_opt_shapes": f"{INPUT}:1{shape}",
            "trt_profile_max_shapes": f"{INPUT}:{self._chunk}{shape}",
        }
        return {TENSORRT: tensorrt | self._cache_options(shown)} | super()._options(shown)

    def _cache_options(self, shown: Shown) -> Options:
        """The folder of ONNX Runtime's own engines, if there is a safe one.

        Each network has a folder, because ONNX Runtime identifies an engine by the names in the
        graph and not by its weights. It checks versions and GPU itself, and authenticates nothing.
        """
        cache = open_cache()
        if cache is None:
            return {}
        common = cache.path / ONNXRUNTIME
        network = common / f"{self._graph.digest()[:16]}-{self._chunk}"
        folder = network / shown
        try:
            for each in (common, network, folder):
                each.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            LOG.warning("engines are not kept: %s: %s", folder, error.strerror)
            return {}
        return {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(common),
        }


def placement(session: ort.InferenceSession) -> dict[str, list[str]]:
    """Return the nodes that each provider computes, as `Conv conv1/current`."""
    placed: dict[str, list[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        nodes = placed.setdefault(part.ep_name, [])
        nodes += [f"{node.op_type} {node.name}" for node in part.get_nodes()]
    return placed
