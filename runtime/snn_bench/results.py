"""What a benchmark found, as plain records that become tables, JSON and CSV."""

from dataclasses import dataclass

from snn_bench.energy import Estimate
from snn_bench.limit import Traffic
from snn_bench.metering import Spent
from snn_bench.timing import Latency, Protocol, Ratio
from snn_runtime.machine.describe import Machine

METHOD = {
    "interleaving": "every round times every contender, each round beginning with another; "
    "one call before each turn is not counted",
    "cores": "one process a thread count, pinned to as many cores",
    "snn input": "uint8 pixels [N, H, W, 3]; their preprocessing is timed, and with a GPU the way "
    "there and back",
    "dnn input": "float32 [N, 3, H, W], made beforehand; nothing of it is timed",
    "dnn engines": "default settings, batch fixed, OpenVINO with a latency hint, and fp32 without "
    "bfloat16; with batches also one by one and a throughput hint, the fastest in a trial",
    "ratio": "median call of the other / median call of ours, per round",
    "images_per_s": "from the mean call",
    "peak_bytes": "largest resident size of a process that loads one contender and answers a few "
    "batches, Python and libraries included",
    "activation_bytes": "what a few batches add to the resident size of a process that has loaded",
    "activation_bytes of a network": "float32 values of one picture that are needed at once, going "
    "through the nodes in their order",
    "load_seconds": "from the file to an engine that can answer, imports left out, median of 3; "
    "for an SNN reading includes the gate",
    "limit": "bytes of weight rows that the spikes make necessary / one thread's bandwidth on a "
    "buffer as large as the layer's weights, divided by the threads; every picture on its own; "
    "the first layer's multiply-adds with the picture are not in it",
    "energy estimate": "operations of one picture, counted on these pictures, times published "
    "energies of one operation; moving data is not in it",
    "energy measured": "in turns of their own after the race, each contender after the other, one "
    "call before each turn not counted; joules of everything behind the meter, whatever caused "
    "them; above_idle less what it spends in the same time while this process sleeps",
}


@dataclass(frozen=True)
class Row:
    """One contender with one thread count and batch size."""

    contender: str
    """Name, such as `snn event` or `dnn int8 openvino`."""
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
    threads: int
    batch: int
    ratio: Ratio


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
    rate: float | None
    """Requested spike rate of a synthetic network; None for a given model."""
    rates: dict[str, float]
    """Measured fraction of ones among the bits that enter each layer, by source."""
    parameters: int
    activation_bytes: int
    """Values of one image needed at once, in float32, computed from the graph."""
    images: int
    """Different images, cycled through."""
    traffic: list[Traffic]
    bandwidth: dict[int, float] | str
    """Bytes a nanosecond by bytes of weights, or why it was not measured."""
    limit_ns: float | None
    """Nanoseconds an image at the memory limit, one thread."""
    rows: list[Row]
    comparisons: list[Comparison]
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
