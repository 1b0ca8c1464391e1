"""Small networks with trained-looking numbers: made from a seed, in float64."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snn_export.fold import FoldedNetwork
from snn_train import checkpoint
from snn_train.calibrate import set_thresholds
from snn_train.choices import RecipeName, Surrogate
from snn_train.data.normalisation import Normalisation
from snn_train.experiment import Experiment
from snn_train.network import BatchNorm, SpikingNetwork
from snn_train.recipe import Recipe
from snn_train.stage import Stage

NORMALISATION = Normalisation((120, 119, 104), (63.0, 61.5, 66.25))


def experiment(
    network: str = "vgg5",
    recipe: RecipeName = "iir-bn",
    size: tuple[int, int] = (8, 8),
    *,
    width: float = 0.1,
    hidden: int = 0,
    levels: int = 1,
) -> Experiment:
    surrogate: Surrogate = "triangle" if recipe == "iir" else "rectangle"
    stages = (Stage(0, 1), Stage(1, 1))
    chosen = Recipe(stages, recipe, network, width, hidden, surrogate, levels=levels)
    labels = ("cat", "dog", "frog")
    return Experiment(chosen, "photos", "0" * 64, labels, size, "crop", NORMALISATION, "train-snn")


def network(described: Experiment, seed: int = 0) -> SpikingNetwork:
    """A T = 1 network in which every layer fires, its normalisations unlike a fresh one's."""
    torch.manual_seed(seed)
    made = SpikingNetwork(described.architecture, 1).double()
    size = (described.architecture.image_height, described.architecture.image_width)
    images = described.normalisation(torch.from_numpy(pictures(size, 32, seed=1))).double()
    with torch.no_grad():
        for module in made.modules():
            if isinstance(module, BatchNorm):
                module.momentum = 1.0  # so that one batch sets the running statistics
                module.shift.normal_(0, 0.2)
                if module.gain is not None:
                    module.gain.normal_(0.5, 0.5)  # of either sign
            elif isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
                module.weight.mul_(5)  # deep untrained networks fall silent otherwise
        for layer in made.populations():
            for step in layer.neuron.steps:
                step.uniform_(0.2, 0.9)
    set_thresholds(made, images, 70.0)
    return made.eval()


def save(
    described: Experiment,
    made: SpikingNetwork,
    path: Path,
    timesteps: int = 1,
    bits: int | None = None,
) -> None:
    """Write a checkpoint as train-snn does at the end of a stage."""
    metrics = {"stage": f"t{timesteps}", "validation": 0.5, "test": None, "spike_rate": 0.1,
               "epochs": 1, "seconds": 1.0}  # fmt: skip
    content = described.describe() | {
        "timesteps": timesteps,
        "bits": made.bits if bits is None else bits,
        "metrics": metrics,
        "history": [metrics],
        "network": {name: tensor.float() for name, tensor in made.state_dict().items()},
    }
    checkpoint.save(path, content)


def with_bits(folded: FoldedNetwork, bits: int) -> FoldedNetwork:
    return replace(folded, bits=bits)


def pictures(size: tuple[int, int], count: int = 6, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Smooth and noisy pictures, uint8 `(N, H, W, 3)`."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, *(-(-side // 4) for side in size), 3), np.uint8)
    smooth = coarse.repeat(4, axis=1).repeat(4, axis=2)[:, : size[0], : size[1]]
    noise = rng.integers(-20, 21, smooth.shape)
    pixels: npt.NDArray[np.uint8] = np.clip(smooth.astype(np.int64) + noise, 0, 255).astype(
        np.uint8
    )
    return pixels


@torch.no_grad()
def sent_values(made: SpikingNetwork, images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """What every layer of the torch network sends, after its pooling, and the logits."""
    sent = {"image": images}
    for layer in made.populations():
        sent[layer.plan.name] = made.send(layer, sent)
    return sent, made(images)
