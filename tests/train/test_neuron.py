"""The neuron against the equations of the paper, written out once more."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor

from snn_export import trained
from snn_train import network
from snn_train.data import DataSet
from snn_train.neuron import LIF, SURROGATES, Neuron, fire, rectangle, sech2, triangle
from snn_train.progress import Progress
from snn_train.spike_budget import SpikeBudget
from snn_train.stage import Stage
from snn_train.state import Run
from snn_train.training import train_run

Float64 = npt.NDArray[np.float64]
CHANNELS = 3


def paper(current: Float64, leak: float, theta: Float64) -> tuple[Float64, float]:
    """Spikes `(T, B, C)` of V[t] = λ V[t−1] + I[t], and how near V came to θ."""
    membrane, spikes, nearest = np.zeros(current.shape[1:]), np.zeros(current.shape), np.inf
    for t in range(len(current)):
        membrane = leak * membrane + current[t]
        nearest = min(nearest, float(np.abs(membrane - theta).min()))
        spikes[t] = membrane > theta
        membrane = membrane - theta * spikes[t]
    return spikes, nearest


def ours(current: Float64, leak: float, theta: Float64) -> Float64:
    neuron = LIF(len(theta), "triangle").double()
    with torch.no_grad():
        neuron.leak.fill_(leak)
        neuron.threshold.copy_(torch.from_numpy(theta))
        spikes: Float64 = neuron(torch.from_numpy(current) * neuron.threshold.reciprocal()).numpy()
    return spikes


def currents(elements: st.SearchStrategy[Any]) -> st.SearchStrategy[Float64]:
    shapes = st.tuples(st.integers(1, 5), st.integers(1, 4), st.just(CHANNELS))
    return shapes.flatmap(lambda shape: arrays.arrays(np.float64, shape, elements=elements))


def thresholds(elements: st.SearchStrategy[Any]) -> st.SearchStrategy[Float64]:
    shapes = st.sampled_from([1, CHANNELS])  # one a layer, or one a channel
    return shapes.flatmap(lambda count: arrays.arrays(np.float64, count, elements=elements))


@given(
    currents(st.integers(-32, 32).map(lambda n: n / 8)),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    thresholds(st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0])),
)
def test_spikes_are_the_papers_where_no_number_is_rounded(
    current: Float64, leak: float, theta: Float64
) -> None:
    # On this grid every membrane is exact, and many lie exactly at their threshold.
    np.testing.assert_array_equal(ours(current, leak, theta), paper(current, leak, theta)[0])


@given(currents(st.floats(-3, 3)), st.floats(0, 1), thresholds(st.floats(0.05, 3)))
def test_spikes_are_the_papers_off_the_thresholds(
    current: Float64, leak: float, theta: Float64
) -> None:
    spikes, nearest = paper(current, leak, theta)
    assume(nearest > 1e-9)
    np.testing.assert_array_equal(ours(current, leak, theta), spikes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_membrane_at_its_threshold_stays_silent_and_the_next_above_fires(
    dtype: torch.dtype,
) -> None:
    one, two = torch.ones(1, dtype=dtype), torch.full((1,), 2.0, dtype=dtype)
    membranes = torch.cat([torch.nextafter(one, -two), one, torch.nextafter(one, two)])
    assert fire(membranes, "triangle").tolist() == [0, 0, 1]
    assert LIF(1, "triangle")(membranes[None])[0].tolist() == [0, 0, 1]


@given(st.floats(2**-9, 2**20, width=32))
def test_a_current_equal_to_any_threshold_stays_silent(theta: float) -> None:
    threshold = torch.tensor([theta])
    assert LIF(1, "triangle")(threshold[None] * threshold.reciprocal()).sum() == 0


SLOPES: dict[str, Callable[[Tensor], Tensor]] = {
    "triangle": lambda u: 0.3 * torch.relu(1 - u.abs()),
    "rectangle": lambda u: 0.5 * (u.abs() < 1),
    "tanh": lambda u: 0.5 / u.cosh() ** 2,
}


class Step(torch.autograd.Function):
    """1 where u > 0, as the authors write it."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, slope: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(u)
        ctx.slope = slope
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.slope(ctx.saved_tensors[0]), None


