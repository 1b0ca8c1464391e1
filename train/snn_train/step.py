"""One step of training, in the order in which things happen.

    rate       η, from the schedule
    forward    logits of the student, and of the teacher where there is one
    loss       L = (1 − α) CE(logits, label) + α τ² KL(teacher/τ ‖ logits/τ)
               or the sum of (1 − s) L for one label and s L for another, of two pictures mixed
    penalty    P = g Ω / w, where spikes have a budget
    backward   ∇ Σ_parts n_part / n (L + P)
    update     w ← w − η · what the optimiser makes of the gradient
    clamp      leaks to [0, 1], thresholds above 0
    average    a ← d a + (1 − d) w, where one is kept

A batch that memory does not hold at once is computed in parts: their gradients add up to that of
the whole, only normalisations see a part at a time.
"""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from snn_runtime.errors import ResourceError
from snn_train import average
from snn_train.batches import Batch
from snn_train.network import SpikingNetwork
from snn_train.parallel import Team, distribute
from snn_train.recipe import Recipe
from snn_train.schedule import learning_rate
from snn_train.spike_budget import start_recording
from snn_train.state import Run

TEMPERATURE = 2.0
"""τ: softens both outputs in distillation (Hinton et al. 2015)."""
SMALLEST_PART = 2
"""Normalisation needs more than one picture."""


def step(
    run: Run, student: nn.Module, teacher: nn.Module | None, batch: Batch, done: int, total: int
) -> Tensor:
    """Take one step and return the mean loss and the accuracy, before it, of this process's part of
    the batch, float64 `(2,)`.

    Args:
        student: the run's network, or what compiles or distributes it.
        teacher: whose logits are learnt beside the labels; None where nothing is distilled, or
            the batch brings them.
        batch: this process's part, images `(B, 3, H, W)` normalised, labels int64 `(B,)`.
        done: steps of the stage before this one.
        total: steps of the stage.

    Raises:
        OutOfMemory: the gradient did not fit into memory; no weight has been changed yet, only
            normalisations, and a budget of spikes, have seen pictures.
    """
    network, recipe, optimiser, budget = run.network, run.recipe, run.optimiser, run.active_budget
    size = len(batch.labels)
    measured = torch.zeros(2, dtype=torch.float64, device=batch.images.device)
    rate = learning_rate(recipe, run.stage, done, total, run.position.attempt)
    for group in optimiser.param_groups:
        group["lr"] = rate * group["lr_factor"]
    optimiser.zero_grad(set_to_none=True)
    seed_devices(run.dropout_seed())
    with _watching_memory():
        for part in parts(size, run.micro_batch or size):
            images, labels = batch.images[part], batch.labels[part]
            with _gradients_exchanged(student, last=part.stop == size):
                if budget is not None:
                    start_recording(network, recipe.regulariser)
                logits = forward(student, images, recipe)
                wanted = teacher_logits(teacher, batch, part, recipe)
                lost = [loss_of(logits, y, wanted, recipe, w) for y, w in targets(batch, part)]
                loss = cost = torch.stack(lost).sum()
                if budget is not None:  # which the first part speaks to for all of them
                    cost = loss + budget.penalty(network, run.team, done, total, part.start == 0)
                (cost * (len(labels) / size)).backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped
            right = (logits.detach().argmax(1) == labels).float().mean()
            measured += torch.stack([loss.detach(), right]) * (len(labels) / size)
    optimiser.step()
    network.clamp()
    if run.average is not None and recipe.ema is not None:
        average.follow(run.average, network, recipe.ema, done)
    return measured


def as_called(
    network: SpikingNetwork, teacher: nn.Module | None, team: Team, compiled: bool
) -> tuple[nn.Module, nn.Module | None]:
    """Return both as a step calls them: compiled if that is wanted, the student distributed."""
    student: nn.Module = network
    if compiled:
        student = network.compiled()
        teacher = torch.compile(teacher) if teacher is not None else None  # type: ignore[assignment]  # a module of the same kind
    # At T = 1 nothing reaches a leak, and in the ANN no threshold.
    return distribute(student, team, unused_parameters=network.timesteps < 2), teacher


def seed_devices(seed: int) -> None:
    """Seed the generators that layers draw from. torch.manual_seed, at every step, would also write
    down the stack for GPUs that are not in use."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)


def forward(model: nn.Module, images: Tensor, recipe: Recipe) -> Tensor:
    """Return logits `(B, classes)` in float32 or more, computed in the recipe's precision."""
    bfloat16 = recipe.precision == "bfloat16"
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
        logits: Tensor = model(images).float()
    return logits


