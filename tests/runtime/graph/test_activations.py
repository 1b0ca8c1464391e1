"""What values cost: bounded when a graph is read, shared and freed while one runs, and told."""

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import pictures, spiking_graphs
from hypothesis import given, settings

from snn_runtime.command import run_command
from snn_runtime.engines.event.backend import EventBackend
from snn_runtime.engines.onnxruntime import backend as ort
from snn_runtime.errors import ModelError
from snn_runtime.graph import (
    INPUT,
    Image,
    Node,
    Pool,
    Population,
    Projection,
    Readout,
    SpikingGraph,
    activations,
    reference,
)
from snn_runtime.graph.activations import (
    MAX_KEPT,
    MAX_UNFOLDED,
    kept,
    last_reads,
    padded,
    peak,
    unfolded,
)
from snn_runtime.graph.values import MAX_EVENTS
from snn_runtime.infer.cli import parse_args, run
from snn_runtime.model_file import to_bytes


def population(name: str, source: str, channels: int, inputs: int, stride: int = 1) -> Population:
    """1×1 weights of zero: every neuron fires always."""
    weight = np.zeros((channels, inputs, 1, 1), np.int8)
    threshold = np.full(channels, -0.5, np.float32)
    return Population(name, (Projection(source, weight, (stride, stride)),), threshold)


def graph_of(side: int, *nodes: Node, values: int = 1, width: int = 0) -> SpikingGraph:
    """A graph whose last node sends `values` numbers, which are read out."""
    readout = Readout(
        nodes[-1].name,
        np.ones((2, values), np.int8),
        np.ones(2, np.float32),
        np.zeros(2, np.float32),
    )
    return SpikingGraph(Image(side, width or side, (0, 0, 0)), nodes, readout, ("a", "b"))


def chain(depth: int, side: int, channels: int = 1) -> SpikingGraph:
    nodes: list[Node] = [population("p0", INPUT, channels, 3)]
    nodes += [population(f"p{i}", f"p{i - 1}", channels, channels) for i in range(1, depth)]
    end = Pool("end", nodes[-1].name, "max", side)
    return graph_of(side, *nodes, end, values=channels)


def fan(width: int, side: int) -> SpikingGraph:
    """All values of `width` nodes are read by one node behind them."""
    nodes: list[Node] = [population(f"p{i}", INPUT, 1, 3) for i in range(width)]
    zeros = np.zeros((1, 1, 1, 1), np.int8)
    every = tuple(Projection(node.name, zeros) for node in nodes)
    last = Population("last", every, np.full(1, 0.5, np.float32))
    return graph_of(side, *nodes, last, Pool("end", "last", "max", side))


def windows(
    name: str, source: str, kernel: tuple[int, int], padding: tuple[int, int], **more: Any
) -> Population:
    """Windows of weights of zero on three colours or one channel: every neuron fires always."""
    channels = more.pop("channels", 1)
    weight = np.zeros((channels, 3 if source == INPUT else 1, *kernel), np.int8)
    projection = Projection(source, weight, padding=padding, **more)
    return Population(name, (projection,), np.full(channels, -0.5, np.float32))


