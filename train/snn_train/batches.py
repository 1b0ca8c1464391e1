"""Batches of a run: which images, in which order, augmented and normalised.

Order and augmentation are drawn from the place in the run alone. All numbers of a whole batch are
drawn, and this process takes its part of them, so that a batch is the same for any number of
processes.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from snn_train.data import DataSet
from snn_train.data.augment import augment
from snn_train.data.augmentation import Augmentation, Draws
from snn_train.data.mixing import Mixing, mixed
from snn_train.data.on_disk import Decoding, Images, OnDisk, subset
from snn_train.parallel import Team
from snn_train.state import Run


class Batch(NamedTuple):
    """This process's part of a batch."""

    images: Tensor
    """float32 `(B, 3, H, W)`, normalised."""
    labels: Tensor
    """int64 `(B,)`"""
    weights: Tensor | None = None
    """float32 `(B,)`: how much each counts in the loss; None: all alike."""
    teacher_logits: Tensor | None = None
    """float32 `(B, classes)`, where they were computed beforehand."""
    second: "Second | None" = None
    """What else is in the images, where two are mixed."""


class Second(NamedTuple):
    """The second of the two pictures that are mixed."""

    labels: Tensor
    """int64 `(B,)`"""
    share: Tensor
    """float32 `(B,)`: of it in the whole."""
    weights: Tensor | None
    """float32 `(B,)`, as the first one's."""


class Split:
    """The training set on the training device, split into what is trained on and what selects."""

    def __init__(self, run: Run, data: DataSet) -> None:
        recipe, device = run.recipe, next(run.network.parameters()).device
        trained, held_out = data.split(*recipe.split)
        self.images = subset(data.train_images, trained).to(device)
        self.labels = data.train_labels[trained].to(device)
        self.held_out = subset(data.train_images, held_out).to(device)
        self.held_out_labels = data.train_labels[held_out].to(device)
        size = min(recipe.batch_size, len(self.images))
        self.batch_size = size - size % run.team.size
        self.steps = len(self.images) // self.batch_size
        """Batches in an epoch; what is left over is another one's turn in the next."""
        self.weights = balancing(self.labels) if recipe.class_weights == "balanced" else None
        self.teacher_logits: Tensor | None = None
        """float32 `(2, N, classes)`: a teacher's logits of all pictures, and of them mirrored."""

    def epoch(self, run: Run) -> Iterator[Batch]:
        """Yield the batches of the run's epoch, from its step on."""
        how = run.recipe.augmentation
        if not how.mixes:
            yield from self._pass(run)
            return
        pairs = zip(self._pass(run), self._pass(run, " of others"), strict=True)
        for step, (batch, other) in enumerate(pairs, run.position.step):
            mixing = Mixing.of(how, self.batch_size, run.random("mixing", step))
            mine = mixing.part(run.team.part(self.batch_size))
            images, share = mixed(batch.images, other.images, mine)
            second = Second(other.labels, share, other.weights)
            yield batch._replace(images=images, second=second)

    def _pass(self, run: Run, purpose: str = "") -> Iterator[Batch]:
        """Yield the batches of a pass over the pictures, its draws apart from another purpose's."""
        first = run.position.step
        order = torch.randperm(len(self.images), generator=run.random("order" + purpose))
        chosen = torch.split(order, self.batch_size)[: self.steps]
        mine = run.team.part(self.batch_size)
        pictures = shown(run, self.images, chosen, first, purpose=purpose)
        for step, (images, draws) in enumerate(pictures, first):
            index = chosen[step][mine].to(self.labels.device)
            weights = None if self.weights is None else self.weights[index]
            side = run.recipe.augmentation.mirrors * draws.mirrored.to(index)
            logits = None if self.teacher_logits is None else self.teacher_logits[side, index]
            yield Batch(images, self.labels[index], weights, logits)


def balancing(labels: Tensor) -> Tensor | None:
    """Return for each of N pictures N / (classes · pictures of its class), float32 `(N,)`: 1 in the
    mean, and the same for every class together; None where all are 1."""
    counts = torch.bincount(labels)
    if int(counts.min()) == int(counts.max()):
        return None
    return (len(labels) / (len(counts) * counts)).float()[labels]


def batches(
    run: Run, images: Images, chosen: Sequence[Tensor], team: Team | None = None
) -> Iterator[Tensor]:
    """Yield this process's part of every batch, augmented and normalised: see `shown`."""
    return (pictures for pictures, _ in shown(run, images, chosen, team=team))


def shown(
    run: Run,
    images: Images,
    chosen: Sequence[Tensor],
    first: int = 0,
    team: Team | None = None,
    purpose: str = "",
) -> Iterator[tuple[Tensor, Draws]]:
    """Yield this process's part of every batch from the `first` on, augmented and normalised, and
    what was drawn for it.

    Args:
        chosen: which images each batch is made of, int64 `(B,)`.
        team: whose processes divide the batches; None for those that train together.
        purpose: another one draws other numbers.
    """
    team = team or run.team
    how = run.recipe.augmentation
    sides = alternating(run, len(images)) if how.alternate else None

    def drawn() -> Iterator[tuple[Tensor, Draws]]:
        for step, index in enumerate(chosen[first:], first):
            mine = team.part(len(index) - len(index) % team.size)
            mirrored = None if sides is None else sides[index]
            draws = Draws.of(how, len(index), run.random("augmentation" + purpose, step), mirrored)
            yield index[mine], draws.part(mine)

    return as_drawn(run, images, drawn(), how)


def as_drawn(
    run: Run, images: Images, drawn: Iterable[tuple[Tensor, Draws]], how: Augmentation
) -> Iterator[tuple[Tensor, Draws]]:
    """Yield the pictures of every (index, draws) augmented and normalised, and the draws."""
    normalisation = run.experiment.normalisation
    for pixels, draws in ahead(images, drawn):
        yield normalisation(augment(pixels, how, normalisation.offset, draws)), draws


def alternating(run: Run, count: int) -> Tensor:
    """Return which of `count` pictures are mirrored in the run's epoch, bool `(count,)`."""
    coins = torch.rand(count, generator=torch.Generator().manual_seed(run.recipe.seed)) < 0.5
    return coins ^ (run.position.epoch % 2 == 1)


def ahead(images: Images, wanted: Iterable[tuple[Tensor, Draws]]) -> Iterator[tuple[Tensor, Draws]]:
    """Yield the pictures of every (index, draws) and the draws; the next are decoded meanwhile.

    Pictures in memory come as they are. Those on disk come in the windows that were drawn for
    them, if any were; the rest of an augmentation is `augment`'s for both.
    """
    if not isinstance(images, OnDisk):
        for index, draws in wanted:
            yield images[index.to(images.device)], draws
        return
    begun: deque[tuple[Decoding, Draws]] = deque()
    try:
        for index, draws in wanted:
            begun.append((images.begin(index, draws), draws))
            if len(begun) > 1:
                yield images.finish(begun[0][0]), begun.popleft()[1]
        while begun:
            yield images.finish(begun[0][0]), begun.popleft()[1]
    finally:  # the caller may have stopped early
        for decoding, _ in begun:
            for each in decoding:
                each.cancel()
