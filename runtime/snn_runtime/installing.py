"""What to type where a backend is missing: the line that installs it on this platform."""

import platform
from pathlib import Path

TEGRA = Path("/etc/nv_tegra_release")
"""Only NVIDIA's Jetson boards have it: `# R36 (release), REVISION: 4.3, …`."""


def on_jetson() -> bool:
    return TEGRA.exists()


def install_line(extra: str) -> str:
    """Return how to install what the extra `cuda` or `tensorrt` stands for, as half a sentence."""
    if on_jetson():
        if extra == "tensorrt":
            return (
                "TensorRT comes with JetPack: apt-get install python3-libnvinfer, and make the "
                "virtual environment with --system-site-packages"
            )
        return "onnxruntime has no GPU wheel for Jetson: use --backend tensorrt"
    if platform.machine() != "x86_64":
        return f"there are no wheels of it for {platform.machine()}: use --device cpu"
    return f"pip install 'iir-snn[{extra}]'"
