"""The two recipes: `iir`, the paper's as its authors' code runs it, and `iir-bn`, the default.

               iir                             iir-bn
normalisation  folded before the SNN stages    kept through every stage
pooling        average, after the spike        max, before normalisation and spike
surrogate      triangle, 0.3 high              rectangle, ½ high
thresholds     one a layer, 90th percentile    one a channel, 85th percentile
loss           cross-entropy                   + label smoothing + distillation from the ANN
optimiser      Adam (amsgrad) 1e-4, in steps   AdamW, one cycle
dropout        0.2, one mask for all T         none
classifier     two dense layers of 4096        the readout alone

For ImageNet `iir` takes what the authors' code has: SGD at 1e-2 with a weight decay of 5e-4 for the
ANN, Adam at 2e-5 without one for the spiking stages, batches of 128. The rest is as above, where
their ANN drops half of its neurons and divides its rate by 10 at 45, 70 and 90 % instead. The
epochs of `iir-bn` are a guess that nobody has tried.
"""

from dataclasses import dataclass
from typing import Any

from snn_train.schedule import Settings, Stage


@dataclass(frozen=True)
class RecipeDefaults:
    """What a recipe fills in where the command line is silent."""

    network: dict[str, Any]
    """Fields of `Architecture`."""
    training: dict[str, Any]
    """Fields of `Settings`."""
    epochs: str
    digits_epochs: str
    imagenet_epochs: str
    imagenet: dict[str, Any]
    """Fields of `Settings` that are others for ImageNet."""
    integer_epochs: int
    """Of the stage in integers; it starts from weights that need little more."""

    def epochs_on(self, data: str) -> str:
        """The list for a data set."""
        special = {"digits": self.digits_epochs, "imagenet": self.imagenet_epochs}
        return special.get(data, self.epochs)


RECIPES = {
    "iir": RecipeDefaults(
        {"surrogate": "triangle", "dropout": 0.2, "hidden": 4096},
        {
            "batch_size": 64,
            "optimiser": "adam",
            "learning_rate": 1e-4,
            "weight_decay": 0.0,
            "constant": True,
            "label_smoothing": 0.0,
            "distillation": 0.0,
            "percentile": 90.0,
        },
        "300,500",
        "30,10",
        "101,25",
        {
            "batch_size": 128,
            "optimiser": "sgd",
            "learning_rate": 1e-2,
            "weight_decay": 5e-4,
            "spiking_optimiser": "adam",
            "spiking_learning_rate": 2e-5,
            "spiking_weight_decay": 0.0,
        },
        10,
    ),
    "iir-bn": RecipeDefaults(
        {"surrogate": "rectangle", "dropout": 0.0, "hidden": 0},
        {"distillation": 0.5},
        "20,3,3,3,3,30",
        "15,3,3,3,3,15",
        "40,2,2,2,2,20",
        {},
        4,
    ),
}

FLAGS = ("batch_size", "optimiser", "learning_rate", "spiking_learning_rate", "weight_decay",
         "label_smoothing", "distillation", "percentile", "largest_drop",
         "rate_limits", "seed", "precision", "spike_rate", "regulariser", "ema")  # fmt: skip


def settings_for(recipe: RecipeDefaults, data: str, flags: dict[str, Any]) -> Settings:
    """Return the recipe's settings with every given flag put in.

    Raises:
        ValueError: a flag's value, with what was expected.
    """
    chosen = {name: flags[name] for name in FLAGS if flags[name] is not None}
    special = {"digits": {"batch_size": 64}, "imagenet": recipe.imagenet}
    adjusted: dict[str, Any] = dict(special.get(data, {}))
    for name in ("optimiser", "weight_decay"):
        if name in chosen:  # one flag for all stages
            adjusted.pop(f"spiking_{name}", None)
    if chosen.get("optimiser") == "muon":
        if recipe is RECIPES["iir"]:
            raise ValueError("--optimiser muon: needs the normalisations that recipe iir-bn keeps")
        adjusted |= {"learning_rate": 0.05}
    if "spike_rate" not in chosen:
        refuse_regulariser(chosen)
    stages = _stages(recipe, data, flags)
    return Settings(**(recipe.training | adjusted | chosen | {"stages": stages}))


def _stages(recipe: RecipeDefaults, data: str, flags: dict[str, Any]) -> tuple[Stage, ...]:
    bits = flags["int_bits"] or 0
    steps = [0, *_numbers("--timesteps", flags["timesteps"] or "5,4,3,2,1")]
    if bits and steps[-1] != 1:
        raise ValueError(f"--int-bits {bits}: needs --timesteps that end at 1")
    counts = _numbers("--epochs", flags["epochs"] or recipe.epochs_on(data))
    integer_epochs = recipe.integer_epochs
    if flags["epochs"]:
        most = len(steps) + (1 if bits else 0)
        if len(counts) > most:
            raise ValueError(f"--epochs {flags['epochs']}: expected at most {most} numbers")
        if len(counts) > len(steps):
            integer_epochs = counts.pop()
    elif len(counts) > len(steps):  # the list is for five stages: keep both its ends
        counts = [*counts[: len(steps) - 1], counts[-1]]
    counts += [counts[-1]] * (len(steps) - len(counts))
    stages = tuple(Stage(t, n) for t, n in zip(steps, counts, strict=True))
    return (*stages, Stage(1, integer_epochs, bits)) if bits else stages


def integer_stage(recipe: RecipeDefaults, flags: dict[str, Any]) -> Stage:
    """Return the one stage of a run that begins with a T = 1 network.

    Raises:
        ValueError: `--epochs` is not one number.
    """
    counts = _numbers("--epochs", flags["epochs"] or str(recipe.integer_epochs))
    if len(counts) > 1:
        raise ValueError(f"--epochs {flags['epochs']}: expected one number, of the integer stage")
    return Stage(1, counts[0], flags["int_bits"])


def refuse_regulariser(chosen: dict[str, Any]) -> None:
    """Raises: ValueError: `--regulariser` is given, where no rate is."""
    if "regulariser" in chosen:
        raise ValueError(
            f"--regulariser {chosen['regulariser']}: needs the rate it drives to, --spike-rate"
        )


def _numbers(flag: str, text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"{flag} {text}: expected whole numbers from 1 such as 5,3,1")
    return [int(part) for part in parts]
