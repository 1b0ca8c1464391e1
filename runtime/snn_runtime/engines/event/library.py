"""engine.h in ctypes: its structures field by field, and the library if there is one."""

import ctypes
from ctypes import POINTER, c_char_p, c_double, c_float, c_int8, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path

from snn_runtime.errors import DeviceError

ABI = 11
"""SNN_EVENT_ABI of the engine.h that the structures below describe."""
LIBRARY = Path(__file__).with_name("libsnn_event.so")


class Projection(ctypes.Structure):
    """snn_projection"""

    _fields_ = [
        ("source", c_int32),
        ("kernel_height", c_int32),
        ("kernel_width", c_int32),
        ("stride_y", c_int32),
        ("stride_x", c_int32),
        ("padding_y", c_int32),
        ("padding_x", c_int32),
        ("groups", c_int32),
        ("weight", c_int64),
    ]


class Node(ctypes.Structure):
    """snn_node"""

    _fields_ = [
        ("kind", c_int32),
        ("channels", c_int32),
        ("projections", c_int32),
        ("source", c_int32 * 2),
        ("kernel", c_int32),
        ("positions", c_int32),
        ("levels", c_int32),
        ("threshold", c_int64),
    ]


class Graph(ctypes.Structure):
    """snn_graph"""

    _fields_ = [
        ("height", c_int32),
        ("width", c_int32),
        ("offset", c_int32 * 3),
        ("nodes", c_int32),
        ("projections", c_int32),
        ("readout", c_int32),
        ("classes", c_int32),
        ("readout_weight", c_int64),
        ("weight_count", c_int64),
        ("threshold_count", c_int64),
        ("node", POINTER(Node)),
        ("projection", POINTER(Projection)),
        ("weights", POINTER(c_int8)),
        ("thresholds", POINTER(c_int32)),
        ("scale", POINTER(c_float)),
        ("bias", POINTER(c_float)),
    ]


@cache
def library() -> ctypes.CDLL:
    """Load the engine.

    Raises:
        DeviceError: This installation has none (`backend_unavailable`), or it does not load.
    """
    if not LIBRARY.is_file():
        raise _refuse(
            "this installation was built without it: no C++ compiler, one that failed, or "
            "SNN_EVENT_BUILD=off (pip install -v says which); use --backend onnxruntime"
        )
    try:
        loaded = ctypes.CDLL(str(LIBRARY))
        abi = loaded.snn_event_abi()
    except (OSError, AttributeError) as error:
        raise _refuse(f"its library does not load: {error}") from error
    if abi != ABI:
        raise _refuse(f"its library has interface {abi}, this package expects {ABI}; reinstall")
    _declare(loaded)
    return loaded


def instruction_sets() -> tuple[str, ...]:
    """Return the instruction sets that both library and processor have, best first."""
    names: bytes = library().snn_event_instruction_sets()
    return tuple(names.decode().split())


def bandwidth(size: int) -> float:
    """Return bytes per nanosecond: one thread reads a cached buffer of `size` bytes."""
    return float(library().snn_event_bandwidth(size))


def peak() -> tuple[str, float]:
    """Return the instructions that multiply and add most bytes, and how many a nanosecond."""
    name = c_char_p()
    rate = float(library().snn_event_peak(ctypes.byref(name)))
    return (name.value or b"").decode(), rate


def _declare(loaded: ctypes.CDLL) -> None:
    """Declare all signatures: by default ctypes cuts pointers to 32 bits."""
    declarations = {
        "snn_event_instruction_sets": (c_char_p, []),
        "snn_event_create": (c_void_p, [POINTER(Graph), c_int32, c_char_p, c_char_p, c_int64]),
        "snn_event_run": (c_int32, [c_void_p, c_void_p, c_int64, *5 * [c_void_p]]),
        "snn_event_instruction_set": (c_char_p, [c_void_p]),
        "snn_event_threads": (c_int32, [c_void_p]),
        "snn_event_image_bytes": (c_int64, [c_void_p]),
        "snn_event_destroy": (None, [c_void_p]),
        "snn_event_bandwidth": (c_double, [c_int64]),
        "snn_event_peak": (c_double, [POINTER(c_char_p)]),
    }
    for name, (result, arguments) in declarations.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments


def _refuse(why: str) -> DeviceError:
    return DeviceError("backend_unavailable", f"backend event is not available: {why}")
