"""Networks of other frameworks: a torch module, or a file and what it leaves out."""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from torch import nn

from snn_export import importers
from snn_export.formats import FORMATS, WITHOUT_PROGRAM, Format
from snn_export.importers import Foreign, Picture
from snn_export.labels import names_of, shown
from snn_runtime import door
from snn_runtime.errors import InputError, ModelError, UsageError
from snn_runtime.image import Fit
from snn_train.torch_zip import LARGEST


@dataclass(frozen=True)
class NetworkFile:
    """A file that holds a network, read and not yet interpreted."""

    path: Path
    format: str | None
    """One of `FORMATS`, or weights of a program that is still to tell; None: of train-snn."""
    content: Any = None
    program: str | None = None
    """`FILE.py:FUNCTION`, which builds the module that weights fit; there wherever it is needed."""

    def image_size(
        self, given: tuple[int, int] | None, what: str = "image_size"
    ) -> tuple[int, int] | None:
        """Return (height, width) of the images: what is `given`, or else what the file says.

        Args:
            what: how a message calls what is given.

        Raises:
            UsageError: `bad_value`: the two differ.
        """
        own = importers.size_in(self.format, self.content) if self.format else None
        if given and own and given != own:
            raise UsageError(
                "bad_value",
                f"{what} is {given[0]}x{given[1]}, but {self.path} says {own[0]}x{own[1]}; leave "
                "it out",
            )
        return given or own

    def network(self, picture: Picture, timestep: float | None) -> Foreign:
        """Return the network that is in the file, which is of one of `FORMATS`.

        Raises:
            UsageError: The program is wrong.
            ModelError: the network is refused.
        """
        assert self.format is not None, "export takes a checkpoint of train-snn itself"
        found = importers.load(
            self.format, self.path, self.content, picture, self.program, timestep
        )
        code = Path((self.program or "").rpartition(":")[0])
        return replace(found, files=(self.path, *([code] if code.is_file() else [])))


def open_file(path: Path, framework: str | None = None, program: str | None = None) -> NetworkFile:
    """Read a file of `framework`, as named in `FORMATS`; None tells it by its content.

    Args:
        program: `FILE.py:FUNCTION`, which builds the module that a file of weights fits.

    Raises:
        ModelError: it is missing, damaged, or nobody's that is known.
        UsageError: it holds weights, and there is no `program`.
    """
    try:
        door.size(path, LARGEST)  # before anybody looks into it, whatever it is said to be
    except InputError as error:
        raise ModelError("bad_checkpoint", f"{path}: {error.message}") from error
    found = framework or importers.detect(path, program)
    if found is None:
        return NetworkFile(path, None)
    content = importers.contents(found, path)
    if program is None and found not in WITHOUT_PROGRAM:
        raise UsageError(
            "bad_flag",
            f"{path}: holds weights of {found} and no program; add --module FILE.py:FUNCTION, your "
            "function that builds the network",
        )
    return NetworkFile(path, found, content, program)


def import_network(
    source: nn.Module | str | Path,
    *,
    labels: Sequence[str],
    mean: float | Sequence[float],
    std: float | Sequence[float],
    image_size: tuple[int, int] | None = None,
    fit: Fit = "crop",
    framework: Format | None = None,
    program: str | None = None,
    timestep: float | None = None,
) -> Foreign:
    """Return a network of another framework, ready for `export`.

    A module is copied, and stays as it was: its mode, its device, and whether it learns.

    Args:
        source: A module of snnTorch or SpikingJelly, which is judged in eval mode; or a file: a NIR
            graph, a checkpoint of the IIR-SNN authors, or weights of `program`.
        labels: Names of the classes, in the order of the outputs.
        mean, std: Of the pixels that it was trained on, one number or three: from 0 to 1, or
            from 0 to 255 where one is above 1. Without normalisation 0 and 1.
        image_size: (height, width) of its images; None where a NIR file says it.
        fit: How pictures of another shape are made to fit.
        framework: Whose file it is; None tells it by its content.
        program: `FILE.py:FUNCTION`, your code, which is run and returns the module that the
            weights fit.
        timestep: Seconds of a NIR graph's one step; None is 1e-4.

    Raises:
        UsageError: An argument is missing or out of place.
        ModelError: The network is refused; the message names the layer or the operation.
    """
    if not isinstance(source, nn.Module | str | Path):
        raise UsageError("bad_value", f"source is {shown(source)}, expected a module or a path")
    names, means, deviations = names_of(labels), _numbers("mean", mean), _numbers("std", std)
    image_size = None if image_size is None else _sides(image_size)
    for word, given, known in (("fit", fit, get_args(Fit)), ("framework", framework, FORMATS)):
        if given is not None and given not in known:
            raise UsageError("bad_value", f"{word} is {given!r:.60}, expected {' or '.join(known)}")
    if timestep is not None:
        timestep = _seconds(timestep)
    if isinstance(source, nn.Module):
        for name, value in (("framework", framework), ("program", program), ("timestep", timestep)):
            if value is not None:
                raise UsageError("bad_value", f"{name} is for files, and a module is given")
        size = _needed(image_size, type(source).__name__)
        return importers.from_module(source, Picture.of(names, size, means, deviations, fit))
    file = open_file(Path(source), framework, program)
    _check_effect(file, timestep)
    size = _needed(file.image_size(image_size), str(source))
    picture = Picture.of(names, size, means, deviations, fit)
    return file.network(picture, timestep)


def _check_effect(file: NetworkFile, timestep: float | None) -> None:
    """Raises: UsageError: `bad_value`: the file, or an argument, is for something else."""
    if file.format is None:
        raise UsageError(
            "bad_value", f"{file.path}: is a checkpoint of train-snn, which export takes itself"
        )
    if file.program is not None and file.format in WITHOUT_PROGRAM:
        raise UsageError(
            "bad_value",
            f"program is for weights of snntorch and spikingjelly, and {file.path} is of "
            f"{file.format}",
        )
    if timestep is not None and file.format != "nir":
        raise UsageError(
            "bad_value", f"timestep is for NIR graphs, and {file.path} is of {file.format}"
        )


def _numbers(name: str, given: Any) -> tuple[float, ...]:
    """Of Python, numpy or torch, one or several."""
    try:
        each = tuple(given)
    except TypeError:  # one number
        each = (given,)
    try:
        if any(isinstance(number, (str, bytes)) for number in each):
            raise TypeError("text is no number")
        return tuple(float(number) for number in each)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise UsageError(
            "bad_value", f"{name} is {shown(given)}, expected one number or three"
        ) from error


def _sides(given: Any) -> tuple[int, int]:
    try:
        height, width = (operator.index(side) for side in given)
    except (TypeError, ValueError) as error:
        raise UsageError(
            "bad_value", f"image_size is {shown(given)}, expected two whole numbers, height, width"
        ) from error
    return height, width


def _seconds(given: Any) -> float:
    try:
        seconds = math.nan if isinstance(given, str) else float(given)
    except (TypeError, ValueError, RuntimeError):
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise UsageError(
            "bad_value", f"timestep is {shown(given)}, expected a number of seconds above 0"
        )
    return seconds


def _needed(size: tuple[int, int] | None, whose: str) -> tuple[int, int]:
    if size is None:
        raise UsageError("bad_value", f"{whose} does not say its image size: give image_size")
    return size
