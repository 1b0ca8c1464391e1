"""A GPU made of ordinary memory, behind the functions of CUDA's runtime that snn_runtime calls.

What is given to a stream happens at once, or, while it is captured, when the graph is launched.
"""

import ctypes
import enum
import threading
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorIllegalAddress = 700
    cudaErrorStreamCaptureUnsupported = 900
    cudaErrorStreamCaptureInvalidated = 901


class cudaMemcpyKind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class cudaStreamCaptureMode(enum.IntEnum):
    cudaStreamCaptureModeThreadLocal = 1


OK = cudaError_t.cudaSuccess
count = 2
name = b"Orin"
capability = (8, 7)
processors = 16
memory = 2**33
uuid = bytes(range(16))
driver, version = 12060, 12060
faults: dict[str, cudaError_t] = {}
"""Functions that fail from now on."""
calls: Counter[str] = Counter()
held: dict[int, Any] = {}
"""Memory that is allocated, by address."""
current = threading.local()
"""Which GPU a thread means: 0 unless it said otherwise."""
used: set[int] = set()
"""GPUs that were given work."""
captured: list[Callable[[], None]] | None = None
graphs: dict[int, list[Callable[[], None]]] = {}


def _done(function: str, *results: Any) -> tuple[Any, ...]:
    calls[function] += 1
    if function in faults:
        return (faults[function], *(None for _ in results))
    return (OK, *results)


def enqueue(work: Callable[[], None]) -> None:
    """What a library does with a stream."""
    if captured is None:
        work()
    else:
        captured.append(work)


def cudaGetDeviceCount() -> tuple[Any, ...]:
    return _done("cudaGetDeviceCount", count)


def cudaSetDevice(index: int) -> tuple[Any, ...]:
    current.index = index
    return _done("cudaSetDevice")


def cudaGetDeviceProperties(index: int) -> tuple[Any, ...]:
    traits = SimpleNamespace(
        name=name,
        major=capability[0],
        minor=capability[1],
        multiProcessorCount=processors,
        totalGlobalMem=memory,
        uuid=SimpleNamespace(bytes=uuid),
    )
    return _done("cudaGetDeviceProperties", traits)


def cudaDriverGetVersion() -> tuple[Any, ...]:
    return _done("cudaDriverGetVersion", driver)


def cudaRuntimeGetVersion() -> tuple[Any, ...]:
    return _done("cudaRuntimeGetVersion", version)


def cudaGetErrorString(error: cudaError_t) -> tuple[Any, ...]:
    return OK, error.name.removeprefix("cudaError").encode()


def cudaStreamCreate() -> tuple[Any, ...]:
    return _done("cudaStreamCreate", 77)


def cudaStreamSynchronize(stream: int) -> tuple[Any, ...]:
    return _done("cudaStreamSynchronize")


def _allocated(function: str, size: int) -> tuple[Any, ...]:
    if function in faults:
        return _done(function, None)
    buffer = (ctypes.c_uint8 * size)()
    held[ctypes.addressof(buffer)] = buffer
    return _done(function, ctypes.addressof(buffer))


def cudaMalloc(size: int) -> tuple[Any, ...]:
    return _allocated("cudaMalloc", size)


def cudaMallocHost(size: int) -> tuple[Any, ...]:
    return _allocated("cudaMallocHost", size)


def cudaFree(address: int) -> tuple[Any, ...]:
    del held[address]
    return _done("cudaFree")


def cudaFreeHost(address: int) -> tuple[Any, ...]:
    del held[address]
    return _done("cudaFreeHost")


def cudaMemcpyAsync(
    target: int, source: int, size: int, kind: cudaMemcpyKind, stream: int
) -> tuple[Any, ...]:
    def copy() -> None:
        ctypes.memmove(target, source, size)

    used.add(getattr(current, "index", 0))
    enqueue(copy)
    return _done("cudaMemcpyAsync")


def cudaStreamBeginCapture(stream: int, mode: cudaStreamCaptureMode) -> tuple[Any, ...]:
    global captured
    if "cudaStreamBeginCapture" not in faults:
        captured = []
    return _done("cudaStreamBeginCapture")


def cudaStreamEndCapture(stream: int) -> tuple[Any, ...]:
    global captured
    recorded, captured = captured, None
    graphs[len(graphs) + 1] = recorded or []
    return _done("cudaStreamEndCapture", len(graphs))


def cudaGraphInstantiateWithFlags(graph: int, flags: int) -> tuple[Any, ...]:
    return _done("cudaGraphInstantiateWithFlags", graph)


def cudaGraphDestroy(graph: int) -> tuple[Any, ...]:
    return _done("cudaGraphDestroy")


def cudaGraphExecDestroy(graph: int) -> tuple[Any, ...]:
    return _done("cudaGraphExecDestroy")


def cudaGraphLaunch(graph: int, stream: int) -> tuple[Any, ...]:
    for work in graphs[graph]:
        work()
    return _done("cudaGraphLaunch")
