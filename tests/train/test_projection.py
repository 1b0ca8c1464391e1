"""Integer currents: exact sums, and gradients with the digits that their type has."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snn_train.projection import project

GEOMETRIES = [
    # (side of the kernel, stride, padding, height and width of the map)
    (3, 1, 1, (9, 9)),
    (3, 2, 1, (9, 8)),
    (4, 2, 1, (8, 8)),
    (4, 2, 1, (2, 2)),
    (3, 2, 1, (5, 1)),  # one pixel wide: no stride across it
    (3, 2, 1, (1, 1)),
    (1, 1, 0, (6, 6)),
    (1, 2, 0, (7, 6)),
    (5, 3, 2, (11, 10)),
]


def gradients(
    synapse: nn.Conv2d | nn.Linear | None, weight: Tensor, values: Tensor, lower: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """The current, and the gradients of values and weights for a fixed one of the current."""
    values, weight = values.clone().requires_grad_(), weight.clone().requires_grad_()
    current = project(synapse, weight, values, lower)
    generator = torch.Generator().manual_seed(5)
    current.backward(torch.randn(current.shape, generator=generator))  # type: ignore[no-untyped-call]  # torch leaves backward untyped
    assert values.grad is not None and weight.grad is not None
    return current.detach(), values.grad, weight.grad


def integers(*shape: int, most: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(-most, most + 1, shape, generator=generator).float()


@pytest.mark.parametrize(("kernel", "stride", "padding", "size"), GEOMETRIES)
@pytest.mark.parametrize("most", [2, 255])
def test_the_current_is_exact_and_its_gradients_have_the_digits_of_bfloat16(
    kernel: int, stride: int, padding: int, size: tuple[int, int], most: int
) -> None:
    synapse = nn.Conv2d(24, 40, kernel, stride, padding, bias=False)
    weight = integers(40, 24, kernel, kernel, most=127)
    values = integers(16, 24, *size, most=most)
    across = 1 if size[1] == 1 else stride
    expected = F.conv2d(values.double(), weight.double(), None, (stride, across), padding)
    exact = gradients(synapse, weight, values, torch.float32)
    near = gradients(synapse, weight, values, torch.bfloat16)
    for found in (exact[0], near[0]):
        assert torch.equal(found.double(), expected)
    for ours, theirs in zip(near[1:], exact[1:], strict=True):
        assert ours.dtype == torch.float32 and ours.shape == theirs.shape
        error, norm = float((ours - theirs).norm()), float(theirs.norm())
        assert 0 < error <= 2**-7 * norm


def test_pixels_need_no_gradient() -> None:
    synapse, pixels = nn.Conv2d(3, 8, 3, padding=1, bias=False), integers(4, 3, 6, 6, most=255)
    weight = integers(8, 3, 3, 3, most=7).requires_grad_()
    project(synapse, weight, pixels, torch.bfloat16).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped
    assert weight.grad is not None and pixels.grad is None


@pytest.mark.parametrize("synapse", [nn.Linear(36, 5), None])
def test_other_projections_are_float32_throughout(synapse: nn.Linear | None) -> None:
    weight = integers(5, 36, most=127) if synapse else integers(9, 1, 1, 1, most=127)
    values = integers(6, 9, 2, 2, most=2)
    for ours, theirs in zip(
        gradients(synapse, weight, values, torch.bfloat16),
        gradients(synapse, weight, values, torch.float32),
        strict=True,
    ):
        assert torch.equal(ours, theirs)
