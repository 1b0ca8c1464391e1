"""Train spiking networks down to a single timestep.

import snn_train

run = snn_train.train("digits", out="runs/digits", width=0.25, timesteps=(1,), epochs=(4, 4))
run.outcomes[-1].test, run.checkpoint("t1")

The modules, as a run goes through them:

what       recipe, defaults (of both recipes), stage, families, layout, network, neuron,
           integer, projection (integer sums and their gradients), experiment
loop       training (stages, epochs), step (one step), schedule (its learning rate), optimiser,
           muon, teacher, ensemble (of other runs), spike_budget, average, batches
stages     stages (how one ends and the next begins), calibrate, validation, remedy
beginning  beginning (with what), pretrained (T = 1), exported, pretrained_ann, torchvision_file,
           torchvision_vgg, torchvision_resnet, few (a recipe for few pictures),
           found (pictures again)
state      state (what an interruption must not lose), records, saving, folder, lock, checkpoint,
           torch_zip
data       data: a folder of its own
events     events, a folder of its own: convolutions that do the work of the spikes there are
machine    parallel (processes), threads, precision
time       pace, time_budget, probe (before a run), planning (while it goes on), duration
command    api, cli, flags, flag_values, choices, progress, report, plot, mistakes, lettering,
           signals
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snn_train.api import resume, train
    from snn_train.data.augmentation import Augmentation
    from snn_train.defaults import default_recipe
    from snn_train.pace import Pace
    from snn_train.parallel import Machine
    from snn_train.progress import Progress
    from snn_train.recipe import Recipe
    from snn_train.records import EpochRecord, StageOutcome
    from snn_train.stage import Stage
    from snn_train.state import Run
    from snn_train.training import Stopped

_HOMES = {
    "train": "api",
    "resume": "api",
    "Machine": "parallel",
    "Recipe": "recipe",
    "default_recipe": "defaults",
    "Stage": "stage",
    "Augmentation": "data.augmentation",
    "Progress": "progress",
    "Pace": "pace",
    "Stopped": "training",
    "Run": "state",
    "EpochRecord": "records",
    "StageOutcome": "records",
}

__all__ = [
    "Augmentation",
    "EpochRecord",
    "Machine",
    "Pace",
    "Progress",
    "Recipe",
    "Run",
    "Stage",
    "StageOutcome",
    "Stopped",
    "default_recipe",
    "resume",
    "train",
]


def __getattr__(name: str) -> object:
    # Lazy: reading flags or a checkpoint's container must not wait for torch.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"snn_train.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
