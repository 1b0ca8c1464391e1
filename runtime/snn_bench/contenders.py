"""Who is measured: our backends on spiking networks, ordinary engines on dense ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from snn_bench.litert import installed
from snn_bench.results import Network
from snn_bench.timing import Call
from snn_runtime.errors import UsageError
from snn_runtime.machine import gpu
from snn_runtime.machine.system import System

Engine = Literal["onnxruntime", "openvino", "litert"]
Ready: TypeAlias = tuple[str, Call]
"""A name for the way it runs, and the call."""

ENGINES: tuple[Engine, ...] = ("onnxruntime", "openvino")
LITERT: Engine = "litert"
"""XNNPACK's kernels. It runs INT8 networks, and is asked only where it is installed."""
FP32, INT8 = PRECISIONS = ("fp32", "int8")


@dataclass(frozen=True)
class Contender:
    """One engine on one network."""

    kind: Literal["snn", "dnn"]
    engine: str
    """A backend, perhaps with its device as in `onnxruntime@cuda`; a dense engine."""
    precision: str = ""
    """`fp32` or `int8` for a dense twin; empty for a file."""
    file: str = ""
    """One of `--against`; empty for the network that is measured, and its twin."""

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.kind, self.precision, self.engine, self.file)))


def usual_backends(system: System | None = None) -> tuple[str, ...]:
    """Those of the CPU, and those of a GPU where there is one."""
    from snn_runtime.engines.choice import BACKENDS, Choice

    on_gpus = gpu.present(system or System())
    return tuple(
        name if (name, place) in Choice(name).candidates else f"{name}@{place}"
        for name, place in BACKENDS
        if on_gpus or place == "cpu"
    )


def checked_backend(text: str) -> str:
    """Return `text` if it names a backend, or a backend and a device.

    Raises:
        UsageError: It does not, or the backend does not run on that device.
    """
    from snn_runtime.engines.choice import BACKENDS, Choice

    name, device = named(text)
    if name not in (known := dict.fromkeys(name for name, _ in BACKENDS)):
        choices = ", ".join(known)
        raise UsageError("unknown_backend", f"--backends: {name!r} is none of {choices}")
    Choice(name, device)
    return text


def named(backend: str) -> tuple[str, str]:
    """Return the backend and the device in `onnxruntime@cuda`, without one `auto`."""
    name, _, device = backend.partition("@")
    return name, device or "auto"


def on_gpu(backend: str) -> bool:
    """Whether a backend, as given to `--backends`, computes on a GPU only."""
    from snn_runtime.engines.choice import Choice

    return all(place != "cpu" for _, place in Choice(*named(backend)).candidates)


def twins() -> list[Contender]:
    """The dense twin in its engines."""
    return [
        Contender("dnn", engine, precision)
        for precision in PRECISIONS
        for engine in (ENGINES if precision == FP32 else int8_engines())
    ]


def int8_engines() -> tuple[Engine, ...]:
    """Those that INT8 networks are raced in here."""
    return (*ENGINES, LITERT) if installed() else ENGINES


def of_file(network: Network, backends: Sequence[str]) -> list[Contender]:
    """A file in the engines of its kind."""
    engines = backends if network.kind == "snn" else int8_engines()
    return [Contender(network.kind, engine, file=network.name) for engine in engines]


def batches(images: npt.NDArray[Any], size: int) -> list[npt.NDArray[Any]]:
    """Cut images into batches of one size, going round so that the last is full too."""
    count = -(-len(images) // size)
    order = np.arange(count * size) % len(images)
    return [np.ascontiguousarray(images[rows]) for rows in order.reshape(count, size)]


def cyclic(run: Callable[[Any], object], inputs: Sequence[Any]) -> Call:
    """The call that answers `inputs[number]`, beginning again after the last."""
    return lambda number: run(inputs[number % len(inputs)])
