"""A recipe says everything that decides the outcome of a run, besides the data.

There are two, `iir`, the paper's as its authors' code runs it, and `iir-bn`, the default:

               iir                             iir-bn
normalisation  folded before the SNN stages    kept through every stage
pooling        average, after the spike        max, before normalisation and spike
surrogate      triangle, 0.3 high              rectangle, ½ high
thresholds     one a layer, 90th percentile    one a channel, 85th percentile
loss           cross-entropy                   + label smoothing + distillation from the ANN
optimiser      Adam (amsgrad) 1e-4, in steps   AdamW, one cycle
dropout        0.2, one mask for all T         none
classifier     two dense layers of 4096        the readout alone
timesteps      5, 4, 3, 2, 1                   1: straight from the ANN

For ImageNet `iir` takes what the authors' code has: SGD at 1e-2 with a weight decay of 5e-4 for the
ANN, Adam at 2e-5 without one for the spiking stages, batches of 128. The rest is as above, where
their ANN drops half of its neurons and divides its rate by 10 at 45, 70 and 90 % instead.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from snn_train.choices import (
    OWN,
    RATE_LIMITS,
    ClassWeights,
    Optimiser,
    Precision,
    RecipeName,
    Regulariser,
    Surrogate,
)
from snn_train.data.augmentation import Augmentation
from snn_train.layout import check_neurons
from snn_train.stage import Stage, changed, check, ladder, straight


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, and which one: everything that decides a run, besides the data."""

    stages: tuple[Stage, ...]
    name: RecipeName = "iir-bn"
    network: str = "vgg9"
    """A name of `layout.NETWORKS`."""
    width: float = 1.0
    """Factor on every convolution's channels."""
    hidden: int = 0
    """Neurons in each of the two dense layers before the readout; 0 for none."""
    surrogate: Surrogate = "rectangle"
    dropout: float = 0.0
    """After every population, one mask for all timesteps."""
    levels: int = 1  # thresholds of a neuron
    batch_size: int = 256
    optimiser: Optimiser = "adamw"
    learning_rate: float = 2e-3
    """At the peak of the schedule."""
    spiking_learning_rate: float | None = None
    """The spiking stages', which start from weights that are good already; None: the same."""
    weight_decay: float = 0.05
    """On weights only: thresholds, leaks and shifts are left alone."""
    warm_up: float = 0.15
    """Fraction of a stage's steps in which the learning rate rises."""
    constant: bool = False
    """The paper's schedule instead: constant, divided by 5 at 60, 80 and 90 % of a stage."""
    label_smoothing: float = 0.1
    distillation: float = 0.0
    """Weight of the teacher's output in the loss."""
    cached_teacher: bool = False
    """Whether the teacher answers to each picture once a stage, unchanged."""
    percentile: float = 85.0
    """Of a layer's pre-activations: its first threshold."""
    augmentation: Augmentation = Augmentation()
    largest_drop: float = 0.1
    """Validation accuracy a spiking stage may end below the stage before it."""
    validation: float = 0.1
    """Fraction of the training set held out to select models; at most 5,000 images."""
    precision: Precision = "float32"
    seed: int = 0
    spike_rate: float | None = None
    """MAC-weighted rate to end at; None leaves it to itself."""
    regulariser: Regulariser = "synaptic"
    """What drives the rate there."""
    ema: float | None = None
    """Decay of the moving average of the weights that is measured and kept; None: the weights."""
    spiking_optimiser: Optimiser | None = None
    spiking_weight_decay: float | None = None
    """Both are the spiking stages'; None: the same as the ANN's."""
    rate_limits: tuple[float, float] = RATE_LIMITS
    """Lowest and highest firing rate that a layer may have."""
    class_weights: ClassWeights = "none"
    """balanced: classes count alike in the loss; none: pictures do."""
    fine_tune: float = 1.0
    """Factor on the learning rate of all but the readout, in the first stage."""

    def __post_init__(self) -> None:
        check(self.stages)
        check_neurons(self.network, self.name, self.levels)

    @classmethod
    def of(cls, name: RecipeName = "iir-bn", data: str = "cifar10", side: int = 32) -> "Recipe":
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

    def change(
        self,
        *,
        timesteps: Sequence[int] | None = None,
        epochs: Sequence[int] | None = None,
        int_bits: int | None = None,
        **fields: Any,
    ) -> "Recipe":
        """Return the recipe with other values, and with what follows from them.

        An optimiser or a weight decay is that of all stages. Another optimiser than the recipe's
        comes with a learning rate and a decay of its own, see `OWN`, unless they are given.

        Args:
            timesteps: of the spiking stages, descending, e.g. `(5, 3, 1)`.
            epochs: the ANN's, then each stage's; the last one repeats.
            int_bits: 8, 6 or 4: a last stage in integers of so many bits; 0: none.
            fields: any of the fields above.

        Raises:
            ValueError: values that do not go together, with what was expected.
            TypeError: no such field.
        """
        if (timesteps, epochs, int_bits) != (None, None, None):
            bits = self.stages[-1].bits if int_bits is None else int_bits
            fields["stages"] = changed(self.stages, timesteps, epochs, bits, self.integer_epochs)
        if fields.get("optimiser", self.optimiser) != self.optimiser:
            fields = OWN.get(fields["optimiser"], {}) | {"spiking_learning_rate": None} | fields
        for name in ("optimiser", "weight_decay"):
            if name in fields:
                fields.setdefault(f"spiking_{name}", None)
        if fields.get("optimiser") == "muon":
            if self.name == "iir" and any(not s.bits for s in fields.get("stages", self.stages)):
                raise ValueError(
                    "--optimiser muon: needs the normalisations that recipe iir-bn keeps"
                )
        if "regulariser" in fields and fields.get("spike_rate", self.spike_rate) is None:
            raise ValueError(
                f"--regulariser {fields['regulariser']}: needs the rate it drives to, --spike-rate"
            )
        return replace(self, **fields)

    @property
    def integer_epochs(self) -> int:
        """Epochs of the stage in integers; it starts from weights that need little more."""
        return 10 if self.name == "iir" else 4

    @property
    def teacher(self) -> str:
        """The stage that the others are distilled from: the first, or for a run that begins with
        another's T = 1 network, that network."""
        return "t1" if self.stages[0].bits else self.stages[0].name

    def settings(self) -> dict[str, Any]:
        """Return plain containers of all but the network, which has an entry of its own in a
        checkpoint."""
        values = {k: v for k, v in asdict(self).items() if k not in NETWORK_FIELDS}
        stages = [[s.timesteps, s.epochs, *([s.bits] if s.bits else [])] for s in self.stages]
        return values | {"stages": stages}

    @classmethod
    def from_dicts(cls, architecture: dict[str, Any], settings: dict[str, Any]) -> "Recipe":
        """Return the recipe that a checkpoint's two entries describe."""
        network = {n: architecture["recipe" if n == "name" else n] for n in NETWORK_FIELDS}
        stages = tuple(Stage(*numbers) for numbers in settings["stages"])
        augmentation = Augmentation(**settings["augmentation"])
        low, high = settings.get("rate_limits", RATE_LIMITS)  # older runs have none
        mine = {"stages": stages, "augmentation": augmentation, "rate_limits": (low, high)}
        return cls(**settings | network | mine)


NETWORK_FIELDS = ("name", "network", "width", "hidden", "surrogate", "dropout", "levels")

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
