"""What values cost: bounded when a graph is read, shared and freed while one runs, and told."""

import subprocess
import sys
import tracemalloc
from pathlib import Path

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
from snn_runtime.graph.activations import MAX_KEPT, kept, last_reads, peak
from snn_runtime.graph.values import MAX_EVENTS
from snn_runtime.infer.cli import parse_args, run
from snn_runtime.model_file import to_bytes


def population(name: str, source: str, channels: int, inputs: int, stride: int = 1) -> Population:
    """1×1 weights of zero: every neuron fires always."""
    weight = np.zeros((channels, inputs, 1, 1), np.int8)
    threshold = np.full(channels, -0.5, np.float32)
    return Population(name, (Projection(source, weight, (stride, stride)),), threshold)


def graph_of(side: int, *nodes: Node, values: int = 1) -> SpikingGraph:
    """A graph whose last node sends `values` numbers, which are read out."""
    readout = Readout(
        nodes[-1].name,
        np.ones((2, values), np.int8),
        np.ones(2, np.float32),
        np.zeros(2, np.float32),
    )
    return SpikingGraph(Image(side, side, (0, 0, 0)), nodes, readout, ("a", "b"))


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


TOO_MUCH = {
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
        f"snn-infer: error: {tmp_path}/m.onnx: p6: 2,176,000,000 bytes of activations an image up "
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
    reckoned = sum(kept(graph.shapes[name], largest) for name, largest in sent.items())
    # Of every row some numbers more, and of every buffer what a vector may read too far.
    rows = sum(graph.shapes[name][1] if len(graph.shapes[name]) == 3 else 1 for name in sent)
    assert EventBackend(graph, threads=1).value_bytes <= reckoned + 132 * rows + 3 * 320 * len(sent)


def test_a_deep_chain_takes_what_a_short_one_does() -> None:
    sizes = [EventBackend(chain(depth, 64, 32)).value_bytes for depth in (4, 40, 120)]
    assert sizes[0] == sizes[1] == sizes[2]
    wide = [EventBackend(fan(width, 64)).value_bytes for width in (4, 40)]
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


MEASURE = """
import sys
from pathlib import Path
import numpy as np
from test_activations import graph_of, population
from snn_runtime.engines.event.backend import EventBackend
from snn_bench.resident import peak_memory
from snn_runtime.graph import INPUT, Pool

side, threads = 1100, 16
graph = graph_of(
    side, population("p", INPUT, 16, 3), population("q", "p", 1, 16, stride=64),
    Pool("end", "q", "max", 18),
)
engine = EventBackend(graph, threads=threads)
assert engine.value_bytes > 64 * 2**20, engine.value_bytes  # too much for each of sixteen threads
images = np.zeros((threads, side, side, 3), np.uint8)
Path("/proc/self/clear_refs").write_text("5")
before = peak_memory()
logits = engine.run(images)
assert (logits == 1).all(), logits
grown = peak_memory() - before
assert grown < 2 * engine.value_bytes, (grown, engine.value_bytes)
"""


def test_threads_share_an_image_that_is_large() -> None:
    paths = [str(Path(__file__).parent), *sys.path]
    subprocess.run(
        [sys.executable, "-c", MEASURE],
        check=True,
        timeout=300,
        env={"PYTHONPATH": ":".join(filter(None, paths)), "PATH": "/usr/bin:/bin"},
    )
