"""A GPU through CUDA's runtime, as cuda-python gives it: memory, copies, a stream, graphs.

An error that is not about memory leaves a process's CUDA broken for good (illegal addresses, a GPU
that fell off its bus). Every later call is refused.
"""

import ctypes
import importlib
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_runtime.errors import DeviceError, ResourceError, SnnError
from snn_runtime.machine import jetson
from snn_runtime.machine.system import System
from snn_runtime.machine.wheels import install_line

MODULES = ("cuda.bindings.runtime", "cuda.cudart")
"""The runtime's module in cuda-python: from 12.6 on, and before."""
OUT_OF_MEMORY = 2
CAPTURE_ERRORS = (801, *range(900, 920))
"""Errors of a stream that cannot be recorded, the only ones that break nothing."""


@dataclass(frozen=True)
class Traits:
    """The properties that an engine depends on: none runs where one of these differs."""

    name: str
    capability: str
    processors: int
    memory: int
    uuid: str
    driver: int
    runtime: int


class Device:
    """One GPU and one stream on it."""

    def __init__(self, index: int) -> None:
        """Raises DeviceError where there is no such GPU, no driver or no cuda-python."""
        self._cuda = _runtime()
        self._lost: DeviceError | None = None
        self.index = index
        count = self._count()
        if index >= count:
            raise DeviceError(
                "backend_unavailable",
                f"device is cuda:{index}, the last GPU here is cuda:{count - 1}",
            )
        self.use()
        self.traits = self._traits()
        self.stream = int(self.call("cudaStreamCreate"))

    def call(self, function: str, *arguments: Any) -> Any:
        """Call the runtime and return its one result, if it has any.

        Raises:
            ResourceError: `out_of_memory`.
            DeviceError: `device_lost`, now and at every later call, or the error given to `leave`.
        """
        if self._lost is not None:
            raise DeviceError(self._lost.code, self._lost.message)
        error, *results = getattr(self._cuda, function)(*arguments)
        if int(error) != 0:
            raise self._translated(int(error))
        return results[0] if results else None

    def use(self) -> None:
        """Make this GPU the calling thread's."""
        self.call("cudaSetDevice", self.index)

    def release_with(self, owner: object, function: str, handle: Any) -> None:
        """Give `handle` back when `owner` is gone; at the end of the process the driver does it."""
        weakref.finalize(owner, self._release, function, handle).atexit = False

    def _release(self, function: str, handle: Any) -> None:
        if self._lost is None:  # a lost GPU takes nothing back
            self.call(function, handle)

    def lose(self, why: str) -> DeviceError:
        """Call the GPU lost for this process."""
        error = DeviceError("device_lost", f"the GPU failed ({why}): start this program again")
        self.leave(error)
        return error

    def leave(self, error: DeviceError) -> None:
        """Never ask the GPU again: every later call raises `error`."""
        self._lost = error

    def send(self, target: int, source: int, size: int) -> None:
        """Copy from pinned memory to the device, in the stream's order."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self.call("cudaMemcpyAsync", target, source, size, kind, self.stream)

    def fetch(self, target: int, source: int, size: int) -> None:
        """Copy from the device to pinned memory, in the stream's order."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self.call("cudaMemcpyAsync", target, source, size, kind, self.stream)

    def wait(self) -> None:
        """Until all that the stream was given is done."""
        self.call("cudaStreamSynchronize", self.stream)

    def capture(self, work: Callable[[], bool]) -> Any | None:
        """Record what `work` gives the stream; None where that cannot be recorded."""
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        try:
            self.call("cudaStreamBeginCapture", self.stream, mode)
            complete = _recordable(work)
            recorded = self.call("cudaStreamEndCapture", self.stream)
            ready = self.call("cudaGraphInstantiateWithFlags", recorded, 0) if complete else None
            self.call("cudaGraphDestroy", recorded)
        except _Uncaptured:
            return None
        return ready

    def replay(self, recorded: Any) -> None:
        self.call("cudaGraphLaunch", recorded, self.stream)

    def _count(self) -> int:
        error, count = self._cuda.cudaGetDeviceCount()
        if int(error) != 0 or count < 1:
            why = f" ({self._sentence(int(error))})" if int(error) else ""
            raise DeviceError("backend_unavailable", f"backend tensorrt finds no NVIDIA GPU{why}")
        return int(count)

    def _traits(self) -> Traits:
        properties = self.call("cudaGetDeviceProperties", self.index)
        return Traits(
            name=_text(properties.name),
            capability=f"{properties.major}.{properties.minor}",
            processors=int(properties.multiProcessorCount),
            memory=int(properties.totalGlobalMem),
            uuid=bytes(properties.uuid.bytes).hex(),
            driver=int(self.call("cudaDriverGetVersion")),
            runtime=int(self.call("cudaRuntimeGetVersion")),
        )

    def _translated(self, error: int) -> SnnError:
        sentence = self._sentence(error)
        if error == OUT_OF_MEMORY:
            return ResourceError("out_of_memory", f"the GPU is {sentence}")
        if error in CAPTURE_ERRORS:
            return _Uncaptured("backend_failed", sentence)
        return self.lose(sentence)

    def _sentence(self, error: int) -> str:
        try:
            _, text = self._cuda.cudaGetErrorString(self._cuda.cudaError_t(error))
        except ValueError:  # a driver newer than the bindings has errors they do not know
            return f"CUDA error {error}"
        return f"{_text(text)}, CUDA error {error}"


class Buffer:
    """Bytes in pinned memory of the host, seen as an array, and as many on the device."""

    def __init__(self, device: Device, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        kind = np.dtype(dtype)
        self._device = device
        self.row = int(np.prod(shape[1:], dtype=np.int64)) * kind.itemsize
        """Bytes of one picture's part."""
        size = max(1, self.row * shape[0])
        self.pinned = int(device.call("cudaMallocHost", size))
        device.release_with(self, "cudaFreeHost", self.pinned)
        self.address = int(device.call("cudaMalloc", size))
        device.release_with(self, "cudaFree", self.address)
        self.array = _at(self.pinned, shape, kind)

    def send(self, rows: int) -> None:
        self._device.send(self.address, self.pinned, rows * self.row)

    def fetch(self, rows: int) -> None:
        self._device.fetch(self.pinned, self.address, rows * self.row)


class _Uncaptured(DeviceError):
    """The stream cannot be captured, and works on as it did."""


def _recordable(work: Callable[[], bool]) -> bool:
    """Do the work. Its failure must not keep the caller from ending the recording."""
    try:
        return work()
    except _Uncaptured:
        return False


def _runtime() -> Any:
    for name in MODULES:
        try:
            return importlib.import_module(name)
        except (ImportError, OSError, RuntimeError):  # RuntimeError: no libcuda to bind to
            continue
    how = (
        "pip install 'cuda-python<13' with JetPack 6, cuda-python with 7"
        if jetson.here(System())
        else install_line("tensorrt")
    )
    raise DeviceError("backend_unavailable", f"backend tensorrt needs cuda-python: {how}")


def _text(value: bytes | str) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    return text.rstrip("\0")


def _at(address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = (ctypes.c_uint8 * size).from_address(address)
    return np.ctypeslib.as_array(raw).view(dtype).reshape(shape)
