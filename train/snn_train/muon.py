"""Muon: momentum whose every update is an orthogonal matrix (Jordan et al. 2024).

    M ← β M + G          U = orthogonalised(G + β M)          W ← W · √O / ‖W‖_F − η U

for a weight W of O rows, a convolution's kernels being its rows. Orthogonalising is three steps of
a quintic Newton-Schulz iteration on the singular values, σ ↦ a σ + b σ³ + c σ⁵, which drives them
towards 1; it need not be exact, and is bfloat16's where the network is. The norm of W is held at
√O, as in airbench: behind a normalisation it sets nothing but the relative size of the step.
torch.optim.Muon takes matrices only, no convolutions.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snn_train.choices import Precision

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 3
ADAMW_FACTOR = 0.04
"""On the learning rate of what AdamW updates: 0.002 beside 0.05."""
MOMENTUM = 0.9
"""β"""


class Muon(torch.optim.AdamW):
    """Muon for groups marked `orthogonal`, AdamW for the others, under one state.

    An orthogonal group holds weights of two axes or more with a normalisation behind them. ‖U‖ is
    about √min(O, I), so 0.05 is a usual peak for its learning rate.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        lr: float,
        precision: Precision = "float32",
        **of_adamw: Any,
    ) -> None:
        super().__init__(groups, lr, **of_adamw)
        self.dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        """What updates are made orthogonal in."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # closures are not evaluated here
        """Take one step along the gradients."""
        for group in self.param_groups:
            for alike in _of_one_shape(group["params"]) if group.get("orthogonal") else ():
                self._turn(alike, group["lr"])
        super().step()  # which passes over what has no gradient any more

    def _turn(self, weights: list[Tensor], rate: float) -> None:
        """Update weights of one shape, orthogonalised together: a GPU is quick with each, but slow
        to be told so."""
        updates = torch.stack([self._pushed(weight) for weight in weights])
        directions = orthogonalised(updates.flatten(2).to(self.dtype)).reshape(updates.shape)
        for weight, direction in zip(weights, directions, strict=True):
            weight.mul_(len(weight) ** 0.5 / weight.norm())
            weight.add_(direction, alpha=-rate)
            weight.grad = None

    def _pushed(self, weight: Tensor) -> Tensor:
        """Let the gradient push the momentum; return G + β M."""
        state, gradient = self.state[weight], weight.grad
        assert gradient is not None
        if not state:
            state["momentum"] = torch.zeros_like(weight)
            state["step"] = torch.zeros(())  # AdamW expects one when a state is loaded
        momentum: Tensor = state["momentum"].mul_(MOMENTUM).add_(gradient)
        return momentum.mul(MOMENTUM).add_(gradient)


def _of_one_shape(weights: list[Tensor]) -> list[list[Tensor]]:
    """Those that have a gradient, sorted out by shape."""
    found: dict[torch.Size, list[Tensor]] = {}
    for weight in weights:
        if weight.grad is not None:
            found.setdefault(weight.shape, []).append(weight)
    return list(found.values())


def orthogonalised(matrices: Tensor) -> Tensor:
    """Return matrices `(N, O, I)`, each with all its singular values brought near 1.

    A step is X ← (a 1 + b G + c G²) X of G = X Xᵀ. Kernels have many times as many weights as there
    are channels, so X itself is read twice, for G and at the end, and the steps change G alone:

        F = a 1 + b G + c G²        Q ← F Q        G ← F G F        X ← Q X
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    norms = torch.linalg.vector_norm(matrices, dim=(1, 2), keepdim=True)
    x: Tensor = (matrices.mT if tall else matrices) / (norms + 1e-7)
    gram, product = torch.bmm(x, x.mT), None
    for step in range(STEPS):
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal(dim1=1, dim2=2).add_(a)
        product = factor if product is None else torch.bmm(factor, product)
        if step + 1 < STEPS:
            gram = torch.bmm(torch.bmm(factor, gram), factor)
    assert product is not None
    x = torch.bmm(product, x)
    return x.mT.contiguous() if tall else x
