"""Fixed pictures and the hash of the spikes they cause: how an engine proves itself anywhere.

The pictures come from SHAKE-256, whose output is standardised, and not from a random generator
whose stream may change with a library. Blocks of several sizes, because single-pixel noise averages
out in the first layers and leaves the deep ones silent.
"""

import hashlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from snn_runtime.nodes import Image

BLOCKS = (1, 4, 8, 16)
"""Pixels a side of the uniformly coloured squares in the golden images."""
DRAWS = 2
"""Images for each size of block."""


def golden_images(image: Image) -> npt.NDArray[np.uint8]:
    """Return the fixed inputs, uint8 `[8, height, width, 3]`."""
    return np.stack([_blocks(image, block, draw) for block in BLOCKS for draw in range(DRAWS)])


def golden_hash(spikes: Mapping[str, npt.NDArray[np.uint8] | npt.NDArray[np.bool_]]) -> str:
    """SHA-256 over the populations in graph order: name, shape, one bit per neuron and image."""
    state = hashlib.sha256()
    for name, bits in spikes.items():
        state.update(f"{name} {'x'.join(map(str, bits.shape))}\n".encode())
        state.update(np.packbits(bits != 0).tobytes())
    return state.hexdigest()


def _blocks(image: Image, block: int, draw: int) -> npt.NDArray[np.uint8]:
    rows, columns = -(-image.height // block), -(-image.width // block)
    stream = hashlib.shake_256(f"iir-snn golden image {block} {draw}".encode())
    colours = np.frombuffer(stream.digest(rows * columns * 3), np.uint8).reshape(rows, columns, 3)
    return colours.repeat(block, axis=0).repeat(block, axis=1)[: image.height, : image.width]
