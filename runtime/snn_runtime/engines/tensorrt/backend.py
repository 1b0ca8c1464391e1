"""TensorRT on an NVIDIA GPU: the graph in int8, float16 or float32, the fastest that is proven.

The engine is built where it runs, on its first use, and cached. It is proven by the golden images
before it is used. An engine file from elsewhere is never loaded.
"""

from functools import cached_property
from typing import get_args

import numpy as np
import numpy.typing as npt

from snn_runtime.engines.cache import open_cache
from snn_runtime.engines.lifetime import gpu_left_behind
from snn_runtime.engines.tensorrt import library
from snn_runtime.engines.tensorrt.choice import Engines
from snn_runtime.engines.tensorrt.device import Device
from snn_runtime.engines.tensorrt.engine import Engine
from snn_runtime.engines.tensorrt.lowering import Form
from snn_runtime.engines.watched import Watched
from snn_runtime.errors import UsageError
from snn_runtime.graph import FloatArray, SpikingGraph
from snn_runtime.graph.reference import Spikes
from snn_runtime.proof.forms import logits

FORMS: dict[str, tuple[Form, ...]] = {
    "auto": get_args(Form),
    **{form: (form,) for form in get_args(Form)},
}


class TensorRtBackend(Watched):
    """Runs a graph with TensorRT."""

    name = "tensorrt"

    def __init__(
        self, graph: SpikingGraph, *, golden: str, index: int = 0, precision: str = "auto"
    ) -> None:
        """Make the graph ready to run: minutes at the first time on a small board.

        Args:
            graph: Any; float32 weights run in float32.
            golden: Hash of the spikes that the golden images must cause.
            index: Number of the GPU.
            precision: `int8`, `fp16`, `fp32`, or `auto` for the fastest that is proven.

        Raises:
            UsageError: `bad_precision`, float32 weights in another precision than float32.
            DeviceError: TensorRT or the GPU is not here, or no engine can be proven.
        """
        forms = FORMS[precision]
        if not graph.exact:
            if "fp32" not in forms:
                raise UsageError(
                    "bad_precision",
                    f"precision is {precision}, the network has float32 weights: "
                    "expected fp32 or auto",
                )
            forms = FORMS["fp32"]
        tensorrt = library.find()
        self._device = device = Device(index)
        super().__init__(graph, golden=golden, index=index, precision=precision)
        self._engines = Engines(graph, golden, tensorrt, device, open_cache())
        self._chosen = self._engines.choose(forms)
        self._where = f"{tensorrt.described}, {device.traits.name}"

    @property
    def details(self) -> str:
        return f"{self._chosen.form}, {self._where}"

    def run(self, images: npt.NDArray[np.uint8]) -> FloatArray:
        return logits(self._graph, self._chosen.engine.run(images))

    def _watch(self, images: npt.NDArray[np.uint8]) -> tuple[FloatArray, dict[str, Spikes]]:
        outputs = self._debug_engine.outputs(images)
        return logits(self._graph, outputs.sums), outputs.spikes

    def _forked(self) -> None:
        self._device.leave(gpu_left_behind())

    @cached_property
    def _debug_engine(self) -> Engine:
        """The same network with its spikes as outputs, which cost some fusions and memory.

        It also serves float32 networks, whose spikes may round either way in another engine.
        """
        if not self._graph.exact:
            return self._chosen.engine
        return self._engines.debug(self._chosen.form)