def margins(size: int, stride: int = 1) -> SpikingGraph:
    """A tall window and a wide one, that reach as far beyond the image as they can. The map of
    neither is large; the image in the margins of both is."""
    tall = windows("tall", INPUT, (size, 1), (size - 1, 0), stride=(stride, 1))
    wide = windows("wide", INPUT, (1, size), (0, size - 1), stride=(1, stride))
    columns = (8 + size - 2) // stride + 1
    return graph_of(8, tall, wide, Pool("end", "wide", "max", 8), values=columns // 8)


def tall(padding: int, width: int) -> SpikingGraph:
    """Windows of three columns, far taller than the map that they move over."""
    on = population("on", INPUT, 1, 3)
    rolls = windows("rolls", "on", (2000, 3), (padding, 1), channels=128)
    rows = 8 + 2 * padding - 1999
    side = min(rows, width)
    values = 128 * (rows // side) * (width // side)
    return graph_of(8, on, rolls, Pool("end", "rolls", "max", side), values=values, width=width)


def in_groups(count: int) -> SpikingGraph:
    """Projections of 64 channels, each to its own, from numbers up to 2^18."""
    weight = np.zeros((64, 1, 1, 1), np.int8)
    every = (Projection("sums", weight, groups=64),) * count
    last = Population("last", every, np.full(64, -0.5, np.float32))
    on = population("on", INPUT, 64, 3)
    return graph_of(512, on, Pool("sums", "on", "sum", 512), last, values=64)


TOO_MUCH = {
    "an image in wide margins": lambda: margins(5000),
    "spikes of many groups": lambda: in_groups(40),
    "a deep chain of large maps": lambda: chain(24, 4000),
    "a wide fan of them": lambda: fan(24, 4000),
    "pools that count, of one map": lambda: graph_of(
        4096,
        population("p", INPUT, 1, 3),
        *(Pool(f"s{i}", "p", "sum", 4) for i in range(30)),
        Pool("end", "s0", "max", 1024),
    ),
    "maxima of what counts": lambda: graph_of(
        4096,
        population("p", INPUT, 1, 3),
        Pool("s", "p", "sum", 64),
        *(Pool(f"m{i}", "s" if not i else f"m{i - 1}", "max", 1) for i in range(40)),
        Pool("end", "m39", "max", 64),
    ),
}


@pytest.mark.parametrize("case", TOO_MUCH)
def test_what_takes_too_much_is_refused(case: str) -> None:
    with pytest.raises(ModelError, match=r"bytes of activations an image up to here, limit is"):
        TOO_MUCH[case]()


def test_spikes_that_reach_one_neuron_are_bounded() -> None:
    """Each neuron's are listed, by every thread."""
    wide = population("p", INPUT, 5, 3)
    with pytest.raises(ModelError, match=r"readout: 20,000,000 spikes can reach a neuron, limit"):
        graph_of(2000, wide, values=5 * 2000**2)
    dense = Projection("p", np.zeros((1, 5 * 2000**2), np.int8))
    last = Population("last", (dense,), np.full(1, 0.5, np.float32))
    with pytest.raises(ModelError, match="last: 20,000,000 spikes can reach a neuron, limit is 16"):
        graph_of(2000, wide, last)
    assert 5 * 2000**2 > MAX_EVENTS


def test_a_file_that_asks_for_gigabytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Few bytes, and every node within bounds: the sum of them is not."""
    with monkeypatch.context() as before:
        before.setattr(activations, "MAX_KEPT", 2**40)
        (tmp_path / "m.onnx").write_bytes(to_bytes(chain(24, 4000), golden="0" * 64))
    assert (tmp_path / "m.onnx").stat().st_size < 12_000
    picture = str(Path(__file__).parents[3] / "runtime" / "photos" / "cat.jpg")
    args = parse_args(["--model", str(tmp_path / "m.onnx"), picture])
    assert run_command("snn-infer", lambda: run(args)) == 5
    said = capsys.readouterr().err
    assert said == (
        f"snn-infer: error: {tmp_path}/m.onnx: p6: 2,180,224,024 bytes of activations an image up "
        f"to here, limit is {MAX_KEPT:,} [bad_graph]\n"
    )


def test_networks_of_use_stay_far_below() -> None:
    """VGG16's thirteen maps at 224 pixels."""
    maps = [(64, 224)] * 2 + [(128, 112)] * 2 + [(256, 56)] * 3 + [(512, 28)] * 3 + [(512, 14)] * 3
    total = sum(kept((channels, side, side), 1) for channels, side in maps)
    assert total * 32 < MAX_KEPT


@settings(max_examples=50)
@given(spiking_graphs())
def test_values_are_dead_when_nobody_reads_them_any_more(graph: SpikingGraph) -> None:
    names = [INPUT, *(node.name for node in graph.nodes)]
    dead: set[str] = set()
    most = 0
    size = {name: 4 * int(np.prod(shape)) for name, shape in graph.shapes.items()}
    for index, (node, gone) in enumerate(
        zip(graph.nodes, last_reads(graph.nodes, graph.readout), strict=True)
    ):
        made = set(names[: index + 2])
        most = max(most, sum(size[name] for name in made - dead))
        dead |= set(gone)
        later = {name for n in graph.nodes[index + 1 :] for name in n.sources}
        later.add(graph.readout.source)
        read = {name for n in graph.nodes for name in n.sources} | {node.name}
        assert dead == (made - later) & (read | set(names[1:]))
    assert peak(graph.nodes, graph.readout, graph.shapes) == most


@settings(max_examples=30)
@given(spiking_graphs())
def test_the_engine_needs_no_more_than_was_reckoned(graph: SpikingGraph) -> None:
    if not graph.exact:
        return
    sent = {node.name: graph.largest_sent(node.name) for node in graph.nodes}
    reckoned = kept(padded(graph.nodes, graph.shapes[INPUT]), 1)
    reckoned += sum(kept(graph.shapes[name], largest) for name, largest in sent.items())
    # Of every buffer what a vector may read too far.
    assert EventBackend(graph, threads=1).image_bytes <= reckoned + 3 * 320 * len(sent)


def test_a_deep_chain_takes_what_a_short_one_does() -> None:
    sizes = [EventBackend(chain(depth, 64, 32)).image_bytes for depth in (4, 40, 120)]
    assert sizes[0] == sizes[1] == sizes[2]
    wide = [EventBackend(fan(width, 64)).image_bytes for width in (4, 40)]
    assert wide[1] > 5 * wide[0]  # all are alive at once
    peaks = [peak(g.nodes, g.readout, g.shapes) for g in (chain(4, 64), chain(120, 64))]
    assert peaks[0] == peaks[1]


def test_the_interpreter_forgets_what_is_read() -> None:
    """It keeps a byte a neuron, of what it computes with only what is alive."""
    images = pictures(Image(64, 64, (0, 0, 0)), 1)

    def used(graph: SpikingGraph) -> int:
        tracemalloc.start()
        reference.run(graph, images)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    size = 8 * 64 * 64
    short, long = used(chain(4, 64, 8)), used(chain(40, 64, 8))
    assert long - short < 1.5 * 36 * size  # spikes; with eight bytes each it would be 9 * 36 * size


def test_a_batch_is_cut_where_many_values_are_alive() -> None:
    narrow, wide = chain(2, 64), fan(300, 64)
    assert ort.chunk_size(narrow) == ort.CHUNK_VALUES // (3 * 64 * 64)
    monstrous = ort.chunk_size(wide)
    values = sum(int(np.prod(shape)) for shape in wide.shapes.values())
    assert 1 <= monstrous <= ort.CHUNK_BYTES // (4 * values)


LARGE: dict[str, Callable[[], SpikingGraph]] = {
    "values": lambda: graph_of(
        1100,
        population("p", INPUT, 16, 3),
        population("q", "p", 1, 16, stride=64),
        Pool("end", "q", "max", 18),
    ),
    "margins": lambda: margins(2400, 64),
    "few rows of tall windows": lambda: tall(1000, 250),
    "many rows of tall windows": lambda: tall(1999, 160),
    "spikes of many groups": lambda: in_groups(8),
}
MEASURE = """
import sys
from pathlib import Path
import numpy as np
from test_activations import LARGE, chain, reserved
from snn_runtime.engines.event.backend import EventBackend
from snn_runtime.machine import cores
from snn_bench.resident import peak_memory

graph, threads = LARGE[sys.argv[1]](), int(sys.argv[2])
images = np.zeros((threads, graph.image.height, graph.image.width, 3), np.uint8)
engine = EventBackend(chain(4, 8), threads=1)  # whose library is loaded
before = reserved()
cores.usable = lambda: threads  # no demand, which would be refused where it is not met
engine = EventBackend(graph)
taken = reserved() - before
Path("/proc/self/clear_refs").write_text("5")
before = peak_memory()
if graph.image.width != 512:  # whose lists are no smaller than they may be
    logits = engine.run(images)
    assert (logits == graph.readout.weight.shape[1]).all(), logits
print(taken, peak_memory() - before, engine.image_bytes)
"""


def reserved() -> int:
    """Address space of this process, in bytes, also what was never touched."""
    return 1024 * int(Path("/proc/self/status").read_text().split("VmSize:")[1].split()[0])


def measured(case: str, threads: int) -> list[int]:
    """Bytes that a new engine reserves, that it grows by while it runs, and those of an image."""
    paths = [str(Path(__file__).parent), *sys.path]
    said = subprocess.run(
        [sys.executable, "-c", MEASURE, case, str(threads)],
        check=True,
        timeout=300,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": ":".join(filter(None, paths)), "PATH": "/usr/bin:/bin"},
    ).stdout
    return [int(number) for number in said.split()]


@pytest.mark.parametrize("case", ["values", "margins"])
def test_threads_share_an_image_that_is_large(case: str) -> None:
    _, grown, image = measured(case, 16)
    assert image > 64 * 2**20  # too much for each of sixteen threads
    assert grown < 2 * image


@pytest.mark.parametrize("rows", ["few", "many"])
def test_tall_windows_take_no_more_sums_than_they_may(rows: str) -> None:
    taken, grown, image = measured(f"{rows} rows of tall windows", 1)
    assert taken < image + 32 * 2**20
    assert grown < image + 32 * 2**20


def test_threads_are_as_many_as_their_lists_of_spikes_fit() -> None:
    """Half a gigabyte each."""
    taken, _, image = measured("spikes of many groups", 16)
    assert taken < image + 2**30


def test_weights_are_counted_in_the_rows_that_they_stand_in() -> None:
    assert unfolded(64, 100) == 6400 == unfolded(1, 100)
    assert unfolded(65, 100) == 12800
    assert unfolded(64, 9, 64) == 64 * 64 * 9  # one to one: each row has a weight and 63 zeros
    assert unfolded(1024, 288, 32) <= 3 * 1024 * 288  # as in a ResNeXt
    assert 8 * (unfolded(4096, 25088) + unfolded(4096, 4096)) < MAX_UNFOLDED  # as in a VGG16
    weight = np.zeros((1, 4096**2), np.int8)
    narrow = [
        Population(f"n{i}", (Projection("p", weight),), np.full(1, 0.5, np.float32))
        for i in range(2)
    ]
    with pytest.raises(ModelError, match=r"^n1: 2,147,\d+,\d+ bytes of weights up to here in rows"):
        graph_of(4096, population("p", INPUT, 1, 3), *narrow)
    reads = windows("reads", INPUT, (4096, 1), (4095, 0))
    many = [replace(reads, name=f"n{i}") for i in range(1400)]
    with pytest.raises(ModelError, match=r"^n1365: 2,148,\d+,\d+ bytes of weights up to here"):
        graph_of(1, *many, values=4096)
