"""Cases for the driver in tests/runtime/engines/event, see event_programs."""

import ctypes
from pathlib import Path

from corner_graphs import CORNERS
from graphs import example, example_of_levels, pictures, spiking_graphs
from hypothesis import Phase, given, settings
from hypothesis.strategies import SearchStrategy
from rolling_graphs import ROLLING
from wide_graphs import wide_graphs

from snn_runtime.engines.event.lowering import lower
from snn_runtime.graph import SpikingGraph, reference
from snn_runtime.graph.reference import channel_counts

SLOW = {"sums_far_beyond_16_bits", "sums_of_more_than_two_bytes", "a_large_picture"}
"""Corners that take minutes in a sanitizer or an emulator."""


def write_case(path: Path, graph: SpikingGraph, count: int) -> Path:
    """Write a graph, images and the interpreter's answer as event_case.h reads them."""
    images = pictures(graph.image, count)
    activity = reference.run(graph, images)
    lowered = lower(graph)
    spikes = [bits.tobytes() for bits in activity.spikes.values()]
    neurons = sum(bits[0].size for bits in activity.spikes.values())
    channels = sum(graph.channels.values())
    struct = type(lowered.struct).from_buffer_copy(lowered.struct)
    for pointer in ("node", "projection", "weights", "thresholds", "scale", "bias"):
        setattr(struct, pointer, None)
    parts = [
        bytes(struct),
        bytes((ctypes.c_int64 * 3)(count, neurons, channels)),
        bytes(lowered.nodes),
        bytes(lowered.projections),
        *(a.tobytes() for a in (lowered.weights, lowered.thresholds, lowered.scale, lowered.bias)),
        images.tobytes(),
        activity.logits.tobytes(),
        *spikes,
        channel_counts(activity.spikes).tobytes(),
    ]
    path.write_bytes(b"".join(parts))
    return path


def drawn(strategy: SearchStrategy[SpikingGraph], count: int) -> list[SpikingGraph]:
    """The first graphs of a strategy, the same at every call."""
    graphs: list[SpikingGraph] = []

    @given(strategy)
    @settings(max_examples=count, phases=[Phase.generate])
    def collect(graph: SpikingGraph) -> None:
        graphs.append(graph)

    collect()
    return graphs


def write_cases(folder: Path, wide: int = 12, small: int = 12) -> list[Path]:
    """Small cases first."""
    graphs = {"example": example(), "levels": example_of_levels()}
    graphs |= {f"small{i}": graph for i, graph in enumerate(drawn(spiking_graphs(), small))}
    graphs |= {f"wide{i}": graph for i, graph in enumerate(drawn(wide_graphs(), wide))}
    graphs |= {name: make() for name, make in ROLLING.items()}
    graphs |= {name: make() for name, make in CORNERS.items() if name not in SLOW}
    return [write_case(folder / f"{name}.case", graph, 3) for name, graph in graphs.items()]
