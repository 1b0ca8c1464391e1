"""Forms of forward passes: each against the module's own answer, in the graph and in the file."""

from functools import partial
from typing import Any

import forms
import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snn_export.importers import Picture, from_module, probe
from snn_export.parity import compare
from snn_export.quantise import to_int8
from snn_export.unrounded import to_float32
from snn_runtime.engines.onnxruntime.backend import OrtBackend
from snn_runtime.errors import ModelError
from snn_runtime.graph import SpikingGraph, reference
from snn_runtime.model_file import to_bytes

PICTURE = Picture(("a", "b", "c", "d"), forms.SIDE, forms.SIDE, (0.0,) * 3, (1.0,) * 3)
"""Grey levels as they are."""
IMAGES = np.random.default_rng(3).integers(0, 256, (6, forms.SIDE, forms.SIDE, 3), np.uint8)
ROUNDED = ("mean 3, 2 on currents", "mean of rectangles on currents", "adaptive on currents",
           "one map a class", "dense behind dense", "vote of currents")  # fmt: skip
"""Weights that add up to more than 127, so that int8 rounds them."""


def in_onnx_runtime(graph: SpikingGraph) -> npt.NDArray[np.float32]:
    """The logits of the file itself, in the runtime that anybody has."""
    session = ort.InferenceSession(to_bytes(graph), providers=["CPUExecutionProvider"])
    logits: npt.NDArray[np.float32] = session.run(None, {"image": IMAGES})[0]
    return logits


@pytest.mark.parametrize("form", forms.MEMBERS)
def test_spikes_and_labels_are_those_of_the_modules_own_forward_pass(form: str) -> None:
    network = forms.MEMBERS[form]()
    foreign = from_module(network, PICTURE)
    spikes, logits = foreign.run(torch.from_numpy(IMAGES))
    assert all(0 < spikes[w.layer].mean() < 1 for w in foreign.lowered.watched)
    own = answer(network)
    assert (logits.argmax(1) == own.argmax(1)).all()
    plain = to_float32(foreign.fold())
    parity = compare(foreign, plain, OrtBackend(plain, threads=1), IMAGES)
    assert (parity.rounded, parity.running) == (0, 0)
    file = in_onnx_runtime(plain)
    np.testing.assert_allclose(file, logits, rtol=1e-5, atol=1e-2)
    assert (file.argmax(1) == own.argmax(1).numpy()).all()
    whole = to_int8(foreign.fold())
    assert (in_onnx_runtime(whole) == reference.run(whole, IMAGES).logits).all()
    differ = compare(foreign, whole, OrtBackend(whole, threads=1), IMAGES)
    if form not in ROUNDED:
        assert (differ.layerwise, differ.running, differ.same_label) == (0, 0, 1)


@settings(max_examples=15)
@given(
    kind=st.sampled_from(["max", "mean"]),
    where=st.sampled_from(["spikes", "currents"]),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.integers(1, 3),
    padded=st.booleans(),
    dilation=st.integers(1, 2),
)
def test_any_window_is_exact_or_refused(
    kind: str, where: str, kernel: tuple[int, int], stride: int, padded: bool, dilation: int
) -> None:
    """Torch's own pools, spike for spike; `conv2` behind the mean of spikes cannot be."""
    padding = (kernel[0] // 2 * padded, kernel[1] // 2 * padded)
    if kind == "max":
        pool: nn.Module = nn.MaxPool2d(kernel, stride, padding, dilation)
    else:
        pool = nn.AvgPool2d(kernel, stride, padding)
    layers = [nn.Conv2d(3, 4, 3, 2), forms.leaky(2000.5), pool, nn.Conv2d(4, 4, 1), forms.leaky()]
    if where == "currents":
        layers[1:3] = layers[2:0:-1]
    network: nn.Module = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(4))
    network(torch.zeros(2, 3, 16, 16))
    network = forms.whole(network)
    forms.reset(network)
    picture = Picture(PICTURE.labels, 16, 16, PICTURE.mean, PICTURE.deviation)
    tiles = kernel == (stride, stride) and not any(padding)
    same = kernel == (1, 1) and stride == 1
    if kind == "mean" and not tiles and not same and (where == "spikes" or any(padding)):
        with pytest.raises(ModelError, match="do not tile the map|over a padded map"):
            from_module(network, picture)
        return
    images = np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3), np.uint8)
    foreign = from_module(network, picture)
    for lower in (to_float32, to_int8):
        graph = lower(foreign.fold())
        parity = compare(foreign, graph, OrtBackend(graph, threads=1), images)
        assert parity.rounded == 0
        if kind == "max":
            assert (parity.layerwise, parity.running) == (0, 0)


@pytest.mark.parametrize("call", [torch.sin, F.relu, torch.round, torch.neg, torch.sort])
def test_only_what_keeps_the_order_of_all_numbers_is_an_end(call: Any) -> None:
    assert not probe.ordered(call, (2, 2))
    assert not probe.ordered(lambda x: torch.sin(x / 100), (2, 2))
    assert probe.ordered(lambda x: F.log_softmax(x, 1), (2, 2)) and probe.ordered(F.sigmoid, (2, 2))
    assert not probe.ordered(lambda x: F.log_softmax(x, 0), (2, 2))


def test_no_answer_rests_on_one_magnitude_of_noise() -> None:
    """Each of these does what it is asked for between −4 and 4, and elsewhere something else."""
    maps, row = (2, 4, 4, 4), (2, 64)
    for call in (lambda x: x.clamp(-4, 4), nn.Hardtanh(-1e9, 1e9), lambda x: F.hardshrink(x, 1e-9)):
        assert not probe.keeps(call, maps)
    assert probe.keeps(lambda x: x.reshape(x.shape).double() / 1, maps)
    assert probe.affine(lambda x: 2 * x.clamp(-1e9, 1e9), row) is None
    assert probe.affine(lambda x: 2 * x + 1, row) is not None
    assert probe.affine(lambda x: 2j * x, row) is None
    assert probe.reduction(lambda x: x.logsumexp((2, 3)), maps) is None
    assert probe.reduction(lambda x: x.amax((2, 3)), maps) == ("max", 16)


def answer(network: nn.Module) -> torch.Tensor:
    """What the module says, called as its user calls it."""
    forms.reset(network)
    images = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float()
    if isinstance(network, forms.Shuffled):
        images = images.flatten(1)
    with torch.no_grad():
        given: Any = network(images[None] if getattr(network, "timed", False) else images)
    logits: torch.Tensor = given
    return logits.reshape(len(IMAGES), 4)


@pytest.mark.parametrize("form", forms.REFUSED)
def test_what_cannot_be_exact_is_refused_in_one_sentence(form: str) -> None:
    make, says = forms.REFUSED[form]
    network = make()
    with pytest.raises(ModelError) as refusal:
        from_module(network, PICTURE)
    assert says in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("most", [1, 3])
def test_no_neuron_can_be_masked_or_change_places_unseen(most: int) -> None:
    """Neurons send few numbers, so that many of them are equal, and many nothing."""
    count = 32
    ones, order = torch.ones(count), list(range(count))
    assert probe.keeps(lambda x: x * ones, (2, count), most=most)
    for one in range(count):
        mask = ones.clone()
        mask[one] = 0
        assert not probe.keeps(partial(torch.mul, mask), (2, count), most=most)
        for other in range(one):
            swapped = order.copy()
            swapped[one], swapped[other] = other, one
            to = torch.tensor(swapped)
            assert not probe.keeps(
                partial(torch.index_select, dim=1, index=to), (2, count), most=most
            )
