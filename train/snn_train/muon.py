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
            for weight in group["params"] if group.get("orthogonal") else ():
                if weight.grad is not None:
                    self._turn(weight, group["lr"])
                    weight.grad = None  # so that AdamW passes over it
        super().step()

    def _turn(self, weight: Tensor, rate: float) -> None:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
            state["step"] = torch.zeros(())  # AdamW expects one when a state is loaded
        momentum = state["momentum"].mul_(MOMENTUM).add_(weight.grad)
        update = momentum.mul(MOMENTUM).add_(weight.grad)
        weight.mul_(len(weight) ** 0.5 / weight.norm())
        direction = orthogonalised(update.reshape(len(weight), -1).to(self.dtype))
        weight.add_(direction.reshape(weight.shape), alpha=-rate)


def orthogonalised(matrix: Tensor) -> Tensor:
    """Return the matrix with all its singular values brought near 1."""
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = (matrix.T if tall else matrix) / (matrix.norm() + 1e-7)
    for _ in range(STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T.contiguous() if tall else x
