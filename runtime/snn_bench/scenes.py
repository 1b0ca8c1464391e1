"""Input images from a folder of pictures."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from snn_runtime import image as pictures
from snn_runtime.errors import InputError
from snn_runtime.graph import Image
from snn_runtime.infer.sources import at


def folder_scenes(image: Image, folder: Path, count: int) -> npt.NDArray[np.uint8]:
    """Return the first `count` pictures of a folder as the network takes them.

    Raises:
        InputError: `no_images`, or what is wrong with the first that cannot be used.
    """
    batch = []
    for source in at(str(folder)):
        if source.error is not None:
            raise InputError(source.error.code, f"{folder}: {source.error.message}")
        if source.skipped:
            continue
        batch.append(pictures.prepare(source.name, image.height, image.width, image.fit)[0])
        if len(batch) == count:
            break
    if not batch:
        raise InputError("no_images", f"{folder}: no supported images in this folder")
    return np.stack(batch)
