"""Muon's update is orthogonal, and the rest of the network is AdamW's."""

from typing import Any

import pytest
import torch

from snn_train.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(8, 8), (6, 27), (64, 9)])
def test_singular_values_follow_the_iteration(shape: tuple[int, int]) -> None:
    """σ ↦ a σ + b σ³ + c σ⁵, three times, written out for the numbers alone."""
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(3)).double()
    values = torch.linalg.svdvals(matrix) / (matrix.norm() + 1e-7)
    for _ in range(3):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    found = torch.linalg.svdvals(orthogonalised(matrix[None])[0])
    torch.testing.assert_close(found, values.sort(descending=True).values)


def test_orthogonalising_keeps_the_singular_vectors() -> None:
    matrix = torch.randn(5, 12, generator=torch.Generator().manual_seed(4))
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.T @ orthogonalised(matrix[None])[0] @ right.T
    off_diagonal = turned - torch.diag(turned.diagonal())
    assert float(off_diagonal.abs().max()) < 1e-5
    assert (turned.diagonal() > 0).all() and (values > 0).all()


def test_the_first_step_is_the_formula() -> None:
    weight = torch.nn.Parameter(torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(5)))
    before = weight.detach().clone()
    optimiser = Muon([{"params": [weight], "orthogonal": True}], lr=0.1)
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(6))
    gradient = weight.grad.clone()
    optimiser.step()
    direction = orthogonalised((1.9 * gradient).reshape(1, 4, 27)).reshape(before.shape)
    expected = before * (2 / before.norm()) - 0.1 * direction
    torch.testing.assert_close(weight.detach(), expected)


def test_weights_of_one_shape_are_turned_as_each_alone() -> None:
    def made() -> list[torch.nn.Parameter]:
        generator = torch.Generator().manual_seed(9)
        weights = []
        for shape in [(4, 3, 3, 3), (6, 5), (4, 3, 3, 3), (4, 3, 3, 3), (9, 2)]:
            weights.append(torch.nn.Parameter(torch.randn(shape, generator=generator)))
            weights[-1].grad = torch.randn(shape, generator=generator)
        return weights

    together, alone = made(), made()
    Muon([{"params": together, "orthogonal": True}], 0.1).step()
    for weight in alone:
        Muon([{"params": [weight], "orthogonal": True}], 0.1).step()
    for first, second in zip(together, alone, strict=True):
        torch.testing.assert_close(first, second)


def test_other_groups_are_stepped_by_adamw() -> None:
    parameters = [torch.nn.Parameter(torch.tensor([0.5, -1.0])) for _ in range(2)]
    mixed = Muon([{"params": parameters[:1]}], lr=0.01, weight_decay=0.1)
    plain = torch.optim.AdamW(parameters[1:], lr=0.01, weight_decay=0.1)
    for step in range(3):
        for parameter in parameters:
            parameter.grad = torch.tensor([1.0, float(step)])
        mixed.step()
        plain.step()
    assert torch.equal(*parameters)


def test_a_saved_state_goes_on_to_the_same_bits() -> None:
    def made() -> tuple[list[torch.nn.Parameter], Muon]:
        generator = torch.Generator().manual_seed(7)
        weights = [torch.nn.Parameter(torch.randn(6, 9, generator=generator)) for _ in range(2)]
        groups: list[dict[str, Any]] = [
            {"params": weights[:1], "orthogonal": True},
            {"params": weights[1:]},
        ]
        return weights, Muon(groups, lr=0.05)

    def step(weights: list[torch.nn.Parameter], optimiser: Muon, seed: int) -> None:
        for weight in weights:
            weight.grad = torch.randn(6, 9, generator=torch.Generator().manual_seed(seed))
        optimiser.step()

    whole, optimiser = made()
    for seed in range(4):
        step(whole, optimiser, seed)
    first, begun = made()
    for seed in range(2):
        step(first, begun, seed)
    second, resumed = made()
    for old, new in zip(first, second, strict=True):
        new.data.copy_(old.data)
    resumed.load_state_dict(begun.state_dict())
    for seed in range(2, 4):
        step(second, resumed, seed)
    assert all(torch.equal(a, b) for a, b in zip(whole, second, strict=True))


def test_in_bfloat16_the_update_is_orthogonal_all_the_same() -> None:
    weight = torch.nn.Parameter(torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(8)))
    before, gradient = weight.detach().clone(), torch.randn_like(weight)
    optimiser = Muon([{"params": [weight], "orthogonal": True}], 0.1, "bfloat16")
    weight.grad = gradient.clone()
    optimiser.step()
    exact = orthogonalised((1.9 * gradient).reshape(1, 4, 27)).reshape(before.shape)
    taken = (before * (2 / before.norm()) - weight.detach()) / 0.1
    assert weight.dtype == torch.float32
    torch.testing.assert_close(taken, exact, rtol=0, atol=0.05)


def test_in_bfloat16_small_singular_values_grow_as_they_should() -> None:
    """Whose squares are lost in the rounding of X Xᵀ."""
    generator = torch.Generator().manual_seed(10)
    left, _, right = torch.linalg.svd(torch.randn(96, 864, generator=generator), False)
    matrix = (left * torch.logspace(0, -4, 96)) @ right
    exact = orthogonalised(matrix[None].double())[0]
    rounded = orthogonalised(matrix[None].bfloat16())[0].double()
    assert float((rounded - exact).norm() / exact.norm()) < 0.05
