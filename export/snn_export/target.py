"""Where a model is written: never over what was trained."""

from pathlib import Path
from zipfile import is_zipfile

from snn_runtime.errors import ResourceError
from snn_runtime.files import check_target


def check_model_target(path: Path, *sources: Path | None) -> None:
    """Refuse, before any work, what a model must not replace.

    Args:
        sources: what the model is made from.

    Raises:
        ResourceError: `unwritable`: as `check_target`; or it is a checkpoint, as the second file of
            `export-snn runs/*/t1.pt` is.
    """
    check_target(path, *sources)
    if path.is_file() and is_zipfile(path):
        what = "is a checkpoint or another archive, and is not replaced"
        raise ResourceError("unwritable", f"{path}: {what}: name another, such as model.onnx")
