"""What to type where a backend is missing: the line that installs it on this platform."""

import platform
import sys
from pathlib import Path

TEGRA = Path("/etc/nv_tegra_release")
"""Only NVIDIA's Jetson boards have it: `# R36 (release), REVISION: 4.3, …`."""

ORT_GPU = "1.31.1"
"""The onnxruntime-gpu that the extra `cuda` brings, for CUDA 13, cuDNN 9 and TensorRT 10."""
ORT_GPU_PYTHON = (3, 11)
ORT_WHEELS = ("onnxruntime", "onnxruntime-gpu")
"""Two distributions that install one and the same package: the later one lies over the other."""
EXTRAS = (
    dict.fromkeys(("torch", "sklearn", "matplotlib", "tqdm"), "train")
    | dict.fromkeys(
        ("anyio", "httptools", "prometheus_client", "python_multipart", "starlette", "uvicorn"),
        "serve",
    )
    | {"cv2": "video"}
)
"""What brings the packages that not every installation has, by the name they are imported by."""
NEEDED = {"numpy": "numpy", "onnx": "onnx", "onnxruntime": "onnxruntime", "PIL": "pillow"}
"""What every installation has, unless something took it away, and its name for pip."""
TENSORRT_10 = "pip install 'tensorrt-cu13<11'"
"""What that onnxruntime-gpu loads; without the bound pip brings 11."""


def on_jetson() -> bool:
    return TEGRA.exists()


def missing_package(error: ImportError) -> str:
    """Return what to say of a package that is missing or broken; nothing of one that no command
    needs.

    `import` names the package it misses; one that is there and broken names a library of its own.
    """
    package = (error.name or "").partition(".")[0]
    if package in NEEDED:
        line = f"pip install --force-reinstall {NEEDED[package]}"
    elif package in EXTRAS:
        line = f"pip install 'iir-snn[{EXTRAS[package]}]'"
    else:
        return ""
    if isinstance(error, ModuleNotFoundError):
        return f"{package} is not installed here: {line}"
    return f"{package} cannot be loaded here ({error}); install it anew: {line}"


def install_line(extra: str) -> str:
    """Return how to install something on this platform, as half a sentence.

    Args:
        extra: `tensorrt`, which our own backend needs, `cuda`, ONNX Runtime for GPUs, or
            `onnxruntime-tensorrt`, what its TensorRT provider needs.
    """
    if extra != "tensorrt":
        return _onnxruntime(extra)
    if on_jetson():
        return (
            "TensorRT comes with JetPack: apt-get install python3-libnvinfer, and make the "
            "virtual environment with --system-site-packages"
        )
    if platform.machine() != "x86_64":
        return f"there are no wheels of it for {platform.machine()}: use --device cpu"
    return f"pip install 'iir-snn[{extra}]'"


def _onnxruntime(extra: str) -> str:
    machine = platform.machine()
    if on_jetson():
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
