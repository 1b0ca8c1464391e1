"""Files that are raced: `snn-bench --against FILE …`, spiking networks or dense ones."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_bench.results import Network
from snn_bench.twin import SPREAD
from snn_bench.workloads import pictures
from snn_runtime.graph import FloatArray, Image, SpikingGraph
from snn_runtime.model_file import read
from snn_runtime.model_file.dense import DenseFile, read_dense

GREY = 128.0
"""Mean of the pixels, for a dense file that does not say what it was trained on."""


@dataclass(frozen=True, eq=False)
class Opponent:
    """One file, and what it is given."""

    network: Network
    path: Path
    inputs: npt.NDArray[Any]
    """uint8 `[N, H, W, 3]` for a spiking network, float32 `[N, 3, H, W]` for a dense one."""


def read_opponent(path: Path, images: Path | None) -> Opponent:
    """Return the file at `path`, with the pictures of a folder or random scenes.

    Raises:
        ModelError: It is neither a spiking network nor a dense one with one picture as its input.
        InputError: The folder has no picture, or one that cannot be used.
    """
    dense = read_dense(path)
    if dense is None:
        graph = read(path)
        return Opponent(spiking(str(path), graph), path, pictures(graph.image, images))
    network = Network(str(path), "dnn", None, None, None)
    if (known := dense.measured) is not None:
        network = Network(str(path), "dnn", known.accuracy, known.test_images, known.multiply_adds)
    return Opponent(network, path, _dense_inputs(dense, images))


def spiking(name: str, graph: SpikingGraph) -> Network:
    """What is known of a spiking network: its accuracy, if it was exported with `--data`."""
    facts = json.loads(graph.provenance)
    accuracy, images = facts.get("accuracy"), facts.get("test_images")
    if not isinstance(accuracy, float | int) or not isinstance(images, int):
        accuracy = images = None
    return Network(name, "snn", accuracy, images, None)


def _dense_inputs(file: DenseFile, folder: Path | None) -> FloatArray:
    """The pixels less the offset over the deviation, of the pictures."""
    known = file.measured
    fit = known.fit if known else "crop"
    offset = known.offset if known else (GREY,) * 3
    deviation = known.deviation if known else (SPREAD,) * 3
    scenes = pictures(Image(file.height, file.width, (0, 0, 0), fit), folder).astype(np.float32)
    scenes -= np.array(offset, np.float32)
    scenes /= np.array(deviation, np.float32)
    return np.ascontiguousarray(scenes.transpose(0, 3, 1, 2))
