"""Whose file is it? Told by its content, never by its name."""

from pathlib import Path
from typing import Any

from snn_export.formats import FORMATS
from snn_export.importers import iir_official, modules, nir_file, nir_graphs, torch_file
from snn_export.importers.foreign import Foreign
from snn_export.importers.picture import Picture
from snn_runtime import door
from snn_runtime.errors import InputError, ModelError
from snn_train import checkpoint, torch_zip

HDF5 = b"\x89HDF\r\n\x1a\n"

MODULE = "snntorch or spikingjelly"
"""Weights of a program, which tells by its neurons whose they are."""


def detect(path: Path, builder: str | None) -> str | None:
    """Return the format of a file that `door` lets in, None for our own.

    A state_dict of SpikingJelly holds no word of its own; `--module` says that it is a program's.

    Raises:
        ModelError: `bad_checkpoint`: damaged, or nobody's that is known.
    """
    if _starts_with(path, HDF5):
        return "nir"
    words = torch_file.pickled_words(path)
    if iir_official.MARK in words:
        return "iir-official"
    if torch_file.says(words, "format", checkpoint.FORMAT):
        return None
    if builder or b"graded_spikes_factor" in words or b"reset_mechanism_val" in words:
        return MODULE
    torch_file.state_dict(path)  # what else it holds is said first
    raise ModelError(
        "bad_checkpoint",
        f"{path}: a torch file, but not train-snn's and not the IIR-SNN authors'; the weights of "
        "an snnTorch or SpikingJelly network need --module FILE.py:FUNCTION to say what they are "
        "weights of",
    )


def contents(file_format: str, path: Path) -> Any:
    """Return what a file of `file_format` holds, for `load`.

    No flag is needed for it, so that what is wrong with the file is said before what is wrong with
    the flags.

    Raises:
        ModelError: it is missing, damaged, not of that format, or not at T = 1.
    """
    if file_format == "nir":
        return nir_file.read(path)
    if file_format == "iir-official":
        return iir_official.tensors(path)
    return torch_file.state_dict(path)


def load(
    file_format: str,
    path: Path,
    held: Any,
    picture: Picture,
    builder: str | None,
    timestep: float | None,
) -> Foreign:
    """Return the network in `path`, a file of `file_format` as named in `FORMATS` or by `detect`.

    Args:
        held: its `contents`.
        builder: `FILE.py:FUNCTION`, for all formats but those of `WITHOUT_PROGRAM`.

    Raises:
        UsageError: `builder` is wrong.
        ModelError: the file is refused.
    """
    if file_format == "nir":
        notes = nir_file.unguarded(path)
        step = nir_graphs.TIMESTEP if timestep is None else timestep
        return nir_graphs.from_graph(held, picture, step, notes)
    if file_format == "iir-official":
        return iir_official.from_tensors(path, held, picture)
    assert builder is not None, "who opens a file refuses weights without a program"
    foreign = modules.load(path, held, picture, builder)
    if file_format in FORMATS and foreign.framework != file_format:
        raise ModelError(
            "unsupported", f"{builder}: returns a network of {foreign.framework}, not {file_format}"
        )
    return foreign


def size_in(file_format: str, held: Any) -> tuple[int, int] | None:
    """Return (height, width) of the pictures if the file's `contents` say them."""
    return nir_graphs.input_size(held) if file_format == "nir" else None


def _starts_with(path: Path, signature: bytes) -> bool:
    """Opened by the door, too: a path can have become a pipe, and some files of /proc only seem
    regular; both would be waited for without end."""
    try:
        with door.open_file(path, torch_zip.LARGEST) as file:
            return file.read(len(signature)) == signature
    except (InputError, OSError) as error:
        raise ModelError("bad_checkpoint", f"{path}: {error}") from error
