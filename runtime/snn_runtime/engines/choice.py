"""Which engine is taken: what somebody may ask for, and the best that is here."""

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from snn_runtime.engines import Backend
from snn_runtime.errors import DeviceError, UsageError
from snn_runtime.machine.cores import thread_count
from snn_runtime.model_file import ModelFile

BackendName: TypeAlias = Literal["auto", "event", "onnxruntime", "tensorrt"]
Precision: TypeAlias = Literal["auto", "int8", "fp16", "fp32"]
BACKENDS = {
    ("event", "cpu"): ("snn_runtime.engines.event.backend", "EventBackend"),
    ("onnxruntime", "cpu"): ("snn_runtime.engines.onnxruntime.backend", "OrtBackend"),
    ("tensorrt", "cuda"): ("snn_runtime.engines.tensorrt.backend", "TensorRtBackend"),
    ("onnxruntime", "cuda"): ("snn_runtime.engines.onnxruntime.gpu", "OrtCudaBackend"),
    ("onnxruntime", "tensorrt"): ("snn_runtime.engines.onnxruntime.gpu", "OrtTensorRtBackend"),
}
"""Where the class of each backend and kind of device lives, best first on every device; imported
when it is needed and not before. `auto` takes the next where one is not here or does not take
the network. It stays on the CPU, where a network answers at once, unless a device is named."""


@dataclass(frozen=True)
class Choice:
    """Which engine somebody wants, and how it is to run."""

    backend: str = "auto"
    device: str = "auto"
    """`auto`, `cpu`, or `cuda` or `tensorrt`, which may name a GPU as in `cuda:1`."""
    precision: str = "auto"
    """Arithmetic of TensorRT. Every precision gives the same spikes, or is not used."""
    threads: int | None = None
    """How many a CPU engine may use; None is `cores.usable`, which see."""

    def __post_init__(self) -> None:
        for what, value, choices in (
            ("backend", self.backend, get_args(BackendName)),
            ("precision", self.precision, get_args(Precision)),
        ):
            if value not in choices:
                raise UsageError(
                    f"unknown_{what}", f"{what} is {value!r}, expected one of {', '.join(choices)}"
                )
        if not re.fullmatch(r"auto|cpu|(cuda|tensorrt)(:\d{1,3})?", self.device):
            raise UsageError(
                "unknown_device",
                f"device is {self.device!r}, expected auto, cpu, cuda, tensorrt or such as cuda:1",
            )
        if self.threads is not None:
            thread_count(self.threads)
        if not self.candidates:
            raise UsageError(
                "bad_device", f"backend {self.backend} does not run on device {self.device}"
            )
        if self.threads is not None and any(place != "cpu" for _, place in self.candidates):
            raise UsageError(
                "bad_threads", f"threads {self.threads} are for engines on the CPU, not on a GPU"
            )
        if self.precision != "auto" and any(name != "tensorrt" for name, _ in self.candidates):
            raise UsageError(
                "bad_precision", f"precision {self.precision} is for --backend tensorrt only"
            )

    @property
    def candidates(self) -> list[tuple[str, str]]:
        """Backends and kinds of device that may be taken, best first: keys of `BACKENDS`."""
        kind = self.device.partition(":")[0]
        if kind == "auto" and self.backend != "tensorrt":
            kind = "cpu"
        return [
            (name, place)
            for name, place in BACKENDS
            if self.backend in ("auto", name) and kind in ("auto", place)
        ]

    @property
    def index(self) -> int:
        """Number of the GPU."""
        return int(self.device.partition(":")[2] or 0)


def make_backend(file: ModelFile, choice: Choice) -> Backend:
    """Return the best engine of those that `choice` allows.

    Raises:
        DeviceError: None of them is available here, or takes the network.
    """
    refusals: list[DeviceError] = []
    for candidate in choice.candidates:
        try:
            return _made(candidate, file, choice)
        except DeviceError as error:
            refusals.append(error)
    reasons = dict.fromkeys(error.message for error in refusals)
    raise DeviceError(refusals[-1].code, "; ".join(reasons))


def _made(candidate: tuple[str, str], file: ModelFile, choice: Choice) -> Backend:
    module, factory = BACKENDS[candidate]
    name, place = candidate
    try:
        make: Callable[..., Backend] = getattr(importlib.import_module(module), factory)
    except ImportError as error:
        raise DeviceError(
            "backend_unavailable", f"backend {name} is not installed here: {error}"
        ) from error
    if place == "cpu":
        return make(file.graph, threads=choice.threads)
    if name == "tensorrt":
        # It proves itself before its engine is first used, so it needs to know what is right.
        return make(file.graph, golden=file.golden, index=choice.index, precision=choice.precision)
    return make(file.graph, index=choice.index)
