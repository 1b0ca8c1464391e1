"""What a benchmark found, as plain records that become tables, JSON and CSV."""

from dataclasses import dataclass
from typing import Literal

from snn_bench.energy import Estimate
from snn_bench.limit import Traffic
from snn_bench.metering import Spent
from snn_bench.timing import Latency, Protocol, Ratio
from snn_runtime.machine.describe import Machine

METHOD = {
    "interleaving": "every round times every contender, each round beginning with another; "
    "one call before each turn, with the picture before the first, is not counted",
    "cores": "one process a thread count, pinned to as many cores, or to all where there are fewer",
    "snn input": "uint8 pixels [N, H, W, 3]; their preprocessing is timed, and with a GPU the way "
    "there and back",
    "dnn input": "float32 [N, 3, H, W], made beforehand; nothing of it is timed",
    "dnn engines": "batch fixed; the fastest in a trial of: ONNX Runtime by run() and with bound "
    "tensors, OpenVINO with a latency hint by infer() and with bound tensors; with batches also "
    "one by one and a throughput hint; a twin's fp32 without bfloat16; LiteRT, whose kernels are "
    "XNNPACK's, where it is installed, on the same integers in float32 [N, H, W, 3]",
    "ratio": "median call of the other / median call of ours, per round; quiet: the same of "
    "their quiet times over all rounds",
    "quiet": "of each batch of pictures the fastest call, averaged over the batches; of fewer than "
    "ten calls with each it is too long beside those of more",
    "equal accuracy": "medians, and quiet times with a frontier of their own; between two dense "
    "networks the logarithm of the time is interpolated along the accuracy, and beyond the last "
    "there is no ratio",
    "images_per_s": "from the mean call",
    "peak_bytes": "largest resident size of a process that loads one contender, a dense engine in "
    "the way that won the race, and answers a few batches, Python and libraries included",
    "activation_bytes": "what a few batches add to the resident size of a process that has loaded",
    "activation_bytes of a network": "float32 values of one picture that are needed at once, going "
    "through the nodes in their order",
    "load_seconds": "from the file to an engine that can answer, imports left out, median of 3; a "
    "dense engine in the way that won the race; an SNN with the gate and, where that is cheap, its "
    "proof",
    "limit": "bytes of weight rows that the spikes make necessary / one thread's bandwidth on a "
    "buffer as large as the layer's weights, divided by the cores; every picture on its own; "
    "the first layer's multiply-adds with the picture are not in it",
    "peak": "8-bit products, each added to a 32-bit sum, that one thread makes in registers in a "
    "nanosecond, the best of several trials; peak_share: multiply-adds of a picture, zero padding "
    "left out, at that rate and divided by the cores / p50",
    "energy estimate": "operations of one picture, counted on these pictures, times published "
    "energies of one operation; moving data is not in it",
    "energy measured": "in turns of their own after the race, each contender after the other and "
    "from turn to turn through its pictures, one call before each not counted; joules of "
    "everything behind the meter, whatever caused them; above_idle less what it spends in the same "
    "time while this process sleeps",
}


@dataclass(frozen=True)
class Network:
    """What is measured: the report's own network, or a file of `--against`."""

    name: str
    kind: Literal["snn", "dnn"]
    accuracy: float | None
    """On the test pictures of its export, 0 to 1; None if it was not measured."""
    test_images: int | None
    multiply_adds: int | None
    """Of a picture in a dense engine, zero padding left out, where known."""


@dataclass(frozen=True)
class Peak:
    """What one core can do at most with 8-bit integers."""

    instructions: str
    """Such as `avx512vnni`, or why it was not measured."""
    multiply_adds_per_ns: float | None


@dataclass(frozen=True)
class Row:
    """One contender with one thread count and batch size."""

    network: str
    """Name of its network; a dense twin has that of the spiking network it is a twin of."""
    kind: Literal["snn", "dnn"]
    contender: str
    """Name, such as `snn event` or `dnn int8 openvino`, with the file's after it."""
    threads: int
    batch: int
    variant: str
    """How it ran the batch."""
    latency: Latency
    """Seconds for a whole batch."""
    peak_bytes: int | None
    """Largest resident size of its process; None with `--no-memory`."""
    activation_bytes: int | None
    """Part of `peak_bytes` that running a batch added; None also if the system does not say."""
    load_seconds: float | None
    limit_share: float | None
    """Time at the physical limit ÷ p50, for an SNN where the bandwidth was measured."""
    peak_share: float | None
    """Time at the core's peak of 8-bit multiply-adds ÷ p50, for INT8 dense networks."""

    @property
    def images_per_second(self) -> float:
        return self.batch / self.latency.mean


@dataclass(frozen=True)
class Comparison:
    """Others against one of our backends."""

    contender: str
    against: str
    best_twin: bool
    """Whether `against` is the fastest dense twin by p50."""
    best_of_file: bool
    """Whether `against` is the fastest engine of a file of `--against` by p50."""
    threads: int
    batch: int
    ratio: Ratio


@dataclass(frozen=True)
class Advantage:
    """A spiking network beside dense ones of the same accuracy."""

    network: str
    contender: str
    threads: int
    batch: int
    accuracy: float
    between: list[str]
    """The dense networks that it is between, or the one that is as accurate; none beyond them."""
    ratio: float | None
    """Interpolated time of a dense network of that accuracy ÷ its time, by medians."""
    quiet: float | None
    """The same by the quiet times, with the frontier of these."""


@dataclass(frozen=True)
class Energy:
    """What the operations of one picture would cost, and what was spent."""

    estimate: Estimate
    measured: list[Spent]
    unmeasured: dict[str, str]
    """Reason for each meter that could not be read."""


@dataclass(frozen=True)
class Report:
    """One network at one rate."""

    network: str
    """Name, such as `vgg16, max pooling`, or the path of the model."""
    networks: list[Network]
    """It, and the files of `--against`."""
    rate: float | None
    """Requested spike rate of a synthetic network; None for a given model."""
    rates: dict[str, float]
    """Measured fraction of ones among the bits that enter each layer, by source."""
    parameters: int
    activation_bytes: int
    """Values of one image needed at once, in float32, computed from the graph."""
    images: int
    """Different images, cycled through."""
    cores: dict[int, list[int]]
    """Logical processors that the timed process was pinned to, by threads."""
    peak: Peak
    traffic: list[Traffic]
    bandwidth: dict[int, float] | str
    """Bytes a nanosecond by bytes of weights, or why it was not measured."""
    limit_ns: float | None
    """Nanoseconds an image at the memory limit, one thread."""
    rows: list[Row]
    comparisons: list[Comparison]
    equal_accuracy: list[Advantage]
    """Of each spiking network whose accuracy is known, where that of a dense one is."""
    unavailable: dict[str, str]
    """Reason for each contender that cannot run here."""
    energy: Energy | None = None
    """None without `--energy`."""

    @property
    def mean_rate(self) -> float:
        return sum(self.rates.values()) / len(self.rates)


@dataclass(frozen=True)
class Benchmark:
    """Everything one run of the command found."""

    machine: Machine
    protocol: Protocol
    reports: list[Report]
