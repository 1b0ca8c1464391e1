"""Input-stationary layers against the interpreter: maps large enough to roll, limits that bite."""

import numpy as np
import pytest
from graphs import pictures
from growing import Growing
from hypothesis import given, settings
from hypothesis import strategies as st
from rolling_graphs import SHORTCUTS, residual, rolling

from snn_runtime.engines.event.backend import EventBackend
from snn_runtime.engines.event.library import instruction_sets
from snn_runtime.graph import INPUT, Population, Projection, SpikingGraph, reference

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


@settings(max_examples=40)
@given(st.data())
def test_random_layers(data: st.DataObject) -> None:
    draw = data.draw
    kind, kernel = draw(st.sampled_from(KINDS)), draw(st.sampled_from([3, 1, 2, 5]))
    side = draw(
        st.integers(32, 34)
        if kind in ("signed", "random", "extreme")
        else st.sampled_from([*range(7, 13), *range(16, 19)])
    )
    most = 16 if side > 30 else 100
    inputs, out = draw(st.integers(1, most)), draw(st.sampled_from([64, 65, 128, 130, 200]))
    padding = (draw(st.integers(0, kernel - 1)), draw(st.integers(0, 2)))
    assert_exact(rolling(side, inputs, out, kernel, padding, kind, draw(st.sampled_from(BEFORE))))


@pytest.mark.parametrize("padding", [8, 12, 16])
@pytest.mark.parametrize("kind", ["half_bytes", "random"])
def test_kernels_taller_than_the_map(padding: int, kind: str) -> None:
    """Its sums have a slot for each row of the map, or of a thread's part of it."""
    assert_exact(rolling(8, 20, 64, 17, (padding, 1), kind, "mixed"))
    assert_exact(rolling(17, 20, 128, 18, (padding, 1), kind, "all"))


@pytest.mark.parametrize("inputs", [5, 6, 7, 15, 16, 17, 18, 19, 31, 32, 33, 64, 129])
@pytest.mark.parametrize("kind", ["lowest", "highest", "half_byte_ends"])
def test_sums_of_bytes_at_their_limit(inputs: int, kind: str) -> None:
    """Every neuron fires and every weight is the lowest or the highest: 15 or 18 of them fit a
    byte, so that a limit one too high is wrong everywhere. One thread scatters the whole map,
    two roll a part of it each."""
    for side in (8, 16):  # from which maps roll on AVX2, and on AVX-512
        assert_exact(rolling(side, inputs, 128, 3, (1, 1), kind, "all"), threads=(1, 2))


@pytest.mark.parametrize("levels", [2, 3, 4])
@pytest.mark.parametrize("inputs", [3, 7, 8, 15, 16, 65])
@pytest.mark.parametrize("kind", ["lowest", "highest", "half_byte_ends"])
def test_pairs_of_spikes_at_the_limit_of_a_byte(inputs: int, kind: str, levels: int) -> None:
    """Rows of neurons that fire twice are added once and doubled, as many as fit a byte then."""
    for side in (8, 16):
        graph = rolling(side, inputs, 128, 3, (1, 1), kind, "all", levels=levels)
        assert_exact(graph, threads=(1, 2))


@settings(max_examples=25)
@given(st.data())
def test_random_spikes_of_several_levels(data: st.DataObject) -> None:
    """Some pixels' spikes are listed in pairs and others' are not; 520 channels are nine words."""
    draw = data.draw
    inputs, side = draw(st.sampled_from([20, 64, 130, 520])), draw(st.sampled_from([8, 12, 16]))
    levels, firing = draw(st.integers(2, 5)), draw(st.sampled_from(["dense", "mixed", "sparse"]))
    kind = draw(st.sampled_from(["half_bytes", "half_byte_ends"]))
    graph = rolling(side, inputs, 128, 3, (1, 1), kind, firing, levels=levels)
    assert_exact(graph, threads=(1, 2))


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


@settings(max_examples=15)
@given(st.data())
def test_random_shortcuts(data: st.DataObject) -> None:
    """Weights of 8 bits beside rows of 4; maps that roll and maps that do not."""
    draw = data.draw
    side, channels = draw(st.sampled_from([2, 4, 8, 9])), draw(st.sampled_from([3, 64, 65]))
    kind = draw(st.sampled_from(KINDS[:2] + KINDS[4:]))
    shortcut = draw(st.sampled_from(["random", *SHORTCUTS]))
    firing, image = draw(st.sampled_from(BEFORE)), draw(st.booleans())
    assert_exact(residual(side, channels, kind, firing, shortcut, image=image), threads=(1, 3))


@pytest.mark.parametrize("kind", ["half_byte_ends", "signed"])
def test_a_shortcut_beside_sums_that_leave_16_bits(kind: str) -> None:
    assert_exact(residual(32, 64, kind, "all", "lowest"), threads=(1, 2))


@pytest.mark.parametrize("theta", [-32768.5, -32767.5, 32766.5, 32767.5, 2**23 - 0.5])
def test_thresholds_that_a_shortcut_takes_out_of_16_bits(theta: float) -> None:
    grown = Growing(8, 8)
    source = grown.convolve("on", INPUT, 64, firing="dense")
    grown.convolve("inner", source, 64, (3, 3), kind="half_bytes", padding=(1, 1))
    weight = np.full((64, 1, 1, 1), -127, np.int8)
    weight[::2] = 127
    rows = grown.weight("half_bytes", 8, 64, 64, 3, 3)
    projections = (Projection("inner", rows, padding=(1, 1)), Projection(source, weight, groups=64))
    grown.append(Population("joined", projections, np.full(64, theta, np.float32)))
    assert_exact(grown.graph("joined"), threads=(1,))


def test_shortcuts_that_are_no_masks() -> None:
    """Of counts, of a source seen twice, of two sources: what is no plain shortcut is gathered."""
    grown = Growing(16, 16)
    source = grown.convolve("on", INPUT, 64, firing="dense")
    small, most = grown.pool(source, "sum", 2), grown.pool(source, "max", 2)
    depthwise = [grown.weight("extreme", 127, 64, 1, 1, 1) for _ in range(4)]
    one, two, three, four = (
        Projection(name, weight, groups=64)
        for name, weight in zip((small, most, most, small), depthwise, strict=True)
    )
    rows = grown.weight("half_bytes", 8, 64, 64, 3, 3)
    grown.add("a", one, Projection(most, rows, padding=(1, 1)))
    grown.add("b", two, three)
    grown.add("c", two, four, three, Projection("b", rows, padding=(1, 1)))
    grown.add("d", Projection("c", depthwise[0], groups=64))
    assert_exact(grown.graph("d"))
