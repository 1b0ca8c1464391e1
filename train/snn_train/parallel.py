"""The machine: a device, threads, and several processes, as torchrun starts them.

Every process holds the whole data set and the whole network, draws the same random numbers for a
whole batch, and computes a part of it. Gradients are averaged by DistributedDataParallel, the
statistics of normalisations are those of the whole batch, and whatever is decided (stop, keep,
retry) is decided from sums over all processes, so that all decide alike. Only the first one writes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from snn_runtime.errors import DeviceError, ResourceError, SnnError, UsageError
from snn_train.events.library import cannot_compile
from snn_train.threads import compute_with


@dataclass(frozen=True)
class Machine:
    """Where and how to compute. It changes no result, but for roundings; parts of a batch change
    what normalisations see, and what dropout draws."""

    device: str = "auto"
    """`auto` takes a GPU if torch can use one; `cpu`, `cuda`, `cuda:1`."""
    threads: int | None = None
    """Threads of the processor; None takes all available, or what a resumed run began with."""
    micro_batch: int | None = None
    """Images computed at once; None halves a batch when memory runs out."""
    compiled: bool | None = None
    """Whether steps are compiled, and by events on a processor, to be faster; None: where a resumed
    run began so."""


AUTOMATIC = Machine()


@dataclass(frozen=True)
class Team:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """This process's part of `count` pictures; all parts are of one size."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def sum(self, values: Tensor) -> Tensor:
        """Add up over all processes."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def mean(self, values: Tensor) -> Tensor:
        return self.sum(values) / self.size

    def first(self, value: float) -> float:
        """The first process's value, for all to decide by."""
        return float(self.sum(torch.tensor(value * self.leads, dtype=torch.float64)))

    def any(self, *answers: bool) -> tuple[bool, ...]:
        """For every question, whether any process says yes."""
        return tuple(bool(count) for count in self.sum(torch.tensor(answers, dtype=torch.int32)))

    def wait(self) -> None:
        """Until all have come this far."""
        self.any(False)


ALONE = Team()


def distribute(model: nn.Module, team: Team, unused_parameters: bool) -> nn.Module:
    """Return the model, its gradients averaged over all processes in every backward pass.

    Args:
        unused_parameters: whether some have no gradient.
    """
    if team.size == 1:
        return model
    return DistributedDataParallel(model, find_unused_parameters=unused_parameters)


@contextmanager
def joined(machine: Machine) -> Iterator[tuple[Team, torch.device]]:
    """This process's team and device, with so many threads.

    Raises:
        ResourceError: `peer_lost`: another process of the team ended.
        DeviceError: `cannot_compile`: what compiles steps for this device is not here, or fails.
        SnnError: as `join`.
    """
    team, device = join(machine.device)
    try:
        compute_with(machine.threads)
        yield team, device
    except RuntimeError as error:  # gloo and NCCL have no class of their own in every version
        if _is_of_compiling(error):
            raise cannot_compile(
                str(error).splitlines()[0],
                "install a C++ compiler for a processor, Triton for a GPU",
            ) from error
        if team.size == 1 or isinstance(error, SnnError) or " by peer" not in str(error):
            raise
        raise ResourceError(
            "peer_lost",
            "another process of this run ended, and says why; go on with --resume, or let torchrun "
            "do it (--max-restarts)",
        ) from error
    finally:
        leave(team)


def _is_of_compiling(error: RuntimeError) -> bool:
    """Known by name: torch._dynamo, whose errors these are, is loaded only where it compiles."""
    return any(each.__name__ == "TorchDynamoException" for each in type(error).__mro__)


def join(name: str) -> tuple[Team, torch.device]:
    """Return this process's team, as torchrun's environment says, and its device.

    Args:
        name: `auto`, which takes a GPU if torch can use one, `cpu`, `cuda` or `cuda:1`.

    Raises:
        UsageError: `bad_flag`: another name, or a device that all processes would share.
        DeviceError: `no_device`: torch does not see it.
        ResourceError: `peer_lost`: the others are not all there.
    """
    device = _device(name)
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
    _left.clear()
    # Decisions travel between processors, gradients between GPUs.
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    except RuntimeError as error:
        raise ResourceError(
            "peer_lost", f"the processes of this run do not reach each other: {error}"
        ) from error
    return Team(dist.get_rank(), dist.get_world_size()), device


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError("bad_flag", f"--device {name}: expected auto, cpu or cuda") from error
    if device.type not in ("cpu", "cuda"):
        raise UsageError("bad_flag", f"--device {name}: expected auto, cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise DeviceError("no_device", f"--device {name}: torch sees {count} CUDA devices")
    return device


_left: list[dist.ProcessGroup] = []
"""The group that was left last; there until the next one, or the end of the process.

Its destructor waits for its threads, and one of them may still wait for the GIL, to let go of the
last tensor. Python's own reference gives the GIL up meanwhile. DistributedDataParallel's does not:
were that the last one, as where an exception keeps the network a little longer, both would wait for
ever."""


def leave(team: Team) -> None:
    """End what `join` began."""
    if team.size > 1 and (world := dist.group.WORLD):
        _left.append(world)
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
