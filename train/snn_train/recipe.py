"""A recipe says everything that decides the outcome of a run, besides the data."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from snn_train.choices import (
    RATE_LIMITS,
    ClassWeights,
    Optimiser,
    Precision,
    RecipeName,
    Regulariser,
    Surrogate,
    brought_by,
)
from snn_train.data.augmentation import Augmentation
from snn_train.layout import check_neurons
from snn_train.stage import Stage, changed, check


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, and which one: everything that decides a run, besides the data."""

    stages: tuple[Stage, ...]
    name: RecipeName = "iir-bn"
    network: str = "vgg9"
    """A name of `families.NETWORKS`."""
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
    guest_teacher: bool = False
    """Whether a network of another run teaches every stage, `teacher.pt` in the run's folder."""
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
    split_seed: int | None = None
    """Chooses the pictures that select, where a run goes on with what another has trained on the
    same data; None: `seed` does."""
    split_share: float = 1.0
    """Of the pictures that selected in that run, those that still do; the others are learnt."""
    least_epochs: int = 1
    """Of a stage that nobody gives a number: few pictures need many."""

    def __post_init__(self) -> None:
        check(self.stages)
        check_neurons(self.network, self.name, self.levels)

    def change(
        self,
        *,
        timesteps: Sequence[int] | None = None,
        epochs: Sequence[int] | None = None,
        int_bits: int | None = None,
        **fields: Any,
    ) -> "Recipe":
        """Return the recipe with other values, and with what follows from them.

        An optimiser or a weight decay is that of all stages. Another optimiser than that of every
        stage comes with its own learning rate and decay, unless they are given, see `brought_by`.

        Args:
            timesteps: of the spiking stages, descending, e.g. `(5, 3, 1)`.
            epochs: the ANN's, then each stage's; the last one repeats, but for a stage in integers.
            int_bits: 8, 6 or 4: a last stage in integers of so many bits; 0: none.
            fields: any of the fields above.

        Raises:
            ValueError: values that do not go together, with what was expected.
            TypeError: no such field.
        """
        if (timesteps, epochs, int_bits) != (None, None, None):
            bits = self.stages[-1].bits if int_bits is None else int_bits
            fields["stages"] = changed(self.stages, timesteps, epochs, bits, self.integer_epochs)
        before = {self.optimiser, self.spiking_optimiser or self.optimiser}
        if "optimiser" in fields and {fields["optimiser"]} != before:
            fields = brought_by(fields["optimiser"], self.optimiser) | fields
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
    def split(self) -> tuple[float, int, float]:
        """Fraction and seed of the pictures held out to select, and the share of them that does."""
        seed = self.seed if self.split_seed is None else self.split_seed
        return self.validation, seed, self.split_share

    @property
    def integer_epochs(self) -> int:
        """Epochs of the stage in integers; it starts from weights that need little more."""
        return max(10 if self.name == "iir" else 4, self.least_epochs)

    @property
    def origin(self) -> str:
        """The first stage; of a run that trains another's T = 1 network in integers, that one's."""
        return "t1" if self.stages[0].bits else self.stages[0].name

    @property
    def teacher(self) -> str:
        """The checkpoint that the other stages are distilled from."""
        return TEACHER if self.guest_teacher else self.origin

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
TEACHER = "teacher"
"""What a network of another run is called in the folder of the run that it teaches."""
