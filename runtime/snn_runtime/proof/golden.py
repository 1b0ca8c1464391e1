"""Fixed pictures and the hash of the spikes they cause: how an engine proves itself anywhere.

The pictures come from SHAKE-256, whose output is standardised, and not from a random generator
whose stream may change with a library. Blocks of several sizes, because single-pixel noise averages
out in the first layers and leaves the deep ones silent.

Whoever loads a model has its engine prove itself where that `is_cheap`, that is, costs about what
loading costs. A GPU, on which loading takes seconds, always does.
"""

import hashlib
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from snn_runtime.graph import Image, SpikingGraph
from snn_runtime.graph.soundness import work_of

BLOCKS = (1, 4, 8, 16)
"""Pixels a side of the uniformly coloured squares in the golden images."""
DRAWS = 2
"""Images for each size of block."""
CHEAP = 6 * 10**9
"""Multiply-adds on all golden images, as `soundness.work_of` counts them."""
PER_NEURON = 64
"""Multiply-adds that take as long as showing, packing and hashing one neuron's spike."""
PER_FLOAT = 100
"""Times that the interpreter, which judges networks of float32 weights, is slower than engines."""


def golden_images(image: Image) -> npt.NDArray[np.uint8]:
    """Return the fixed inputs, uint8 `[8, height, width, 3]`."""
    return np.stack([_blocks(image, block, draw) for block in BLOCKS for draw in range(DRAWS)])


def is_cheap(graph: SpikingGraph) -> bool:
    """Whether an engine on the CPU is to prove itself whenever `graph` is loaded."""
    sent = {node.name: node.largest(graph.bounds[node.name]) for node in graph.nodes}
    work = graph.readout.weight.size * sent[graph.readout.source]
    for node in graph.nodes:
        shape = graph.shapes[node.name]
        work += work_of(node, shape, sent) + PER_NEURON * math.prod(shape) * node.fires
    return len(BLOCKS) * DRAWS * work * (1 if graph.exact else PER_FLOAT) <= CHEAP


def golden_hash(spikes: Mapping[str, npt.NDArray[np.uint8] | npt.NDArray[np.bool_]]) -> str:
    """SHA-256 over the populations in graph order: name, shape, one bit per neuron and image.

    Where a neuron sends more than one spike, the most that any does is named, and there is a bit
    for each: whether that many were sent.
    """
    state = hashlib.sha256()
    for name, sent in spikes.items():
        most = int(sent.max(initial=0))
        several = f" of {most}" if most > 1 else ""
        state.update(f"{name} {'x'.join(map(str, sent.shape))}{several}\n".encode())
        for number in range(1, max(1, most) + 1):
            state.update(np.packbits(sent >= number).tobytes())
    return state.hexdigest()


def _blocks(image: Image, block: int, draw: int) -> npt.NDArray[np.uint8]:
    rows, columns = -(-image.height // block), -(-image.width // block)
    stream = hashlib.shake_256(f"iir-snn golden image {block} {draw}".encode())
    colours = np.frombuffer(stream.digest(rows * columns * 3), np.uint8).reshape(rows, columns, 3)
    return colours.repeat(block, axis=0).repeat(block, axis=1)[: image.height, : image.width]
