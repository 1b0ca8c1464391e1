"""What may be chosen by name or number: for the flags, which are read before torch is loaded.

The modules that carry a choice out import its names from here.
"""

from typing import Literal

DATA = ("digits", "imagefolder:DIR", "cifar10[:FILE]", "cifar100[:FILE]", "mnist[:DIR]",
        "fashion-mnist[:DIR]", "imagenet:DIR")  # fmt: skip
OF_ANY_SIZE = ("imagefolder", "imagenet")
"""Data sets whose pictures are resized to the requested size."""

RecipeName = Literal["iir", "iir-bn"]
Surrogate = Literal["triangle", "rectangle", "tanh"]
Optimiser = Literal["adam", "adamw", "muon", "sgd"]
USUAL: dict[Optimiser, float] = {"adam": 1e-4, "adamw": 2e-3, "muon": 0.05, "sgd": 0.05}
"""Learning rates at which each optimiser is known to train."""
DECAY: dict[Optimiser, float] = {"adam": 0.0, "sgd": 5e-4}
"""Weight decay of those that add it to the gradient; Adam would scale it like that."""
Regulariser = Literal["synaptic", "hoyer"]
Precision = Literal["float32", "bfloat16"]
ClassWeights = Literal["none", "balanced"]

LEAST_SIDE = 8
SMALLEST = f"{LEAST_SIDE}x{LEAST_SIDE}"
"""Pixels of a picture."""
LARGEST_WIDTH = 16
"""Factor on a network's channels."""
MOST_LEVELS = 15
"""Thresholds that a neuron of an exported graph may have."""
BITS = (8, 6, 4)
"""Bits of integer weights that can be chosen."""
RATE_LIMITS = (0.005, 0.6)
"""Share of a layer's neurons that may fire; outside it a layer says almost nothing."""

BUNDLED = "bundled"
"""Stands for the file that comes with the runtime."""

OF_THE_FILE = ("network", "recipe", "width", "hidden", "surrogate", "dropout", "levels",
               "image_size", "fit", "timesteps", "percentile")  # fmt: skip
"""Flags that say what the file says already that a run begins with."""

OF_THE_ANN = ("network", "recipe", "width", "hidden")
"""Flags that say what the file of an ANN says already."""

REMEDIES = ("largest_drop", "rate_limits", "spike_rate", "learning_rate", "spiking_learning_rate",
            "percentile")  # fmt: skip
"""Flags that may change a run that goes on, so that a stage which has failed for good has a way."""


def takes_size(spec: str) -> bool:
    """Whether a data set, as given to `--data`, is resized to the requested size."""
    return spec.partition(":")[0] in OF_ANY_SIZE


def brought_by(optimiser: Optimiser, before: Optimiser) -> dict[str, float | None]:
    """What comes with an optimiser that takes the place of `before`, or of the spiking stages' own:
    Adam and AdamW train at each other's rates."""
    own: dict[str, float | None] = {"spiking_learning_rate": None, "spiking_weight_decay": None}
    if optimiser == before:
        return own
    if optimiser in DECAY:
        own["weight_decay"] = DECAY[optimiser]
    if {optimiser, before} != {"adam", "adamw"}:
        own["learning_rate"] = USUAL[optimiser]
    return own
