"""Run spiking networks of a single timestep: `load(path).predict(images)`."""

import os
from typing import TYPE_CHECKING

# From 1.29 on ONNX Runtime reports its use to its makers and leaves files in the home folder. It
# looks at this once, when it is imported; here, because nothing of ours is imported before.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from snn_runtime.model import Model, load

    __version__: str

__all__ = ["Model", "__version__", "load"]


def __getattr__(name: str) -> object:
    # Lazy: whoever only decodes images must not pay for onnx and an engine.
    if name == "__version__":
        from importlib.metadata import version

        return version("iir-snn")
    if name in __all__:
        from snn_runtime import model

        return getattr(model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
