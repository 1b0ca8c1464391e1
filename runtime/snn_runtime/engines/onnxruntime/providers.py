"""Why a GPU provider of ONNX Runtime is not here, in one sentence that ends in what to type.

ONNX Runtime itself answers a provider that it lacks, or whose library does not load, with a
warning and a session on the CPU, and says why on standard error only.
"""

import ctypes
import importlib
import io
import platform
import re
import warnings
from contextlib import redirect_stdout, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import onnxruntime as ort

from snn_runtime.engines.onnxruntime.backend import QUIET
from snn_runtime.errors import DeviceError
from snn_runtime.machine.wheels import ORT_WHEELS, TENSORRT_10, install_line

CPU, CUDA, TENSORRT = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt"))
EXTRAS = {CUDA: "cuda", TENSORRT: "onnxruntime-tensorrt"}
"""Their names for `install_line`."""
LIBRARIES = {CUDA: "cuda", TENSORRT: "tensorrt"}
PLACEMENT = "get_provider_graph_assignment_info"
"""The method of a session that says which provider computes a node."""
DRIVER = "libcuda.so.1"

_MISSING = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file")
_FAILURES = {
    35: "the NVIDIA driver is older than the CUDA of this onnxruntime: update the driver",
    100: "no NVIDIA GPU is visible; in a container: start it with --gpus all",
    101: "there is no GPU of that number",
    209: "this onnxruntime has no kernels for this GPU: use --backend tensorrt",
}
"""By number, what CUDA says and what to do; a kernel for the GPU is missed at the first run."""


def prepare(provider: str) -> None:
    """Find the libraries that pip installed for `provider`.

    Raises:
        DeviceError: `backend_unavailable`: the installed onnxruntime was built without it, or
            cannot prove that it is used.
    """
    if provider not in ort.get_available_providers():
        raise _unavailable(provider, _why_not_built_in(provider))
    if not hasattr(ort.InferenceSession, PLACEMENT):
        why = f"onnxruntime {ort.__version__} is too old to say where it computes"
        raise _unavailable(provider, f"{why}: {install_line(EXTRAS[provider])}")
    ort.set_default_logger_severity(QUIET)  # the errors raised here say the same
    if hasattr(ort, "preload_dlls"):  # from 1.21 on
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ort.preload_dlls()
    if provider == TENSORRT:
        with suppress(ImportError, OSError):
            importlib.import_module("tensorrt_libs")  # loads what the wheel of that name holds


def refusal(provider: str, error: Exception | None) -> DeviceError:
    """Return why no session came up with `provider`, which is built in.

    Args:
        error: What creating the session raised, if it did.
    """
    text = " ".join(str(error or "").split())
    cuda = re.search(r"CUDA failure (\d+): ([^;]*)", text)
    if cuda:
        failure = f"{cuda[2].strip()} (CUDA failure {cuda[1]})"
        return _unavailable(provider, f"{failure}: {_FAILURES.get(int(cuda[1]), 'see nvidia-smi')}")
    unloadable = _load_error(provider)
    if unloadable is not None:
        return _unavailable(provider, _why_unloadable(provider, unloadable))
    return _unavailable(provider, text[:200] or "onnxruntime does not say why")


def installed_wheels() -> dict[str, str]:
    """Return the versions of those of `ORT_WHEELS` that are installed."""
    wheels = {}
    for name in ORT_WHEELS:
        with suppress(PackageNotFoundError):
            wheels[name] = version(name)
    return wheels


def _why_not_built_in(provider: str) -> str:
    wheels = installed_wheels()
    install = install_line(EXTRAS[provider])
    if wheels.keys() >= set(ORT_WHEELS):
        gpu = wheels["onnxruntime-gpu"]
        return (
            f"onnxruntime {wheels['onnxruntime']} lies over onnxruntime-gpu {gpu}, in one folder: "
            f"pip install --force-reinstall --no-deps onnxruntime-gpu=={gpu}"
        )
    if "onnxruntime-gpu" in wheels:
        machine = platform.machine()
        return f"onnxruntime-gpu {wheels['onnxruntime-gpu']} for {machine} lacks it: {install}"
    return f"onnxruntime {ort.__version__} is the one for CPUs: {install}"


def _load_error(provider: str) -> str | None:
    """The loader's error for the driver or the provider's library, if there is one.

    To be called only after ONNX Runtime has tried: its library must be loaded by itself.
    """
    folder = Path(ort.__file__).parent / "capi"
    try:
        for library in (DRIVER, folder / f"libonnxruntime_providers_{LIBRARIES[provider]}.so"):
            ctypes.CDLL(str(library))
    except OSError as error:
        return str(error)
    return None


def _why_unloadable(provider: str, error: str) -> str:
    missing = _MISSING.search(error)
    if not missing:
        return f"its library does not load: {error:.200}"
    library = missing[1]
    if library == DRIVER:
        return f"no NVIDIA driver ({library} is missing); in a container: start it with --gpus all"
    if library.startswith("libnv"):
        return f"{library} of TensorRT is missing: {TENSORRT_10}"
    return f"{library} is missing: {install_line(EXTRAS[CUDA])}"


def _unavailable(provider: str, why: str) -> DeviceError:
    return DeviceError("backend_unavailable", f"onnxruntime has no {provider} here: {why}")
