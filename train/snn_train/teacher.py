"""The teacher of a stage: the finished network whose logits are learnt beside the labels."""

from snn_train import checkpoint
from snn_train.network import SpikingNetwork
from snn_train.state import Run


def load_teacher(run: Run) -> SpikingNetwork | None:
    """Return the recipe's teacher on the run's device; None for the teacher itself and without
    distillation.

    Raises:
        ModelError: its checkpoint is gone or damaged.
    """
    if run.stage.name == run.recipe.teacher or not run.recipe.distillation:
        return None
    return load_stage(run, run.recipe.teacher).eval()


def load_stage(run: Run, stage: str) -> SpikingNetwork:
    """Return the network that a finished stage left behind, on the run's device."""
    device = next(run.network.parameters()).device
    content = checkpoint.load(run.checkpoint(stage), device)
    network = run.experiment.build(content["timesteps"], content.get("bits", 0))
    network.load_state_dict(content["network"])
    return network.to(device)
