"""Input-stationary layers against the interpreter: maps large enough to roll, limits that bite."""

import numpy as np
import pytest
from graphs import pictures
from growing import Growing
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_runtime.engines.event.backend import EventBackend
from snn_runtime.engines.event.library import instruction_sets
from snn_runtime.graph import INPUT, Projection, SpikingGraph, reference

BEFORE = ("edge", "all", "none", "sparse", "dense", "mixed")
KINDS = ("half_bytes", "half_byte_ends", "lowest", "highest", "signed", "random", "extreme")


def assert_exact(graph: SpikingGraph, threads: tuple[int, ...] = (1, 2, 3)) -> None:
    images = pictures(graph.image, 4)
    expected = reference.run(graph, images)
    for name in instruction_sets():
        for count in threads:
            engine = EventBackend(graph, threads=count, instruction_set=name)
            spikes = engine.spikes(images)
            for population, bits in expected.spikes.items():
                message = f"{population}, {engine.details}"
                np.testing.assert_array_equal(spikes[population], bits, message)
            np.testing.assert_array_equal(engine.run(images), expected.logits, engine.details)


def rolling(
    side: int, inputs: int, out: int, kernel: int, padding: tuple[int, int], kind: str, firing: str
) -> SpikingGraph:
    """A population that fires as asked, and one above it that rolls."""
    grown = Growing(side, side + 1)
    grown.convolve("on", INPUT, inputs, firing=firing)
    if kind in ("lowest", "highest"):
        value = -8 if kind == "lowest" else 7
        weight = np.full((out, inputs, kernel, 3), value, np.int8)
    else:
        weight = grown.weight(kind, 127, out, inputs, kernel, 3)
    grown.add("rolls", Projection("on", weight, padding=padding))
    return grown.graph("rolls")


@settings(max_examples=40)
@given(st.data())
def test_random_layers(data: st.DataObject) -> None:
    draw = data.draw
    kind, kernel = draw(st.sampled_from(KINDS)), draw(st.sampled_from([3, 1, 2, 5]))
    side = draw(
        st.integers(32, 34) if kind in ("signed", "random", "extreme") else st.integers(7, 12)
    )
    most = 16 if side > 30 else 100
    inputs, out = draw(st.integers(1, most)), draw(st.sampled_from([64, 65, 128, 130, 200]))
    padding = (draw(st.integers(0, kernel - 1)), draw(st.integers(0, 2)))
    assert_exact(rolling(side, inputs, out, kernel, padding, kind, draw(st.sampled_from(BEFORE))))


@pytest.mark.parametrize("inputs", [5, 6, 7, 15, 16, 17, 18, 19, 31, 32, 33, 64, 129])
@pytest.mark.parametrize("kind", ["lowest", "highest", "half_byte_ends"])
def test_sums_of_bytes_at_their_limit(inputs: int, kind: str) -> None:
    """Every neuron fires and every weight is the lowest or the highest: 15 or 18 of them fit a
    byte, so that a limit one too high is wrong everywhere."""
    assert_exact(rolling(8, inputs, 64, 3, (1, 1), kind, "all"), threads=(1,))


@pytest.mark.parametrize("inputs", [28, 29, 30, 86, 87])
@pytest.mark.parametrize("firing", ["all", "mixed"])
def test_sums_that_leave_16_bits(inputs: int, firing: str) -> None:
    """9 · 28 · 127 fits 16 bits, 9 · 29 · 127 does not."""
    assert_exact(rolling(32, inputs, 64, 3, (1, 1), "signed", firing), threads=(1, 2))


def test_one_event_more_than_16_bits_hold() -> None:
    """260 · 126 fits 16 bits, and 9 · 29 events are one more."""
    grown = Growing(32, 32)
    grown.convolve("on", INPUT, 29, firing="all")
    grown.convolve("rolls", "on", 64, (3, 3), kind="signed", limit=126, padding=(1, 1))
    assert_exact(grown.graph("rolls"), threads=(1,))


@pytest.mark.parametrize("window", [2, 3])
def test_counts(window: int) -> None:
    """A neuron that sends n is n events, and n times in the limits."""
    grown = Growing(8 * window, 8 * window)
    grown.convolve("on", INPUT, 40, firing="dense")
    pooled = grown.pool("on", "sum", window)
    for kind in ("half_bytes", "half_byte_ends"):
        grown.convolve(kind, pooled, 64, (3, 3), kind=kind, padding=(1, 1))
    assert_exact(grown.graph("half_bytes"))


def test_several_layers_and_pools() -> None:
    grown = Growing(32, 32)
    source = grown.convolve("c0", INPUT, 64, (3, 3), padding=(1, 1), firing="mixed")
    for i, out in enumerate((64, 128, 65)):
        source = grown.convolve(
            f"c{i + 1}", source, out, (3, 3), padding=(1, 1), kind="half_bytes", firing="sparse"
        )
        source = grown.pool(source, "max", 2) if i < 2 else source
    assert_exact(grown.graph(source))
