"""ONNX Runtime against the interpreter: every spike, every logit, however it is run."""

from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from graphs import example, pictures, spiking_graphs
from hypothesis import given, settings

from snn_runtime.engines import Backend
from snn_runtime.engines.onnxruntime import backend as ort
from snn_runtime.engines.onnxruntime.backend import OrtBackend
from snn_runtime.errors import DeviceError, ResourceError
from snn_runtime.graph import Population, SpikingGraph, reference
from snn_runtime.onnx_build import BATCH, Value
from snn_runtime.onnx_build.float32 import Float32
from snn_runtime.proof.agreement import logits_of, unexplained


def engines(graph: SpikingGraph, form: ort.Form | None = None) -> Iterator[OrtBackend]:
    for level in get_args(ort.Optimisation):
        for threads in (1, 2):
            yield OrtBackend(graph, threads=threads, optimisation=level, form=form)


def assert_same(
    backend: Backend, images: npt.NDArray[np.uint8], activity: reference.Activity
) -> None:
    spikes = backend.spikes(images)
    assert list(spikes) == list(activity.spikes)
    for name, bits in activity.spikes.items():
        np.testing.assert_array_equal(spikes[name], bits, err_msg=name)
    logits = backend.run(images)
    assert logits.dtype == np.float32
    # Bit for bit, minus zero and all.
    np.testing.assert_array_equal(logits.view(np.int32), activity.logits.view(np.int32))


@pytest.mark.parametrize("form", get_args(ort.Form))
@given(graph=spiking_graphs())
@settings(max_examples=25)
def test_every_level_and_thread_count_equals_the_reference(
    form: ort.Form, graph: SpikingGraph
) -> None:
    images = pictures(graph.image, 4)
    activity = reference.run(graph, images)
    for engine in engines(graph, form):
        assert_same(engine, images, activity)


@given(spiking_graphs())
@settings(max_examples=20)
def test_batches_of_one(graph: SpikingGraph) -> None:
    images = pictures(graph.image, 3)
    engine = OrtBackend(graph, threads=1)
    for i in range(3):
        alone = images[i : i + 1]
        assert_same(engine, alone, reference.run(graph, alone))


@given(spiking_graphs(exact=False))
@settings(max_examples=40)
def test_floats_differ_by_rounding_only(graph: SpikingGraph) -> None:
    images = pictures(graph.image, 4)
    for level in ("disable", "all"):
        engine = OrtBackend(graph, threads=1, optimisation=level)
        spikes = engine.spikes(images)
        assert unexplained(graph, images, spikes) == dict.fromkeys(spikes, 0)
        np.testing.assert_allclose(
            engine.run(images), logits_of(graph, spikes), rtol=1e-4, atol=1e-4
        )


def test_floats_do_not_depend_on_the_batch() -> None:
    graph = example(exact=False)
    images = pictures(graph.image, 16)
    engine = OrtBackend(graph, threads=2)
    together, spikes = engine.run(images), engine.spikes(images)
    for i in range(16):
        np.testing.assert_array_equal(together[i], engine.run(images[i : i + 1])[0])
        for name, bits in engine.spikes(images[i : i + 1]).items():
            np.testing.assert_array_equal(spikes[name][i], bits[0])


@pytest.mark.parametrize("shift", [-0.5, 0.5])
def test_currents_right_at_the_threshold(shift: float) -> None:
    """The integer just below θ stays silent and the one just above fires, in every layer."""
    graph, images = example(), pictures(example().image, 1)
    for name in [node.name for node in graph.populations]:
        current = reference.run(graph, images, keep_currents=True).currents[name]
        theta = current[0].reshape(current.shape[1], -1)[:, 0].astype(np.float32) + np.float32(
            shift
        )
        graph = with_threshold(graph, name, theta)
        first = reference.run(graph, images).spikes[name][0].reshape(len(theta), -1)[:, 0]
        assert (first == (shift < 0)).all()
        for engine in engines(graph):
            assert_same(engine, images, reference.run(graph, images))


def with_threshold(graph: SpikingGraph, name: str, theta: npt.NDArray[np.float32]) -> SpikingGraph:
    nodes = tuple(
        replace(node, threshold=theta)
        if isinstance(node, Population) and node.name == name
        else node
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = example()
    images = pictures(graph.image, 11)
    whole = OrtBackend(graph, threads=1)
    monkeypatch.setattr(ort, "CHUNK_VALUES", 4 * 8 * 8 * 3)
    chunked = OrtBackend(graph, threads=1)
    np.testing.assert_array_equal(chunked.run(images), whole.run(images))
    assert_same(chunked, images, reference.run(graph, images))


@pytest.mark.parametrize("exact", [True, False])
def test_an_empty_batch(exact: bool) -> None:
    graph = example(exact)
    engine = OrtBackend(graph, threads=1)
    assert engine.form == ("integer" if exact else "float")
    assert engine.run(pictures(graph.image, 0)).shape == (0, 3)
    assert engine.spikes(pictures(graph.image, 0))["conv3"].shape == (0, 6, 4, 4)


def test_images_in_any_memory_order() -> None:
    graph = example()
    images = pictures(graph.image, 4)
    turned = np.asfortranarray(images)
    engine = OrtBackend(graph)
    np.testing.assert_array_equal(engine.run(turned[::-1]), engine.run(images)[::-1])


class _Broken:
    def __init__(self, message: str) -> None:
        self.message = message

    def run(self, *_: object) -> None:
        raise RuntimeError(self.message)


def test_failures_become_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = example()
    engine = OrtBackend(graph)
    monkeypatch.setattr(engine, "_session", _Broken("std::bad_alloc"))
    with pytest.raises(ResourceError, match="out of memory"):
        engine.run(pictures(graph.image, 1))
    monkeypatch.setattr(engine, "_session", _Broken("kernel\nlost"))
    with pytest.raises(DeviceError, match="onnxruntime failed: kernel lost"):
        engine.run(pictures(graph.image, 1))
    with pytest.raises(DeviceError, match="onnxruntime failed"):
        engine._run(engine._debug_session, ["no/such"], pictures(graph.image, 1))
    # No silent fall back to another provider than the one asked for.
    monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda _: ["OtherProvider"])
    with pytest.raises(DeviceError, match="OtherProvider"):
        OrtBackend(graph)


def test_a_model_that_onnxruntime_refuses_is_our_error(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = Value("nowhere", np.float32, (BATCH, 3))
    monkeypatch.setattr(Float32, "logits", lambda _: nowhere)
    with pytest.raises(DeviceError, match="onnxruntime failed"):
        OrtBackend(example(), form="float")
