"""Run spiking networks of a single timestep.

import snn_runtime as snn

model = snn.load("model.onnx")                # or snn.load() for the bundled one
answer = model.classify("cat.jpg")            # or bytes, a file, a PIL image, an array, a list
answer.label, answer.probability, answer.top(3), answer.warnings
"""

import os
from typing import TYPE_CHECKING

# From 1.29 on ONNX Runtime reports its use to its makers and leaves files in the home folder. It
# looks at this once, when it is imported; here, because nothing of ours is imported before.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from snn_runtime.answer import Answer, Prediction
    from snn_runtime.model import Model, load, read_image

    __version__: str

__all__ = ["Answer", "Model", "Prediction", "__version__", "load", "read_image"]


def __getattr__(name: str) -> object:
    # Lazy: whoever only decodes images must not pay for onnx and an engine.
    if name == "__version__":
        from importlib.metadata import version

        return version("iir-snn")
    if name in ("Answer", "Prediction"):
        from snn_runtime import answer

        return getattr(answer, name)
    if name in __all__:
        from snn_runtime import model

        return getattr(model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
