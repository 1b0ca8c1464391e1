"""What to type where a backend for NVIDIA's GPUs is missing: the line that installs it here."""

import sys

from snn_runtime.machine import jetson
from snn_runtime.machine.system import System

ORT_GPU = "1.31.1"
"""The onnxruntime-gpu that the extra `cuda` brings, for CUDA 13, cuDNN 9 and TensorRT 10."""
ORT_GPU_PYTHON = (3, 11)
ORT_WHEELS = ("onnxruntime", "onnxruntime-gpu")
"""Two distributions that install one and the same package: the later one lies over the other."""
TENSORRT_10 = "pip install 'tensorrt-cu13<11'"
"""What that onnxruntime-gpu loads; without the bound pip brings 11."""


def install_line(extra: str, system: System | None = None) -> str:
    """Return how to install something on this platform, as half a sentence.

    Args:
        extra: `tensorrt`, which our own backend needs, `cuda`, ONNX Runtime for GPUs, or
            `onnxruntime-tensorrt`, what its TensorRT provider needs.
    """
    system = system or System()
    if extra != "tensorrt":
        return _onnxruntime(extra, system)
    if jetson.here(system):
        return (
            "TensorRT comes with JetPack: apt-get install python3-libnvinfer, and make the "
            "virtual environment with --system-site-packages"
        )
    if system.machine != "x86_64":
        return f"there are no wheels of it for {system.machine}: use --device cpu"
    return f"pip install 'iir-snn[{extra}]'"


def _onnxruntime(extra: str, system: System) -> str:
    machine = system.machine
    if jetson.here(system):
        return "there is no onnxruntime-gpu wheel for Jetson's GPU: use --backend tensorrt"
    if sys.version_info < ORT_GPU_PYTHON:
        return f"onnxruntime-gpu {ORT_GPU} needs Python {'.'.join(map(str, ORT_GPU_PYTHON))}"
    if machine not in ("x86_64", "aarch64"):
        return f"there is no onnxruntime-gpu wheel for {machine}: use --device cpu"
    # The base package needs onnxruntime, which pip lays over onnxruntime-gpu in the same folder.
    cuda = (
        "pip install 'iir-snn[cuda]' && "
        f"pip install --force-reinstall --no-deps onnxruntime-gpu=={ORT_GPU}"
    )
    if extra == "cuda":
        return cuda
    if machine == "aarch64":
        return "its wheel for aarch64 has no TensorRT provider: use --backend tensorrt"
    return f"{cuda} && {TENSORRT_10}"
