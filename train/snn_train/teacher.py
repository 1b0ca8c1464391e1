"""The teacher of a stage: the finished network whose logits are learnt beside the labels.

It is the run's own first stage, or an ensemble of other runs' networks, of any kind and size, that
lies in the run's folder as `teacher.pt`. It sees in each step what the student sees, or, as
`recipe.cached_teacher` says, once a stage every picture and its mirror image, neither shifted nor
changed otherwise. That saves a forward pass a step, and what it answers to a picture no longer
depends on how that is shown.
"""

import torch
from torch import Tensor, nn

from snn_train import checkpoint
from snn_train.batches import Split, as_drawn
from snn_train.data.augmentation import Augmentation, Draws
from snn_train.ensemble import Ensemble
from snn_train.network import SpikingNetwork
from snn_train.state import Run
from snn_train.step import forward


def load_teacher(run: Run) -> nn.Module | None:
    """Return the recipe's teacher on the run's device; None for the teacher itself and without
    distillation.

    Raises:
        ModelError: its checkpoint is gone or damaged.
    """
    name = run.recipe.teacher
    if run.stage.name == name or not run.recipe.distillation:
        return None
    if not run.recipe.guest_teacher:
        return load_stage(run, name).eval()
    device = next(run.network.parameters()).device
    return Ensemble.kept(run.checkpoint(name)).facing(run.experiment.normalisation, device)


def load_stage(run: Run, stage: str) -> SpikingNetwork:
    """Return the network that a finished stage left behind, on the run's device."""
    device = next(run.network.parameters()).device
    content = checkpoint.load(run.checkpoint(stage), device)
    network = run.experiment.build(content["timesteps"], content.get("bits", 0))
    network.load_state_dict(content["network"])
    return network.to(device)


@torch.no_grad()
def cached_logits(run: Run, split: Split, teacher: nn.Module) -> Tensor:
    """Return the teacher's logits of the N pictures that are trained on and of their mirror images,
    float32 `(2, N, classes)`; only of the pictures themselves, `(1, N, classes)`, where none is
    mirrored. Processes share the work."""
    mirrors, count = run.recipe.augmentation.mirrors, len(split.images)
    how, mine = Augmentation(flip=mirrors), run.team.part(count)
    found = split.labels.new_zeros(
        (1 + mirrors, count, len(run.experiment.labels)), dtype=torch.float32
    )
    for side in range(1 + mirrors):
        parts = torch.split(torch.arange(count)[mine], split.batch_size)
        drawn = ((index, _unshifted(how, len(index), side)) for index in parts)
        for index, (images, _) in zip(parts, as_drawn(run, split.images, drawn, how), strict=True):
            found[side, index] = forward(teacher, images, run.recipe)
    return run.team.sum(found)


def _unshifted(how: Augmentation, count: int, side: int) -> Draws:
    mirrored = torch.full((count,), bool(side))
    return Draws.of(how, count, torch.Generator(), mirrored)