def authors(current: Tensor, leak: Tensor, theta: Tensor, surrogate: str) -> Tensor:
    """V in its own units; the spike that resets it is a constant, its threshold is not."""
    membrane, spikes = torch.zeros_like(current[0]), []
    for each in current:
        membrane = leak * membrane + each
        spike: Tensor = Step.apply(membrane / theta - 1, SLOPES[surrogate])  # type: ignore[no-untyped-call]  # as in torch
        membrane = membrane - theta * spike.detach()
        spikes.append(spike)
    return torch.stack(spikes)


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("count", [1, CHANNELS])
@pytest.mark.parametrize("timesteps", [1, 2, 5])
def test_gradients_are_those_of_the_authors_form(
    surrogate: str, count: int, timesteps: int
) -> None:
    generator = torch.Generator().manual_seed(timesteps)
    current = torch.randn(timesteps, 40, CHANNELS, generator=generator, dtype=torch.float64)
    wanted = torch.randn(current.shape, generator=generator, dtype=torch.float64)
    theta = torch.rand(count, generator=generator, dtype=torch.float64) + 0.3
    leak = torch.tensor([0.8], dtype=torch.float64)

    inputs = [x.clone().requires_grad_() for x in (current, leak, theta)]
    expected_spikes = authors(inputs[0], inputs[1], inputs[2], surrogate)
    expected = torch.autograd.grad((expected_spikes * wanted).sum(), inputs, allow_unused=True)

    neuron = LIF(count, surrogate).double()
    with torch.no_grad():
        neuron.leak.copy_(leak)
        neuron.threshold.copy_(theta)
    drive = current.requires_grad_()
    spikes = neuron(drive * neuron.threshold.reciprocal())
    assert torch.equal(spikes, expected_spikes)
    (spikes * wanted).sum().backward()
    torch.testing.assert_close(drive.grad, expected[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(neuron.threshold.grad, expected[2], rtol=1e-12, atol=1e-12)
    assert neuron.threshold.grad is not None and bool(neuron.threshold.grad.all())
    if timesteps == 1:  # λ multiplies a membrane of zero
        assert neuron.leak.grad is None and not expected[1].any()
    else:
        torch.testing.assert_close(neuron.leak.grad, expected[1], rtol=1e-12, atol=1e-12)


def test_surrogates_have_their_published_values() -> None:
    u = torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.25, 1.0, 3.0], dtype=torch.float64)
    before = u.clone()
    torch.testing.assert_close(
        triangle(u), torch.tensor([0, 0, 0.15, 0.3, 0.225, 0, 0], dtype=torch.float64)
    )
    assert rectangle(u).tolist() == [0, 0, 0.5, 0.5, 0.5, 0, 0]
    torch.testing.assert_close(sech2(u), 0.5 / u.cosh() ** 2)
    assert torch.equal(u, before)  # they work in place, but not on what they are given


@pytest.mark.parametrize(("name", "area"), [("triangle", 0.3), ("rectangle", 1), ("tanh", 1)])
def test_surrogates_have_their_area(name: str, area: float) -> None:
    u = torch.linspace(-20, 20, 400_001, dtype=torch.float64)
    assert float(torch.trapezoid(SURROGATES[name](u), u)) == pytest.approx(area, rel=1e-4)


def test_clamp_keeps_leaks_and_thresholds_in_range() -> None:
    neuron = LIF(4, "triangle")
    with torch.no_grad():
        neuron.threshold.copy_(torch.tensor([-1.0, 0.0, 0.5, 9.0]))
    for leak, kept in ((-0.1, 0.0), (0.7, 0.7), (1.3, 1.0)):
        with torch.no_grad():
            neuron.leak.fill_(leak)
        neuron.clamp()
        assert neuron.leak.item() == pytest.approx(kept)
    assert neuron.threshold.tolist() == pytest.approx([1e-3, 1e-3, 0.5, 9.0])


