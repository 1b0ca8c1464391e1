"""Training in several processes, as torchrun starts them; each computes its share of every batch.

Every process holds the whole data set and the whole network, draws the same random numbers for a
whole batch, and computes a share of it. Gradients are averaged by DistributedDataParallel, the
statistics of normalisations are those of the whole batch, and whatever is decided (stop, keep,
retry) is decided from sums over all processes, so that all decide alike. Only the first one writes.
"""

import os
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from snn_runtime.errors import UsageError


@dataclass(frozen=True)
class Team:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """This process's part of `count` pictures; all parts are alike."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def sum(self, values: Tensor) -> Tensor:
        """Add up over all processes."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def mean(self, values: Tensor) -> Tensor:
        return self.sum(values) / self.size

    def any(self, *answers: bool) -> tuple[bool, ...]:
        """For every question, whether any process says yes."""
        return tuple(bool(count) for count in self.sum(torch.tensor(answers, dtype=torch.int32)))

    def wait(self) -> None:
        """Until all have come this far."""
        self.any(False)


ALONE = Team()


def join(device: torch.device) -> tuple[Team, torch.device]:
    """Return this process's team and device, as torchrun's environment says.

    Raises:
        UsageError: `bad_flag`: a device that all processes would share.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE, device
    if device.type == "cuda":
        if device.index is not None:
            raise UsageError(
                "bad_flag",
                f"--device {device}: each process has a GPU of its own, expected cuda or auto",
            )
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    # Decisions travel between processors, gradients between GPUs.
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    return Team(dist.get_rank(), dist.get_world_size()), device


def leave(team: Team) -> None:
    """End what `join` began."""
    if team.size > 1:
        dist.destroy_process_group()


class _Sum(torch.autograd.Function):
    """The sum over all processes, of values on the way there and of gradients on the way back."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _summed(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _summed(gradients[0])


def _summed(values: Tensor) -> Tensor:
    values = values.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(values)
    return values


def together() -> bool:
    """Whether this process trains with others."""
    return dist.is_initialized() and dist.get_world_size() > 1


def moments(x: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return each channel's mean and (biased) variance of `(N, C, …)` over all processes, `[C]`
    each, and over how many values. Differentiable; every process holds as many values.

        μ = Σ μᵣ / R        σ² = Σ (σᵣ² + μᵣ²) / R − μ²
    """
    axes = [0, *range(2, x.dim())]
    variance, mean = torch.var_mean(
        x.to(torch.promote_types(x.dtype, torch.float32)), axes, correction=0
    )
    size = dist.get_world_size()
    sums: Tensor = _Sum.apply(torch.stack([mean, variance + mean.square()]))  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    mean, square = sums / size
    return mean, (square - mean.square()).clamp_min(0), size * x.numel() // x.shape[1]
