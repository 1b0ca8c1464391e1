"""Layers that the event engine walks by input pixel, plain and around a residual block."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from growing import Growing

from snn_runtime.graph import INPUT, Projection, SpikingGraph

SHORTCUTS = {"lowest": -127, "highest": 127, "one": 1}


def rolling(
    side: int,
    inputs: int,
    out: int,
    kernel: int,
    padding: tuple[int, int],
    kind: str,
    firing: str,
    *,
    levels: int = 1,
) -> SpikingGraph:
    """A population that fires as asked, and one above it that rolls."""
    grown = Growing(side, side + 1)
    grown.convolve("on", INPUT, inputs, firing=firing, levels=levels)
    if kind in ("lowest", "highest"):
        value = -8 if kind == "lowest" else 7
        weight = np.full((out, inputs, kernel, 3), value, np.int8)
    else:
        weight = grown.weight(kind, 127, out, inputs, kernel, 3)
    grown.add("rolls", Projection("on", weight, padding=padding), levels=levels)
    return grown.graph("rolls")


def residual(
    side: int,
    channels: int,
    kind: str,
    firing: str,
    shortcut: str,
    *,
    image: bool = False,
    levels: int = 1,
) -> SpikingGraph:
    """Two layers whose second also sees the source of the first, neuron by neuron."""
    grown = Growing(side, side + 1)
    source = grown.convolve("on", INPUT, channels, firing=firing)
    inner = grown.convolve(
        "inner", source, channels, (3, 3), kind=kind, padding=(1, 1), levels=levels
    )
    if shortcut == "random":
        weight = grown.weight("random", 127, channels, 1, 1, 1)
    else:
        weight = np.full((channels, 1, 1, 1), SHORTCUTS[shortcut], np.int8)
    projections = [
        Projection(source, weight, groups=channels),
        Projection(inner, grown.weight(kind, 127, channels, channels, 3, 3), padding=(1, 1)),
    ]
    if image:
        projections.append(Projection(INPUT, grown.weight("random", 9, channels, 3, 1, 1)))
    joined = grown.add("joined", *projections, positions=image, levels=levels)
    if levels > 1:  # a shortcut from neurons of several levels, whose events are listed
        again = Projection(inner, grown.weight(kind, 127, channels, channels, 3, 3), padding=(1, 1))
        joined = grown.add("again", replace(projections[0], source=joined), again)
    return grown.graph(joined)


ROLLING: dict[str, Callable[[], SpikingGraph]] = {
    "rolls_half_bytes": lambda: rolling(16, 40, 128, 3, (1, 1), "half_bytes", "dense"),
    "rolls_ends": lambda: rolling(9, 33, 130, 3, (2, 0), "half_byte_ends", "all"),
    "rolls_lowest": lambda: rolling(8, 19, 64, 2, (1, 2), "lowest", "all"),
    "rolls_highest": lambda: rolling(8, 18, 65, 5, (4, 1), "highest", "mixed"),
    "rolls_tall": lambda: rolling(8, 18, 65, 17, (12, 1), "half_bytes", "mixed"),
    "rolls_bytes": lambda: rolling(32, 29, 64, 3, (1, 1), "signed", "all"),
    "rolls_a_shortcut": lambda: residual(8, 65, "half_bytes", "dense", "lowest"),
    "rolls_levels": lambda: rolling(8, 18, 65, 3, (1, 1), "half_bytes", "mixed", levels=2),
    "scatters_pairs": lambda: rolling(16, 70, 128, 3, (1, 1), "half_byte_ends", "all", levels=3),
    "rolls_bytes_of_levels": lambda: rolling(32, 9, 64, 3, (1, 1), "signed", "all", levels=2),
    "rolls_a_shortcut_of_levels": lambda: residual(
        8, 65, "half_bytes", "dense", "lowest", levels=2
    ),
    "gathers_a_shortcut_of_levels": lambda: residual(4, 65, "extreme", "dense", "random", levels=3),
    "gathers_a_shortcut": lambda: residual(4, 65, "extreme", "dense", "random"),
}
"""For the sanitizers and the emulators, small."""
