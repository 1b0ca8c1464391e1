"""How long a step of training takes: the ANN, T = 1, T = 2 and integers, compiled and not.

    python train/benchmarks/steps.py
    python train/benchmarks/steps.py --network vgg9s --width 0.75 --levels 2 --csv steps.csv

A step is random pictures forward and back in bfloat16, without optimiser, teacher or budget. Kinds
take turns, so that a busy machine is busy for all, of some steps each: the first ones after another
kind take up to twice as long and do not count. A row is the median, the least and the most.

How many neurons fire decides how long a compiled step of spikes takes, so all thresholds are set
high enough for few: normalised currents exceed 1.4 about once in twelve times. The row `dense` is
compiled too, without the convolutions that do the work of the spikes there are.
"""

import argparse
import csv
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import nn

from snn_train.data.normalisation import Normalisation
from snn_train.integer import in_integers
from snn_train.layout import Architecture
from snn_train.network import SpikingNetwork

PIXELS = Normalisation((128, 128, 128), (64, 64, 64))
BITS = 4
KINDS = ("ANN", "T = 1", "T = 2", f"{BITS} bits")
CLASSES = 10
WARM = 2
"""Steps of a turn before those that count. The very first ones compile."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--network", default="vgg9s")
    parser.add_argument("--width", type=float, default=0.75)
    parser.add_argument("--levels", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS, help="default: all")
    parser.add_argument("--threshold", type=float, default=1.4, help="of every neuron")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5, help="timed in a turn")
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--csv", type=Path)
    return parser.parse_args()


WAYS = ("no", "dense", "yes")
"""Whether steps are compiled."""


def networks(
    architecture: Architecture, images: torch.Tensor, threshold: float
) -> dict[str, SpikingNetwork]:
    """Return what is timed, by name, with thresholds of that height."""
    made = {
        "ANN": SpikingNetwork(architecture, 0),
        "T = 1": SpikingNetwork(architecture, 1),
        "T = 2": SpikingNetwork(architecture, 2),
    }
    with torch.no_grad():  # normalisations need statistics to be folded
        for network in made.values():
            for layer in network.populations():
                layer.neuron.threshold.fill_(threshold)
        made["T = 1"](images)
    made[f"{BITS} bits"] = in_integers(made["T = 1"], BITS, PIXELS)
    return {
        name: net.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types it for tensors
        for name, net in made.items()
    }


def as_trained(network: SpikingNetwork, way: str) -> nn.Module:
    """Return a network as a step calls it, compiled in one of `WAYS`."""
    if way == "no":
        return network
    made = network.compiled()
    if way == "dense":
        for layer in network.populations():
            layer.by_events = False
    return made


def spike_rate(network: SpikingNetwork, images: torch.Tensor) -> float:
    """Return the share of neurons that fire, weighted as a budget of spikes weighs them."""
    network.rates = {}
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        network(images)
    rates, network.rates = network.rates, None
    return network.spike_rate({name: float(rate) for name, rate in rates.items()})


def step(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    """Return one step of a model."""

    def forward_and_back() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(images)
        F.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped

    return forward_and_back


def timed(
    calls: dict[tuple[str, str], Callable[[], None]], turns: int, steps: int
) -> list[list[str]]:
    """Return a row of each kind of step: its name, whether it is compiled, seconds."""
    taken: dict[tuple[str, str], list[float]] = {kind: [] for kind in calls}
    for _ in range(turns):
        for kind, call in calls.items():
            for number in range(-WARM, steps):
                start = time.perf_counter()
                call()
                if number >= 0:
                    taken[kind].append(time.perf_counter() - start)
    return [
        [*kind, *(f"{value:.3f}" for value in (median(each), min(each), max(each)))]
        for kind, each in taken.items()
    ]


def main() -> None:
    """Print a row of every kind of step, and write them."""
    args = parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(args.threads or torch.get_num_threads())
    side = args.image_size
    pictures = torch.randint(0, 256, (args.batch_size, side, side, 3), dtype=torch.uint8)
    images = PIXELS(pictures).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, CLASSES, (args.batch_size,))
    architecture = Architecture(network=args.network, width=args.width, levels=args.levels)
    calls = {}
    for way in WAYS:
        made = networks(architecture, images, args.threshold)
        for name in args.kinds:
            calls[name, way] = step(as_trained(made[name], way), images, labels)
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads,")
    rate = spike_rate(made["T = 1"], images)
    print(f"{args.network} at width {args.width}, {args.batch_size} pictures of {side}x{side},")
    print(f"spikes at T = 1: {rate:.1%}")
    rows = timed(calls, args.turns, args.steps)
    for name, compiled, middle, least, most in rows:
        print(f"{name:7} compiled {compiled:5}  {middle} s ({least} to {most})")
    if args.csv:
        with args.csv.open("w", newline="") as file:
            csv.writer(file).writerows([("step", "compiled", "s", "least", "most"), *rows])


if __name__ == "__main__":
    main()
