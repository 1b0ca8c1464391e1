"""One step down the gradient: of a whole batch, in as many parts and processes as it takes.

    loss = Σ_parts share · loss(part)        share = the part's pictures / this process's pictures

Gradients of the parts add up, so the step is that of the whole batch; only normalisations see a
part at a time. Where memory does not suffice the parts are halved and the step begun again.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from snn_runtime.errors import ResourceError
from snn_train.augment import Draws, augment
from snn_train.budget import recorded, watch
from snn_train.network import SpikingNetwork
from snn_train.on_disk import Images, ahead
from snn_train.processes import Team
from snn_train.run import Run
from snn_train.schedule import Settings, learning_rate

TEMPERATURE = 2.0
"""Softens both outputs in distillation (Hinton et al. 2015)."""
SMALLEST_PART = 2
"""Normalisation over a batch of one says nothing."""


class Descent:
    """Steps of one stage.

    Args:
        teacher: what is asked for beside the label; None where nothing is distilled.
    """

    def __init__(self, run: Run, teacher: SpikingNetwork | None, compiled: bool = False) -> None:
        self.run = run
        self.model: nn.Module = run.network
        self.teacher: nn.Module | None = teacher
        if compiled and not run.stage.bits:  # whose rounding has to stay export's
            self.model = torch.compile(self.model)  # type: ignore[assignment]  # a module of the same kind
            self.teacher = torch.compile(teacher) if teacher else None  # type: ignore[assignment]  # likewise
        if run.team.size > 1:
            # At T = 1 nothing reaches a leak, and in the ANN no threshold.
            unused = run.stage.timesteps < 2
            self.model = DistributedDataParallel(self.model, find_unused_parameters=unused)

    def step(self, images: Tensor, labels: Tensor, done: int, total: int) -> tuple[Tensor, str]:
        """Take one step on this process's share of a batch, `done` of `total` behind it.

        Args:
            images: normalised, `(B, 3, H, W)`.
            labels: int64, `(B,)`.

        Returns:
            The mean loss, and what there is to say, such as that memory ran out; mostly nothing.

        Raises:
            ResourceError: `out_of_memory`, for parts as small as can be.
        """
        run, note = self.run, ""
        while not self._differentiated(images, labels, done, total):
            note = self._halve(len(images))
        rate = learning_rate(run.experiment.settings, run.stage.timesteps, done, total,
                             run.position.attempt) * run.stage.share  # fmt: skip
        for group in run.optimiser.param_groups:
            group["lr"] = rate * group.get("share", 1.0)
        run.optimiser.step()
        run.network.clamp()
        run.follow(done)
        return self.loss, note

    def _differentiated(self, images: Tensor, labels: Tensor, done: int, total: int) -> bool:
        """Leave the gradient of the whole share behind; False if memory did not suffice."""
        run = self.run
        run.optimiser.zero_grad(set_to_none=True)
        run.seed_dropout()
        self.loss = torch.zeros((), dtype=torch.float64, device=images.device)
        share = len(images)
        try:
            for part in parts(share, run.micro_batch or share):
                with self._alone(part.stop == share):
                    self._add(images[part], labels[part], share, part.start, done, total)
        except RuntimeError as error:  # torch's own class is one; a CPU's allocator raises no other
            if not is_out_of_memory(error):
                raise
            return False
        return True

    def _add(
        self, images: Tensor, labels: Tensor, share: int, start: int, done: int, total: int
    ) -> None:
        """Add a part's gradient to those before it."""
        run, settings = self.run, self.run.experiment.settings
        if run.budget:
            watch(run.network, settings.regulariser)
        with autocast(settings, images.device):
            logits = self.model(images).float()
            wanted = None
            if self.teacher is not None:
                with torch.no_grad():
                    wanted = self.teacher(images).float()
        loss = cost = loss_of(logits, labels, wanted, settings)
        if run.budget:
            penalty, rate = recorded(run.network)
            if start == 0:  # the first part speaks for the others
                run.budget.observe(run.team.mean(rate), done, total)
            cost = loss + run.budget.price() * penalty
        weight = len(images) / share
        (cost * weight).backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped
        self.loss += loss.detach() * weight

    def _alone(self, last: bool) -> AbstractContextManager[object]:
        """Processes exchange gradients once a step, after the last part."""
        if isinstance(self.model, DistributedDataParallel) and not last:
            return self.model.no_sync()
        return nullcontext()

    def _halve(self, share: int) -> str:
        run = self.run
        tried = min(run.micro_batch or share, share)
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


def parts(count: int, size: int) -> list[slice]:
    """Cut `count` pictures into parts of about `size`, as alike as can be."""
    number = max(1, min(math.ceil(count / size), count // SMALLEST_PART))
    return [slice(i * count // number, (i + 1) * count // number) for i in range(number)]


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch could not have the memory it asked for, on whichever device."""
    signs = ("can't allocate memory", "not enough memory", "ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(s in str(error) for s in signs)


def batches(
    run: Run,
    images: Images,
    parts: Sequence[Tensor],
    first: int = 0,
    team: Team | None = None,
) -> Iterator[Tensor]:
    """Yield this process's share of every batch from the `first` on, augmented and normalised.

    Args:
        parts: which pictures each batch is made of, int64 `(B,)`.
        team: who shares the batches; None for those that train together.
    """
    team = team or run.team
    normalisation, chosen = run.experiment.normalisation, run.experiment.settings.augmentation

    def drawn() -> Iterator[tuple[Tensor, Draws]]:
        for step, part in enumerate(parts[first:], first):
            mine = team.share(len(part) - len(part) % team.size)
            draws = Draws.of(chosen, len(part), run.random("augmentation", step))
            yield part[mine], draws.part(mine)

    for pixels, draws in ahead(images, drawn()):
        yield normalisation(augment(pixels, chosen, normalisation.offset, draws))


def loss_of(logits: Tensor, labels: Tensor, wanted: Tensor | None, settings: Settings) -> Tensor:
    """(1 − α) CE(logits, label) + α τ² KL(teacher/τ ‖ logits/τ), α the share of distillation."""
    loss = F.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
    if wanted is None:
        return loss
    divergence = F.kl_div(
        F.log_softmax(logits / TEMPERATURE, 1),
        F.log_softmax(wanted / TEMPERATURE, 1),
        reduction="batchmean",
        log_target=True,
    )
    share = settings.distillation
    return (1 - share) * loss + share * TEMPERATURE**2 * divergence


def autocast(settings: Settings, device: torch.device) -> AbstractContextManager[object]:
    return torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16")
