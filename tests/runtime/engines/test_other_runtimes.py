"""model.onnx in runtimes that are not ours, with the settings that export-snn prints.

What no processor here computes, products of TF32 and sums rounded to bfloat16, is emulated.
"""

from collections.abc import Callable
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from graphs import example, packed, pictures, spiking_graphs
from hypothesis import given, settings

from snn_runtime.graph import INPUT, OUTPUT, READOUT, Population, SpikingGraph, reference
from snn_runtime.model import BUNDLED, read_model_file
from snn_runtime.model_file import to_bytes
from snn_runtime.model_file.writer import Stored
from snn_runtime.onnx_build.float32 import SUMS, spikes_of

OPENVINO = {"EXECUTION_MODE_HINT": "ACCURACY"}
SHOWN = [SUMS, f"{READOUT}/scaled"]
"""Outputs that keep OpenVINO from folding the scale into the weights."""
LEVELS = onnxruntime.GraphOptimizationLevel


def onnx_runtime(data: bytes, images: npt.NDArray[np.uint8]) -> Any:
    return onnxruntime.InferenceSession(data).run(None, {INPUT: images})[0]


def openvino(data: bytes, images: npt.NDArray[np.uint8]) -> Any:
    module = pytest.importorskip("openvino")
    network = module.Core().read_model(data)
    network.add_outputs(SHOWN)
    answers = module.Core().compile_model(network, "CPU", OPENVINO)(images)
    sums = answers[1]
    np.testing.assert_array_equal(sums, np.rint(sums))
    return answers[OUTPUT]


RUNTIMES = [onnx_runtime, openvino]


@pytest.mark.parametrize("run", RUNTIMES)
@given(graph=spiking_graphs() | spiking_graphs().map(packed))
@settings(max_examples=20)
def test_the_file_gives_the_same_logits(
    run: Callable[[bytes, Any], Any], graph: SpikingGraph
) -> None:
    images = pictures(graph.image, 3)
    logits = run(to_bytes(graph), images)
    expected = reference.run(graph, images).logits
    np.testing.assert_array_equal(logits.view(np.int32), expected.view(np.int32))


@pytest.mark.parametrize("run", RUNTIMES)
def test_the_bundled_file_gives_the_same_logits(run: Callable[[bytes, Any], Any]) -> None:
    graph = read_model_file(None).graph
    images = pictures(graph.image, 4)
    data = resources.files("snn_runtime").joinpath(BUNDLED).read_bytes()
    expected = reference.run(graph, images).logits
    np.testing.assert_array_equal(run(data, images).view(np.int32), expected.view(np.int32))


@given(graph=spiking_graphs())
@settings(max_examples=12)
def test_spikes_in_openvino(graph: SpikingGraph) -> None:
    module = pytest.importorskip("openvino")
    core = module.Core()
    stored = Stored(graph)
    data = stored.op.model(stored.logits(), *stored.spikes()).SerializeToString()
    images = pictures(graph.image, 3)
    answers = core.compile_model(core.read_model(data), "CPU", OPENVINO)(images)
    for name, bits in reference.run(graph, images).spikes.items():
        np.testing.assert_array_equal(answers[spikes_of(name)], bits, err_msg=name)


@pytest.mark.parametrize("level", [LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_BASIC])
def test_less_optimisation_of_onnxruntime(level: Any) -> None:
    graph = example()
    images = pictures(graph.image, 9)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(to_bytes(graph), options)
    logits = session.run(None, {INPUT: images})[0]
    np.testing.assert_array_equal(logits, reference.run(graph, images).logits)


def rounded(values: npt.ArrayLike, bits: int) -> npt.NDArray[np.float32]:
    """To floats of so many significant bits, to nearest, ties to even: 8 is bfloat16, 11 TF32."""
    mantissa, exponent = np.frexp(np.asarray(values, np.float64))
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits), np.float32)


@given(graph=spiking_graphs())
@settings(max_examples=25)
def test_tf32_has_bits_enough(graph: SpikingGraph) -> None:
    """What is multiplied is whole in it, pixels and weights to 255, counts to 2048; it is added in
    float32, where sums below 2^24 are."""
    images = pictures(graph.image, 3)
    sent: dict[str, Any] = {INPUT: reference.centred(graph, images)}
    for node in graph.nodes:
        for projection in node.projections if isinstance(node, Population) else ():
            for factor in (projection.weight, sent[projection.source]):
                np.testing.assert_array_equal(rounded(factor, 11), factor)
        sent[node.name] = node.respond(sent)
    assert rounded(2048, 11) == 2048 and rounded(2049, 11) == 2048  # a sum pool of 46 × 46


def test_bfloat16_has_not() -> None:
    """Why the file asks for float32 instead of surviving: 8 bits for a current that decides."""
    # Greater(current, θ), as it is: both are rounded.
    assert 257 > 256.5 and not rounded(257, 8) > rounded(256.5, 8)
    # θ first, as a bias in float32, and the sign rounded: that alone would hold, for any integer.
    currents = np.arange(-5000, 5000)
    np.testing.assert_array_equal(rounded(currents - 256.5, 8) > 0, currents > 256.5)
    # But a bias is rounded as the output is (OpenVINO),
    assert 258 > 257.5 and not rounded(258 - rounded(257.5, 8), 8) > 0
    # a residual population adds two outputs, rounded before any θ,
    assert 257 - 256 > 0.5 and not rounded(257, 8) + rounded(-256, 8) > 0.5
    # and nothing compares behind the readout's sums: two labels of different logits have the same.
    assert rounded(257, 8) == rounded(256, 8)
