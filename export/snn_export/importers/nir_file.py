"""NIR files are HDF5: what is checked before the `nir` package reads one."""

from pathlib import Path
from typing import Any

from snn_runtime.errors import DeviceError, ModelError

LARGEST = 8 * 2**30
"""Bytes of all arrays, unpacked."""
DEEPEST = 32
"""Groups within groups."""


def read(path: Path) -> Any:
    """Return the `nir.NIRGraph` in a file.

    Raises:
        ModelError: `bad_checkpoint`: damaged, too large, pointing outside itself, unknown nodes.
        DeviceError: `missing_package`: `nir` is not installed.
    """
    try:
        import h5py  # only needed here
        import nir  # only needed here
    except ImportError as error:
        raise DeviceError(
            "missing_package", f"{path}: reading NIR needs its package: pip install nir"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            size = _measured(h5py, file, 0)
        if size > LARGEST:
            raise ValueError(f"unpacks to {size:,} bytes, limit is {LARGEST:,}")
        return nir.read(path)
    except Exception as error:  # nir checks with asserts, and a damaged file can raise anything
        problem = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
        raise ModelError(
            "bad_checkpoint", f"{path}: is no NIR graph to read ({problem})"
        ) from error


def _measured(h5py: Any, group: Any, depth: int) -> int:
    """Bytes in a group that holds everything it names."""
    if depth > DEEPEST:
        raise ValueError(f"nests deeper than {DEEPEST} groups")
    size = 0
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name!r:.40} is a link")
        item = group[name]
        if isinstance(item, h5py.Group):
            size += _measured(h5py, item, depth + 1)
        elif isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise ValueError(f"{name!r:.40} keeps its numbers in another file")
            size += item.nbytes
    return size
