"""NIR files are HDF5: what is checked before the `nir` package reads one."""

import math
from pathlib import Path
from typing import Any

from snn_runtime.errors import DeviceError, ModelError

LARGEST = 8 * 2**30
"""Bytes of all arrays, unpacked."""
SMALL, RATIO = 64 * 2**20, 100
"""Bytes that any file may unpack to, and how many times its own size a larger one: no trained
weights pack like that."""
MOST = 2**16
"""Groups and arrays."""
FEW = 8
"""Numbers: smaller arrays are sizes and strides, which HDF5 never compresses for nir."""
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
            measure = _Measure(h5py)
            size = measure.of(file)
        most = min(LARGEST, max(SMALL, RATIO * path.stat().st_size))
        if size > most:
            raise ValueError(f"unpacks to {size:,} bytes, limit is {most:,}")
        if measure.lost:
            raise ValueError(f"{measure.lost[0]!r:.40} is damaged: parts of it are missing")
        return nir.read(path)
    except Exception as error:  # nir checks with asserts, and a damaged file can raise anything
        problem = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
        raise ModelError(
            "bad_checkpoint", f"{path}: is no NIR graph to read ({problem})"
        ) from error


def unguarded(path: Path) -> tuple[str, ...]:
    """What the reader of the report must know if damage to the file's arrays would not be seen.

    HDF5 keeps checksums only where its filters do: deflate, as nir writes by default, or Fletcher.
    """
    import h5py  # only needed here

    bare: list[str] = []

    def visit(name: str, item: Any) -> None:
        # Names, such as those of the edges, are no numbers: a damaged one is that of no node.
        numbers = isinstance(item, h5py.Dataset) and item.dtype.kind in "biuf"
        if numbers and item.size is not None and item.size >= FEW:
            if item.compression != "gzip" and not item.fletcher32:
                bare.append(name)

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    if not bare:
        return ()
    return (
        f"warning: {len(bare)} arrays of the file carry no checksum, first {bare[0]}: damage "
        'to them is not seen; nir.write(…, compression="gzip") gives them one',
    )


class _Measure:
    """Adds up what a group's arrays take, in a file that holds all that it names."""

    def __init__(self, h5py: Any) -> None:
        self._h5py = h5py
        self._seen = 0
        self.lost: list[str] = []
        """Arrays that are not all there."""

    def of(self, group: Any, depth: int = 0) -> int:
        """Bytes in a group and all groups in it.

        Raises:
            ValueError: It is deeper, or has more parts, than a network, or points elsewhere.
        """
        if depth > DEEPEST:
            raise ValueError(f"nests deeper than {DEEPEST} groups")
        size = 0
        for name in group:
            self._seen += 1
            if self._seen > MOST:
                raise ValueError(f"has more than {MOST:,} groups and arrays")
            if not isinstance(group.get(name, getlink=True), self._h5py.HardLink):
                raise ValueError(f"{name!r:.40} is a link")
            item = group[name]
            if isinstance(item, self._h5py.Group):
                size += self.of(item, depth + 1)
            elif isinstance(item, self._h5py.Dataset):
                if item.external or item.is_virtual:
                    raise ValueError(f"{name!r:.40} keeps its numbers in another file")
                if _lost_a_part(item):
                    self.lost.append(str(name))
                size += item.nbytes
        return size


def _lost_a_part(item: Any) -> bool:
    """The list of chunks has no checksum; where an entry is lost, HDF5 reads zeros."""
    if not item.chunks or not item.size:
        return False
    sizes = zip(item.shape, item.chunks, strict=True)
    wanted = math.prod(-(-side // chunk) for side, chunk in sizes)
    return bool(item.id.get_num_chunks() != wanted)
