"""Steps in as many processes as torchrun starts, in float64; run by test_together.py.

torchrun … steps_together.py FILE      the first process leaves losses and weights in FILE
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snn_train import processes
from snn_train.augment import Normalisation
from snn_train.descent import Descent
from snn_train.experiment import Experiment
from snn_train.network import Architecture, SpikingNetwork
from snn_train.run import Run, start
from snn_train.schedule import Settings, Stage
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
    architecture = Architecture(network, recipe, 0.1, classes=2, image_height=8, image_width=8)
    chosen = {k: case[k] for k in ("optimiser", "distillation", "spike_rate", "ema") if k in case}
    stage = Stage(case["timesteps"], 1, case.get("bits", 0))
    settings = Settings((stage,), batch_size=BATCH, **chosen)
    pixels = Normalisation((0, 0, 0), (1.0, 1.0, 1.0))
    experiment = Experiment(architecture, settings, "none", "", ("a", "b"), "crop", pixels, "none")
    run = start(experiment, Path(), torch.device("cpu"))
    run.network.double()
    # Without normalisation, or with the statistics that it begins with, currents are far below 1.
    threshold = 0.05 if recipe == "iir" else 0.2 if "bits" in case else 1.0
    for layer in run.network.populations():
        layer.neuron.threshold.data.fill_(threshold)
    run.begin_average()  # again, from the network in float64
    return run


def trained(case: dict[str, Any], team: processes.Team) -> dict[str, Any]:
    run = made(case)
    run.team = team
    if "parts" in case:  # as many in one process as in two
        run.micro_batch = PART * 2 // team.size
    teacher: SpikingNetwork | None = None
    if "distillation" in case:
        teacher = SpikingNetwork(run.experiment.architecture, 0).double().eval()
    descent, losses = Descent(run, teacher), []
    generator = torch.Generator().manual_seed(1)
    for done in range(STEPS):
        images = torch.randn(BATCH, 3, 8, 8, generator=generator, dtype=torch.float64)
        if "bits" in case:
            images = images.mul(60).round()  # integers take whole pixels
        labels = torch.arange(BATCH) % 2
        mine = mine_of(team)
        loss, _ = descent.step(images[mine], labels[mine], done, STEPS)
        losses.append(float(team.mean(loss)))
    pixels = torch.randint(0, 256, (700, 8, 8, 3), generator=generator, dtype=torch.uint8)
    run.network.float()
    accuracy, rates = evaluate(run.network, pixels, torch.arange(700) % 2, run)
    weights: dict[str, Tensor] = run.network.state_dict()
    if run.average is not None:
        weights |= {f"average {k}": v for k, v in run.average.state_dict().items()}
    return {"losses": losses, "weights": weights, "accuracy": accuracy, "rates": rates}


def mine_of(team: processes.Team) -> Tensor:
    """This process's pictures. One process alone takes them in the order in which two meet them
    part by part, since a part is what normalisations see."""
    if team.size == 1:
        return torch.arange(BATCH).view(2, 2, PART).transpose(0, 1).reshape(-1)
    return torch.arange(BATCH)[team.share(BATCH)]


def main() -> None:
    team, _ = processes.join(torch.device("cpu"))
    found = {name: trained(case, team) for name, case in CASES.items()}
    if team.leads:
        torch.save(found, sys.argv[1])
    processes.leave(team)


if __name__ == "__main__":
    main()
