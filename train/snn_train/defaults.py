"""The two recipes, and what each has for which data.

`iir` is the paper's as its authors' code runs it, and `iir-bn` the default. A table of
docs/explanation/training.md compares them.

For ImageNet `iir` takes what the authors' code has: SGD at 1e-2 with a weight decay of 5e-4 for the
ANN, Adam at 2e-5 without one for the spiking stages, batches of 128. The rest is as above, where
their ANN drops half of its neurons and divides its rate by 10 at 45, 70 and 90 % instead.
"""

from dataclasses import replace

from snn_train.choices import RecipeName
from snn_train.data.augmentation import Augmentation
from snn_train.recipe import Recipe
from snn_train.stage import ladder, straight

IIR_BN = Recipe(
    straight(20, 72),
    distillation=0.5,
    augmentation=Augmentation(flip=True, shift=4, cutout=8),
)
IIR = replace(
    IIR_BN,
    stages=ladder(300, 500),
    name="iir",
    surrogate="triangle",
    dropout=0.2,
    hidden=4096,
    batch_size=64,
    optimiser="adam",
    learning_rate=1e-4,
    weight_decay=0.0,
    constant=True,
    label_smoothing=0.0,
    distillation=0.0,
    percentile=90.0,
)
IMAGENET = Augmentation(flip=True, resized=True)
DEFAULTS: dict[str, dict[str, Recipe]] = {
    "iir-bn": {
        "cifar10": IIR_BN,
        "digits": replace(
            IIR_BN,
            stages=straight(15, 57),
            network="vgg5",
            batch_size=64,
            augmentation=Augmentation(shift=1),
        ),
        "imagenet": replace(
            IIR_BN, stages=straight(40, 48), network="vgg16", augmentation=IMAGENET
        ),
    },
    "iir": {
        "cifar10": IIR,
        "digits": replace(
            IIR, stages=ladder(30, 10), network="vgg5", augmentation=Augmentation(shift=1)
        ),
        "imagenet": replace(
            IIR,
            stages=ladder(101, 25),
            network="vgg16",
            batch_size=128,
            optimiser="sgd",
            learning_rate=1e-2,
            weight_decay=5e-4,
            spiking_optimiser="adam",
            spiking_learning_rate=2e-5,
            spiking_weight_decay=0.0,
            augmentation=IMAGENET,
        ),
    },
}
"""Both recipes by data set; a data set without an entry is trained like CIFAR-10."""


def default_recipe(name: RecipeName = "iir-bn", data: str = "cifar10", side: int = 32) -> Recipe:
    """Return a recipe's defaults for a data set.

    Args:
        data: as `train` takes it; what follows a colon is left aside.
        side: the shorter one of its images in pixels; only images of a folder ask for it.

    Raises: ValueError: no recipe of that name.
    """
    data = data.partition(":")[0]
    if name not in DEFAULTS:
        raise ValueError(f"recipe {name!r} is none of {', '.join(DEFAULTS)}")
    recipe = DEFAULTS[name].get(data, DEFAULTS[name]["cifar10"])
    if data == "imagefolder":
        own = Augmentation(flip=True, shift=max(1, side // 8), cutout=side // 4)
        return replace(recipe, augmentation=own, class_weights="balanced")
    return replace(recipe, augmentation=Augmentation(shift=2)) if "mnist" in data else recipe
