"""Distances of spike counts from what is usual: by the formula, the same bits in every engine."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from familiar import usual
from graphs import example, example_of_levels, pictures, spiking_graphs
from hypothesis import given, settings
from PIL import Image

from snn_runtime.answer import Answer, Prediction
from snn_runtime.calibration import Calibration, Familiarity
from snn_runtime.condition import Condition
from snn_runtime.engines.choice import BackendName
from snn_runtime.engines.event.backend import EventBackend
from snn_runtime.engines.event.library import instruction_sets
from snn_runtime.engines.onnxruntime.backend import OrtBackend
from snn_runtime.errors import ModelError
from snn_runtime.graph import SpikingGraph, reference
from snn_runtime.graph.reference import channel_counts
from snn_runtime.infer.cli import parse_args, run
from snn_runtime.infer.moving import Moving
from snn_runtime.infer.running import Running
from snn_runtime.infer.sources import Source
from snn_runtime.model import load
from snn_runtime.model_file import read, to_bytes


def knowing(graph: SpikingGraph, farthest: float = 1.0) -> SpikingGraph:
    """The graph, whose file knows the spikes of some noise."""
    counts = channel_counts(reference.run(graph, pictures(graph.image, 20)).spikes)
    return replace(graph, calibration=Calibration(familiarity=usual(graph, counts, farthest)))


@pytest.fixture(params=[example, example_of_levels], ids=["bits", "levels"])
def graph(request: pytest.FixtureRequest) -> SpikingGraph:
    return knowing(request.param())


def test_the_distance_is_that_of_the_formula(graph: SpikingGraph) -> None:
    known = graph.calibration.familiarity
    assert known is not None
    spikes = reference.run(graph, pictures(graph.image, 5, seed=1)).spikes
    found = known.distances(channel_counts(spikes))
    for picture, distance in enumerate(found):
        populations = []
        for name, mean, deviation in known.usual:
            sent = spikes[name][picture].astype(float)
            channels = [abs(sent[c].sum() - mean[c]) / deviation[c] for c in range(len(mean))]
            populations.append(sum(channels) / len(channels))
        assert distance == pytest.approx(sum(populations) / len(populations), rel=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("backend", ["event", "onnxruntime"])
def test_every_engine_has_the_same_bits(
    graph: SpikingGraph, backend: BackendName, threads: int, tmp_path: Path
) -> None:
    (tmp_path / "m.onnx").write_bytes(to_bytes(graph))
    model = load(tmp_path / "m.onnx", backend=backend, threads=threads)
    images = pictures(graph.image, 40)  # more than one batch
    logits, distances = model.observe(images)
    exact = reference.run(graph, images)
    np.testing.assert_array_equal(logits, exact.logits)
    known = graph.calibration.familiarity
    assert known is not None
    np.testing.assert_array_equal(distances, known.distances(channel_counts(exact.spikes)))


@pytest.mark.parametrize(
    "engine",
    [EventBackend, OrtBackend, partial(OrtBackend, form="float")],
    ids=["event", "integer", "float"],
)
def test_an_empty_batch_has_no_distances_and_no_counts(
    engine: Callable[[SpikingGraph], EventBackend | OrtBackend], graph: SpikingGraph
) -> None:
    opened, none = engine(graph), pictures(graph.image, 0)
    channels = sum(graph.channels.values())
    logits, counts = opened.count(none)
    assert (logits.shape, counts.shape) == ((0, len(graph.labels)), (0, channels))
    logits, distances = opened.observe(none)
    assert distances is not None
    assert (logits.shape, distances.shape) == ((0, len(graph.labels)), (0,))
    assert channel_counts(reference.run(graph, none).spikes).shape == (0, channels)


@given(spiking_graphs())
@settings(max_examples=15, deadline=None)
def test_the_event_engine_measures_as_the_formula_does(drawn: SpikingGraph) -> None:
    """With every instruction set, one thread and two, to the bit."""
    graph = knowing(drawn)
    images = pictures(graph.image, 5, seed=1)
    exact = reference.run(graph, images)
    known = graph.calibration.familiarity
    assert known is not None
    expected = known.distances(channel_counts(exact.spikes))
    for name in instruction_sets():
        for threads in (1, 2):
            engine = EventBackend(graph, threads=threads, instruction_set=name)
            logits, distances = engine.observe(images)
            np.testing.assert_array_equal(logits, exact.logits)
            np.testing.assert_array_equal(distances, expected, engine.details)
            _, none = engine.observe(images[:0])
            assert none is not None and none.shape == (0,)


def test_a_file_that_knows_reads_back(graph: SpikingGraph) -> None:
    again = read(to_bytes(graph))
    assert again.calibration == graph.calibration and again.schema == 5


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda f: replace(f, farthest=0.0), "farthest is 0.0"),
        (lambda f: replace(f, farthest=float("nan")), "farthest is nan"),
        (lambda f: replace(f, usual=f.usual[1:]), "for each channel"),
        (lambda f: replace(f, usual=f.usual[::-1]), "in its order"),
        (lambda f: replace(f, usual=((f.usual[0][0], (), ()), *f.usual[1:])), "for each channel"),
        (
            lambda f: replace(f, usual=((*f.usual[0][:2], f.usual[0][2][1:]), *f.usual[1:])),
            "for each channel",
        ),
        (
            lambda f: replace(
                f, usual=((*f.usual[0][:2], (0.1,) * len(f.usual[0][1])), *f.usual[1:])
            ),
            "deviation is not from 0.5",
        ),
        (
            lambda f: replace(
                f,
                usual=((f.usual[0][0], (-1.0,) * len(f.usual[0][1]), f.usual[0][2]), *f.usual[1:]),
            ),
            "mean is not from 0",
        ),
    ],
)
def test_what_is_no_distance_is_refused(edit: object, says: str) -> None:
    known = knowing(example()).calibration.familiarity
    assert known is not None and callable(edit)
    with pytest.raises(ModelError, match=f"calibration: familiarity: .*{says}"):
        replace(example(), calibration=Calibration(familiarity=edit(known)))


@pytest.mark.parametrize(
    "record",
    [
        [],
        {},
        {"farthest": 1.0},
        {"farthest": 1.0, "usual": []},
        {"farthest": 1.0, "usual": {"a": 1}},
        {"farthest": 1.0, "usual": {"a": [[1.0], ["1"]]}},
    ],
)
def test_what_is_no_record_is_refused(record: object) -> None:
    with pytest.raises(ValueError, match="familiarity: expected"):
        Familiarity.of(record)


def test_every_form_of_output_says_it(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """With a bound that every picture, or none, exceeds."""
    graph = knowing(example())
    side = graph.image
    Image.new("RGB", (side.width, side.height)).save(tmp_path / "a.png")
    said = {}
    for farthest in (1e-6, 1e6):
        (tmp_path / "m.onnx").write_bytes(to_bytes(knowing(example(), farthest)))
        for form in ("--format=text", "--format=json", "--format=csv", "--only-label"):
            line = ["--model", str(tmp_path / "m.onnx"), "--threshold=0", form]
            run(parse_args([*line, str(tmp_path / "a.png")]))
            said[farthest, form] = capfdbinary.readouterr().out.decode()
    far, near = ({form: said[f, form] for f, form in said if f == which} for which in (1e-6, 1e6))
    assert "a.png: unlike anything in training: " in far["--format=text"]
    assert "unlike" not in near["--format=text"]
    for which, text in ((True, far), (False, near)):
        record = json.loads(text["--format=json"].splitlines()[0])
        assert (record["unfamiliar"], record["unsure"]) == (which, False)
        header, row = (line.split(",") for line in text["--format=csv"].splitlines()[:2])
        assert row[header.index("unfamiliar")] == str(which).lower()
    assert far["--only-label"] == "\n" != near["--only-label"]


def test_nothing_is_done_with_what_is_unlike_anything(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"")
    far = Answer((Prediction("cat", 0, 9.0, 0.99),), unfamiliar=True)
    near = replace(far, unfamiliar=False)
    assert far.doubtful and not near.doubtful and not far.unsure
    mark = Running(Condition("cat", 0.8), ["touch", str(tmp_path / "ran")])
    assert mark(Source(str(picture)), far) == "" and not (tmp_path / "ran").exists()
    assert Moving(f"{tmp_path}/{{label}}", ["cat"], really=True)(Source(str(picture)), far) == ""
    assert picture.exists()
    mark(Source(str(picture)), near)
    assert (tmp_path / "ran").exists()
