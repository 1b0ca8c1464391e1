"""Convolutions by events against torch's: equal where integers rule, in all shapes."""

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from snn_train.data.normalisation import Normalisation
from snn_train.events import convolution
from snn_train.events import library as module
from snn_train.events.convolution import convolve, currents, suits, train_by_events
from snn_train.integer import in_integers
from snn_train.layout import Architecture
from snn_train.network import SpikingNetwork

CPU = torch.device("cpu")
FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": Tensor.contiguous,
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "turned": lambda x: x.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
    "sliced": lambda x: x.repeat_interleave(2, 3)[..., ::2],
}
"""How a tensor of four axes may lie in memory."""
Case = tuple[Tensor, Tensor, tuple[int, int], tuple[int, int]]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Spikes, counts or integers of either sign, integer weights, a stride and a padding; all of
    it small."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(st.integers(0, kernel[0]), st.integers(0, kernel[1])))
    sides = [draw(st.integers(max(1, k - 2 * p), 9)) for k, p in zip(kernel, padding, strict=True)]
    pictures, inputs = draw(st.integers(1, 9)), draw(st.integers(1, 70))
    outputs = draw(st.sampled_from([1, 5, 31, 32, 33, 64, 96, 200, 384, 416, 800]))
    share, levels = draw(st.sampled_from([0.0, 0.05, 0.3, 1.0])), draw(st.integers(1, 3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    fired = torch.rand((pictures, inputs, *sides), generator=generator) < share
    least = draw(st.sampled_from([1, -levels]))
    counts = torch.randint(least, levels + 1, fired.shape, generator=generator)
    weight = torch.randint(-7, 8, (outputs, inputs, *kernel), generator=generator).float()
    return (fired * counts).float(), weight, stride, padding


@contextmanager
def never_dense() -> Iterator[None]:
    """No spikes are too many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "MOST", (1.0, 1.0))
        patch.setattr(convolution, "MOST_WIDE", (1.0, 1.0))
        yield


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def backward(result: Tensor, downstream: Tensor) -> None:
    result.backward(downstream)  # type: ignore[no-untyped-call]  # torch leaves backward untyped


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@given(case=cases(), count=st.integers(1, 5), form=st.sampled_from([*FORMS]))
@settings(max_examples=100, deadline=None)
def test_sums_of_integers_are_those_of_torch(
    dtype: torch.dtype, case: Case, count: int, form: str
) -> None:
    (spikes, weight, stride, padding), laid_out = case, FORMS[form]
    exact, kernel = spikes.double().requires_grad_(), weight.double().requires_grad_()
    expected = F.conv2d(exact, kernel, None, stride, padding)
    generator = torch.Generator().manual_seed(0)  # of which hypothesis knows nothing
    downstream = torch.randint(-3, 4, expected.shape, generator=generator).double()
    backward(expected, downstream)
    mine = laid_out(spikes.to(dtype)).requires_grad_()
    ours = laid_out(weight.clone()).requires_grad_()
    with threads(count), never_dense():
        found = currents(mine, ours, stride, padding, wide_sums=True)
        backward(found, laid_out(downstream.float()))
    assert found.dtype == torch.float32
    assert ours.grad is not None and kernel.grad is not None
    assert mine.grad is not None and exact.grad is not None
    assert torch.equal(found.double(), expected)
    assert torch.equal(ours.grad.double(), kernel.grad)
    assert torch.equal(mine.grad.double(), exact.grad.to(dtype).double())


@given(case=cases())
@settings(max_examples=30, deadline=None)
def test_sums_are_rounded_to_the_nearest_bfloat16(case: Case) -> None:
    spikes, weight, stride, padding = case
    expected = F.conv2d(spikes.double(), weight.double(), None, stride, padding)
    with never_dense():
        found = currents(spikes.bfloat16(), weight, stride, padding)
    assert torch.equal(found, expected.float().bfloat16())


@pytest.mark.parametrize("bits", [-1, 0x7FC00000, 0x7F800001])
def test_no_rounding_makes_a_number_of_what_is_none(bits: int) -> None:
    """torch.maximum makes NaN whose bits are all set: they carried over, and left a zero."""
    weight = torch.ones(32, 2, 1, 1)
    weight.view(torch.int32)[5] = bits
    with never_dense():
        found = currents(torch.ones(1, 2, 1, 1).bfloat16(), weight, (1, 1), (0, 0)).flatten()
    assert found.isnan().nonzero().flatten().tolist() == [5] and float(found[0]) == 2


@pytest.mark.skipif(platform.machine() != "x86_64", reason="of one processor's instruction sets")
@pytest.mark.parametrize("kind", ["x86-64", "x86-64-v3"])
def test_older_processors_give_the_same_sums(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    spikes = torch.randint(0, 3, (5, 20, 7, 7)) * (torch.rand(5, 20, 7, 7) < 0.2)
    weight = torch.randint(-7, 8, (160, 20, 4, 4)).double()
    expected = F.conv2d(spikes.double(), weight, None, 2, 1)
    older = [f"-march={kind}" if flag == "-march=native" else flag for flag in module.FLAGS]
    monkeypatch.setattr(module, "FLAGS", older)
    module.library.cache_clear()
    try:
        with never_dense():
            for dtype in (torch.bfloat16, torch.float32):
                ours = weight.float().requires_grad_()
                found = currents(spikes.to(dtype), ours, (2, 2), (1, 1), wide_sums=True)
                backward(found, torch.ones_like(found))
                assert torch.equal(found.double(), expected)
                count = F.unfold(spikes.double(), 4, padding=1, stride=2).sum((0, 2))
                assert ours.grad is not None
                assert torch.equal(ours.grad.double(), count.view(1, 20, 4, 4).expand_as(weight))
    finally:
        module.library.cache_clear()


def test_many_threads_give_the_same_bits_as_one() -> None:
    spikes = (torch.rand(7, 40, 9, 9) < 0.1).bfloat16()
    weight = torch.randn(96, 40, 3, 3).requires_grad_()
    downstream = torch.randn(7, 96, 9, 9)
    found: list[tuple[Tensor, Tensor]] = []
    for count in (1, 2, 3):
        weight.grad = None
        with threads(count), never_dense():
            current = currents(spikes, weight, (1, 1), (1, 1))
            backward(current, downstream.bfloat16())
        assert weight.grad is not None
        found.append((current, weight.grad.clone()))
    for current, gradient in found[1:]:
        assert torch.equal(current, found[0][0]) and torch.equal(gradient, found[0][1])


@pytest.mark.parametrize("share", [0.05, 0.9])
def test_the_operator_is_what_torch_expects_of_one(share: float) -> None:
    spikes = (torch.rand(4, 8, 6, 6) < share).bfloat16().requires_grad_()
    weight = torch.randn(33, 8, 3, 3).requires_grad_()
    for wide in (False, True):
        for bias in (None, torch.randn(33).requires_grad_()):
            given = (spikes, weight, bias, [2, 2], [1, 1], wide)
            torch.library.opcheck(convolution._currents, given)


def test_many_spikes_are_left_to_torch() -> None:
    spikes, weight = torch.rand(8, 16, 8, 8).bfloat16(), torch.randn(32, 16, 3, 3)
    found = currents(spikes, weight, (1, 1), (1, 1))
    assert torch.equal(found, F.conv2d(spikes, weight.bfloat16(), None, 1, 1))


def test_what_is_empty_is_as_by_torch() -> None:
    weight = torch.randn(32, 4, 3, 3).requires_grad_()
    found = currents(torch.zeros(0, 4, 5, 5), weight, (1, 1), (1, 1))
    backward(found, torch.zeros_like(found))
    assert found.shape == (0, 32, 5, 5)
    assert weight.grad is not None and not weight.grad.any()
    with pytest.raises(RuntimeError, match=r"kernel of 3 x 3 on a map of 4 x 2.*expected a map"):
        currents(torch.zeros(1, 4, 4, 2), weight, (1, 1), (0, 0))


def test_wide_sums_stay_wide_under_autocast() -> None:
    spikes, weight = torch.ones(1, 64, 3, 3).bfloat16(), torch.randn(32, 64, 3, 3)
    expected = currents(spikes, weight, (1, 1), (1, 1), wide_sums=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = currents(spikes, weight, (1, 1), (1, 1), wide_sums=True)
    assert found.dtype == torch.float32 and torch.equal(found, expected)


def test_autocast_decides_what_is_computed_in() -> None:
    synapse = nn.Conv2d(16, 32, 3, 2, 1)
    spikes = (torch.rand(8, 16, 8, 8) < 0.1).float()
    expected = synapse(spikes)
    assert torch.allclose(convolve(spikes, synapse, (2, 2)), expected, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        found = convolve(spikes, synapse, (2, 2))
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.float(), expected, atol=0.02)


def test_a_bias_is_added_before_sums_are_rounded() -> None:
    """As by torch: of sums that were rounded already, a quarter would not be the nearest."""
    generator = torch.Generator().manual_seed(0)
    synapse = nn.Conv2d(16, 33, 3, padding=1)
    with torch.no_grad():
        for each in synapse.parameters():
            each.copy_(torch.randint(-127, 128, each.shape, generator=generator) / 128)
    spikes = (torch.rand(8, 16, 9, 9, generator=generator) < 0.08).float()
    expected = synapse(spikes)  # integers, over 128, so exactly
    downstream = torch.randint(-3, 4, expected.shape, generator=generator).float()
    backward(expected, downstream)
    wanted = [each.grad.clone() for each in synapse.parameters() if each.grad is not None]
    synapse.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        found = convolve(spikes, synapse, (1, 1))
    backward(found, downstream.bfloat16())
    assert torch.equal(found, expected.bfloat16())
    for each, grad in zip(synapse.parameters(), wanted, strict=True):
        assert each.grad is not None and torch.equal(each.grad, grad)


def test_only_pictures_of_spikes_suit() -> None:
    assert suits(torch.zeros(1, 2, 3, 4)) and suits(torch.zeros(1, 2, 3, 4).bfloat16())
    assert not suits(torch.zeros(1, 2)) and not suits(torch.zeros(1, 2, 3, 4).double())
    assert not suits(torch.zeros(1, 2, 3, 4, device="meta"))


@pytest.mark.parametrize("name", ["vgg9s", "resnet12", "vgg5"])
def test_an_integer_network_is_the_same_by_events(name: str) -> None:
    network = SpikingNetwork(Architecture(network=name, width=0.25, levels=2), 1)
    images = torch.randn(8, 3, 32, 32)
    network(images)  # for its statistics
    integers = in_integers(network, 4, Normalisation((128, 128, 128), (64, 64, 64))).train()
    expected = gradients_of(integers, images)
    train_by_events(integers.populations(), CPU)
    used = torch.tensor(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "_few", lambda *_: bool(used.add_(1)))
        found = gradients_of(integers, images)
    assert used > 0
    assert torch.equal(found[0], expected[0])
    for mine, theirs in zip(found[1:], expected[1:], strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize("name", ["vgg5", "resnet12"])
def test_one_timestep_learns_the_same_by_events(name: str) -> None:
    """Weights of few bits and no normalisation: sums are exact, so no neuron fires otherwise."""
    network = SpikingNetwork(Architecture(network=name, recipe="iir", width=0.25), 1).train()
    with torch.no_grad():
        for layer in network.populations():
            for parameter in layer.synapse.parameters():
                parameter.copy_((parameter * 96).round() / 32)  # three times as much, to fire
    images = (torch.randn(8, 3, 32, 32) * 8).round() / 8
    expected = gradients_of(network, images)
    train_by_events(network.populations(), CPU)
    with never_dense():
        found = gradients_of(network, images)
    assert torch.equal(found[0], expected[0])
    for mine, theirs in zip(found[1:], expected[1:], strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


def gradients_of(network: SpikingNetwork, images: Tensor) -> list[Tensor]:
    """Logits, and the gradient of every parameter that has one."""
    network.zero_grad()
    logits = network(images)
    F.cross_entropy(logits, torch.arange(len(images))).backward()  # type: ignore[no-untyped-call]
    return [logits, *(p.grad.clone() for p in network.parameters() if p.grad is not None)]


def test_neither_an_ann_nor_an_evaluation_is_by_events(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Tensor:
        raise AssertionError("by events")

    monkeypatch.setattr("snn_train.network.convolve", refuse)
    architecture, images = Architecture(network="vgg5", width=0.25), torch.randn(4, 3, 32, 32)
    monkeypatch.setattr(torch, "compile", lambda module: module)
    SpikingNetwork(architecture, 0).compiled()(images)
    spiking = SpikingNetwork(architecture, 2)
    spiking.compiled()
    spiking.eval()(images)
    with pytest.raises(AssertionError, match="by events"):
        spiking.train()(images)
