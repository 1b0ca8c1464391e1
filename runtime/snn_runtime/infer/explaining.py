"""Why a picture got its label, as one PNG: spikes, firing rates, and the pixels that mattered."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from snn_runtime.answer import Answer
from snn_runtime.image import Limits, Pixels, Region, prepare, read_file
from snn_runtime.infer.new_files import NamedFile, NewFiles
from snn_runtime.infer.sheet import Explained, drawn
from snn_runtime.infer.sources import Source
from snn_runtime.infer.values import is_one
from snn_runtime.model import Model

ACROSS = 8
"""A covered square is this part of the picture's longer side."""
Numbers = npt.NDArray[np.float64]


class Explaining:
    """Writes a PNG for each picture into a folder, or that of the only picture into a file."""

    def __init__(self, path: Path, model: Model, limits: Limits, region: Region | None) -> None:
        """Make the folder.

        Raises:
            ResourceError: `unwritable`.
        """
        self._files = NamedFile(path) if is_one(path) else NewFiles(path, ".png")
        self._model = model
        self._limits, self._region = limits, region

    def __call__(self, source: Source, answer: Answer) -> str:
        """Return where the explanation is.

        Raises:
            InputError: the picture is gone.
            ResourceError: `unwritable`.
        """
        data = source.content(lambda name: read_file(name, self._limits))
        image = self._model.graph.image
        pixels, _ = prepare(
            data, image.height, image.width, image.fit, limits=self._limits, region=self._region
        )
        page = drawn(explained(self._model, pixels, source.name, answer))
        return f"{source.name} explained in {self._files.write(source.name, page)}"


def explained(model: Model, pixels: Pixels, name: str, answer: Answer) -> Explained:
    """Return all that is drawn of one picture."""
    square = max(1, round(max(pixels.shape[:2]) / ACROSS))
    spikes = model.backend.spikes(pixels[np.newaxis])
    return Explained(
        name=name,
        pixels=pixels,
        answer=answer,
        spikes={population: sent[0] for population, sent in spikes.items()},
        usual=_usual(model),
        square=square,
        leaned_on=occlusion(model, pixels, answer.predictions[0].index, square),
    )


def occlusion(model: Model, pixels: Pixels, winner: int, square: int) -> Numbers:
    """Return how much a class loses where a pixel is covered, `[H, W]`, in log-odds.

    A square in the mean colour, which is zero to the network, is moved over the picture by half its
    side (Zeiler and Fergus, 2014, https://arxiv.org/abs/1311.2901). A pixel's number is the mean of

        ln p / (1 − p) of the picture  −  ln p / (1 − p) of the picture with the square

    over all squares that cover it.
    """
    height, width = pixels.shape[:2]
    step = max(1, square // 2)
    places = [
        (top, left)
        for top in range(step - square, height, step)
        for left in range(step - square, width, step)
    ]
    grey = np.rint(np.array(model.graph.image.offset)).astype(np.uint8)
    total, covered = np.zeros((height, width)), np.zeros((height, width))
    whole = _log_odds(model, pixels[np.newaxis], winner)[0]
    batch = max(1, 2**22 // pixels.size)
    for start in range(0, len(places), batch):
        windows = [_window(place, square) for place in places[start : start + batch]]
        images = np.repeat(pixels[np.newaxis], len(windows), 0)
        for image, window in zip(images, windows, strict=True):
            image[window] = grey
        for odds, window in zip(_log_odds(model, images, winner), windows, strict=True):
            total[window] += whole - odds
            covered[window] += 1
    return np.asarray(total / covered)


def _window(place: tuple[int, int], square: int) -> tuple[slice, slice]:
    top, left = place
    return slice(max(0, top), top + square), slice(max(0, left), left + square)


def _log_odds(model: Model, images: npt.NDArray[np.uint8], winner: int) -> Numbers:
    """`ln p / (1 − p)` of a class, `[N]`."""
    z = model.logits(images).astype(np.float64)
    if z.shape[1] == 1:
        return z[:, 0]
    others = np.delete(z, winner, 1)
    most = others.max(1)
    return np.asarray(z[:, winner] - most - np.log(np.exp(others - most[:, np.newaxis]).sum(1)))


def _usual(model: Model) -> dict[str, float]:
    """Firing rates that export measured on test pictures."""
    rates = json.loads(model.graph.provenance).get("spike_rates")
    if not isinstance(rates, dict):
        return {}
    return {name: rate for name, rate in rates.items() if isinstance(rate, int | float)}
