"""Steps in as many processes as torchrun starts, in float64; run by test_together.py.

torchrun … steps_together.py FILE      the first process leaves losses and weights in FILE
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snn_train import parallel
from snn_train.batches import Batch
from snn_train.data.normalisation import Normalisation
from snn_train.experiment import Experiment
from snn_train.network import SpikingNetwork
from snn_train.recipe import Recipe
from snn_train.stage import Stage
from snn_train.state import Run, start
from snn_train.step import step
from snn_train.validation import evaluate

CASES: dict[str, dict[str, Any]] = {
    "ann": {"timesteps": 0},
    "t2": {"timesteps": 2, "optimiser": "sgd"},
    "t1": {"timesteps": 1, "optimiser": "muon", "parts": True, "distillation": 0.5},
    "t1 residual": {"timesteps": 1, "network": "resnet12"},
    "t2 paper": {"timesteps": 2, "recipe": "iir", "parts": True},
    "t1 budget": {"timesteps": 1, "spike_rate": 0.1},
    "int4": {"timesteps": 1, "bits": 4, "parts": True, "distillation": 0.5},
    "int6 average": {"timesteps": 1, "bits": 6, "ema": 0.9},
}
BATCH, PART, STEPS = 12, 3, 4


def made(case: dict[str, Any]) -> Run:
    recipe, network = case.get("recipe", "iir-bn"), case.get("network", "vgg5")
    chosen = {k: case[k] for k in ("optimiser", "distillation", "spike_rate", "ema") if k in case}
    stage = Stage(case["timesteps"], 1, case.get("bits", 0))
    whole = Recipe((stage,), recipe, network, width=0.1, batch_size=BATCH, **chosen)
    pixels = Normalisation((0, 0, 0), (1.0, 1.0, 1.0))
    experiment = Experiment(whole, "none", "", ("a", "b"), (8, 8), "crop", pixels, "none")
    run = start(experiment, Path(), torch.device("cpu"))
    run.network.double()
    # Without normalisation, or with the statistics that it begins with, currents are far below 1.
    threshold = 0.05 if recipe == "iir" else 0.2 if "bits" in case else 1.0
    for layer in run.network.populations():
        layer.neuron.threshold.data.fill_(threshold)
    run.begin_average()  # again, from the network in float64
    return run


def trained(case: dict[str, Any], team: parallel.Team) -> dict[str, Any]:
    run = made(case)
    run.team = team
    if "parts" in case:  # as many in one process as in two
        run.micro_batch = PART * 2 // team.size
    teacher: SpikingNetwork | None = None
    if "distillation" in case:
        teacher = SpikingNetwork(run.experiment.architecture, 0).double().eval()
    student = parallel.distribute(run.network, team, unused_parameters=run.stage.timesteps < 2)
    losses = []
    generator = torch.Generator().manual_seed(1)
    for done in range(STEPS):
        images = torch.randn(BATCH, 3, 8, 8, generator=generator, dtype=torch.float64)
        if "bits" in case:
            images = images.mul(60).round()  # integers take whole pixels
        labels = torch.arange(BATCH) % 2
        mine = mine_of(team)
        measured = step(run, student, teacher, Batch(images[mine], labels[mine]), done, STEPS)
        losses.append(float(team.mean(measured)[0]))
    pixels = torch.randint(0, 256, (700, 8, 8, 3), generator=generator, dtype=torch.uint8)
    run.network.float()
    accuracy, rates = evaluate(run.network, pixels, torch.arange(700) % 2, run)
    weights: dict[str, Tensor] = run.network.state_dict()
    if run.average is not None:
        weights |= {f"average {k}": v for k, v in run.average.state_dict().items()}
    return {"losses": losses, "weights": weights, "accuracy": accuracy, "rates": rates}


def mine_of(team: parallel.Team) -> Tensor:
    """This process's pictures. One process alone takes them in the order in which two meet them
    part by part, since a part is what normalisations see."""
    if team.size == 1:
        return torch.arange(BATCH).view(2, 2, PART).transpose(0, 1).reshape(-1)
    return torch.arange(BATCH)[team.part(BATCH)]


def main() -> None:
    team, _ = parallel.join("cpu")
    found = {name: trained(case, team) for name, case in CASES.items()}
    if team.leads:
        torch.save(found, sys.argv[1])
    parallel.leave(team)


if __name__ == "__main__":
    main()