@torch.no_grad()
def teacher_logits(
    teacher: nn.Module | None, batch: Batch, part: slice, recipe: Recipe
) -> Tensor | None:
    """Return the teacher's logits for part of a batch, or None without one."""
    if batch.teacher_logits is not None:
        return batch.teacher_logits[part]
    return None if teacher is None else forward(teacher, batch.images[part], recipe)


def targets(batch: Batch, part: slice) -> list[tuple[Tensor, Tensor | None]]:
    """Return the labels of part of a batch and how much each counts, `(B,)`: one pair, or one for
    each of the two pictures that are mixed."""
    labels, weights = batch.labels[part], None if batch.weights is None else batch.weights[part]
    if batch.second is None:
        return [(labels, weights)]
    share, others = batch.second.share[part], batch.second.labels[part]
    mine, theirs = 1 - share, share
    if weights is not None and batch.second.weights is not None:
        mine, theirs = mine * weights, theirs * batch.second.weights[part]
    return [(labels, mine), (others, theirs)]


def loss_of(
    logits: Tensor,
    labels: Tensor,
    wanted: Tensor | None,
    recipe: Recipe,
    weights: Tensor | None = None,
) -> Tensor:
    """(1 − α) CE(logits, label) + α τ² KL(wanted/τ ‖ logits/τ), α the recipe's distillation; the
    mean over pictures, each times its weight if there are `weights`, `(B,)`."""
    how = "mean" if weights is None else "none"
    loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing, reduction=how)
    if wanted is not None:
        divergence = F.kl_div(
            F.log_softmax(logits / TEMPERATURE, 1),
            F.log_softmax(wanted / TEMPERATURE, 1),
            reduction="batchmean" if weights is None else "none",
            log_target=True,
        )
        divergence = divergence if weights is None else divergence.sum(1)
        alpha = recipe.distillation
        loss = (1 - alpha) * loss + alpha * TEMPERATURE**2 * divergence
    return loss if weights is None else (loss * weights).mean()


# Memory


class OutOfMemory(Exception):
    """The gradient of a part did not fit into memory."""


def parts(count: int, size: int) -> list[slice]:
    """Cut `count` pictures into parts of about `size`, as alike as can be."""
    number = max(1, min(math.ceil(count / size), count // SMALLEST_PART))
    return [slice(i * count // number, (i + 1) * count // number) for i in range(number)]


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch failed to allocate memory, on any device."""
    signs = ("can't allocate memory", "not enough memory", "ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(s in str(error) for s in signs)


@contextmanager
def _watching_memory() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch's own class is one; a CPU's allocator raises no other
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory from error


def _gradients_exchanged(student: nn.Module, last: bool) -> AbstractContextManager[object]:
    """Processes exchange gradients once a step, after the last part."""
    if isinstance(student, DistributedDataParallel) and not last:
        return student.no_sync()
    return nullcontext()


def step_in_parts(
    run: Run, student: nn.Module, teacher: nn.Module | None, batch: Batch, done: int, total: int
) -> tuple[Tensor, str]:
    """Take one step, in smaller and smaller parts until memory suffices; return what `step` does,
    and a message where parts became smaller.

    Raises:
        ResourceError: `out_of_memory`: memory does not suffice for the smallest ones.
    """
    note = ""
    while True:
        try:
            return step(run, student, teacher, batch, done, total), note
        except OutOfMemory:
            pass  # by now whatever the failed try held is free
        note = halve_parts(run, len(batch.labels))


def halve_parts(run: Run, count: int) -> str:
    """Let the run compute half as many of `count` pictures at once; returns a message.

    Raises:
        ResourceError: `out_of_memory`: there is no smaller part, or others wait for this process.
    """
    tried = min(run.micro_batch or count, count)
    advice = f"ran out of memory with {tried} pictures at once"
    if run.team.size > 1:  # the others already wait for this one's gradients
        raise ResourceError(
            "out_of_memory", f"{advice} a process; resume with --micro-batch {-(-tried // 2)}"
        )
    if tried <= SMALLEST_PART:
        raise ResourceError("out_of_memory", f"{advice}; expected room for that many")
    run.micro_batch = max(SMALLEST_PART, math.ceil(tried / 2))
    run.optimiser.zero_grad(set_to_none=True)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return f"{advice}; the batch goes on in parts of {run.micro_batch}"