def test_steps_stay_above_zero_so_that_levels_keep_their_order() -> None:
    neuron = LIF(3, "rectangle", 3)
    with torch.no_grad():
        neuron.steps[0].copy_(torch.tensor([-5.0, 0.0, 0.25]))
    neuron.clamp()
    assert neuron.steps[0].tolist() == pytest.approx([1e-3, 1e-3, 0.25])
    assert (neuron.thresholds().diff(dim=0) > 0).all()


@pytest.mark.parametrize("timesteps", [1, 4])
@pytest.mark.parametrize("shape", [(5, CHANNELS), (5, CHANNELS, 2, 3)])
def test_several_levels_are_so_many_neurons_of_one(shape: tuple[int, ...], timesteps: int) -> None:
    """Σ_k [V > θ_k] with θ taken away for each spike, and the sum of the surrogates' slopes."""
    torch.manual_seed(1)
    neuron = LIF(CHANNELS, "tanh", 3).double()
    with torch.no_grad():
        for parameter in (neuron.threshold, *neuron.steps):
            parameter.uniform_(0.3, 1.2)
    current = (2 * torch.randn(timesteps, *shape).double()).requires_grad_()
    theta = neuron.threshold.view(-1, *[1] * (len(shape) - 2))
    spikes = neuron(current / theta)
    assert set(spikes.flatten().tolist()) == {0, 1, 2, 3}
    levels = [torch.zeros_like(theta)]
    for step in neuron.steps:
        levels.append(levels[-1] + step.view_as(theta))
    membrane = torch.zeros(shape).double()
    expected: list[Tensor] = []
    slopes: list[Tensor] = []
    for each in current / theta:
        membrane = membrane + each  # the leak is 1 at first
        each_slope = torch.stack([sech2(membrane - 1 - level) for level in levels])
        slopes.append(each_slope.sum(0).detach())
        expected.append(torch.stack([membrane > 1 + level for level in levels]).double().sum(0))
        membrane = membrane - expected[-1]
    assert torch.equal(spikes, torch.stack(expected))
    spikes[-1].sum().backward()
    assert current.grad is not None
    # The last current moves the last membrane alone, by 1/θ.
    torch.testing.assert_close(current.grad[-1], slopes[-1] / theta.detach())
    last = sech2(membrane.detach() + expected[-1] - 1 - levels[2].detach())
    dims = [0, *range(2, len(shape))]
    torch.testing.assert_close(neuron.steps[1].grad, -last.sum(dims))


def test_an_unknown_surrogate_is_refused() -> None:
    with pytest.raises(ValueError, match="'sigmoid' is none of triangle, rectangle, tanh"):
        LIF(1, "sigmoid")


class HardReset(Neuron):
    """A neuron of another kind: no leak, and back to 0 after a spike."""

    def over_time(self, drive: Tensor) -> Tensor:
        membrane, spikes = torch.zeros_like(drive[0]), []
        for current in drive:
            membrane = membrane + current
            self.record(membrane)
            spikes.append(fire(membrane, self.surrogate))
            membrane = membrane * (1 - spikes[-1].detach())
        return torch.stack(spikes)


def test_a_neuron_of_another_kind_brings_its_dynamics_and_nothing_else(
    new_run: Callable[..., Run],
    tiny_data: DataSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every stage, the Hoyer penalty on its membranes, integers, and what is exported."""
    monkeypatch.setattr(network, "neurons", HardReset)
    monkeypatch.setattr(SpikeBudget, "problem", lambda *_: "")
    stages = (Stage(0, 1), Stage(2, 1), Stage(1, 1), Stage(1, 1, 4))
    run = new_run(tmp_path, stages=stages, spike_rate=0.3, regulariser="hoyer")
    train_run(run, tiny_data, Progress())
    for stage in ("t1", "int4"):
        exported = trained.load(run.checkpoint(stage))
        assert exported.fold() is not None
        assert all(isinstance(p.neuron, HardReset) for p in exported.network.populations())
