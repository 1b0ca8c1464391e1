"""What to type where a package is missing: the line that installs it."""

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
