"""The command `snn-bench`: latency, throughput and memory of every engine here."""

import argparse
import math
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, get_args

from snn_runtime.command import run_command, say
from snn_runtime.flags import Parser, Rule, whole_number
from snn_runtime.machine.cores import MOST

if TYPE_CHECKING:
    from snn_bench.experiment import Plan
    from snn_bench.results import Report

PROGRAM = "snn-bench"

SWEEP = (0.01, 0.02, 0.05, 0.10, 0.15, 0.20, 0.30)
"""Rates of a plot."""
DEFAULT_RATES = (0.10,)
BUSY = 0.5
"""Load average from which a warning says that others use the machine too."""

EXAMPLES = """examples:
  snn-bench                               the bundled model on every backend
  snn-bench --model model.onnx --images photos/ --threads 1,2 --batch 1,16
  snn-bench --against dnn                 and its topology as a ReLU network, fp32 and INT8
  snn-bench --backends event,tensorrt,onnxruntime@cuda
  snn-bench --topology vgg16 --rates 15,10,5 --against dnn
  snn-bench --topology vgg16 --pooling average --rates 10 --against dnn
  snn-bench --topology vgg16 --weight-bits 4 --rates 10 --against dnn
  snn-bench --energy --against dnn        an estimate by operations, and joules measured
  snn-bench --topology vgg16,resnet20,vgg16-224 --against dnn --no-memory --plot sweep.png

A synthetic network (--topology) has random weights, and thresholds by which the asked share of the
spikes that enter each layer are ones. Of a ratio over 1 the spiking network is the faster."""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        UsageError: `usage`.
    """
    parser = Parser(PROGRAM, "Measure spiking networks beside their dense twins.", EXAMPLES, RULES)
    add, count = parser.add_argument, whole_number(1, MOST)
    add("--model", type=Path, metavar="PATH", help="model.onnx (default: the bundled one)")
    add("--images", type=Path, metavar="FOLDER", help="what to look at (default: random scenes)")
    _add_synthetic(parser)
    add(
        "--backends",
        type=several(str),
        metavar="LIST",
        help="such as event,onnxruntime@cuda (default: all of the CPU, and of a GPU that is here)",
    )
    add("--threads", type=several(count), default=(1,), metavar="LIST", help="default: 1")
    add("--batch", type=several(count), default=(1,), metavar="LIST", help="default: 1")
    add("--against", choices=["dnn"], help="also race the same topology as a dense ReLU network")
    _add_protocol(parser)
    add("--energy", action="store_true", help="operations priced, and joules where a meter is")
    add("--no-memory", action="store_true", help="leave out peak memory and load time")
    add("--format", choices=["table", "json", "csv"], default="table", help="default: %(default)s")
    add("--plot", type=Path, metavar="FILE", help="draw time against rate (.png, .svg, .pdf)")
    return parser.read(argv)


def run(args: argparse.Namespace) -> int:
    """Do what the command line says and return the exit code."""
    # Here, so that --help and a mistyped flag do not wait for an inference engine to load.
    from snn_bench import plot, tables
    from snn_bench.results import Benchmark
    from snn_runtime.machine.describe import this_machine

    plan = _plan(args)
    if args.plot:  # what would be said of it after the work is said before
        plot.check(args.plot)
    machine = this_machine()
    if machine.load > BUSY:
        say(f"{PROGRAM}: warning: load average {machine.load}: others use this machine too")
    benchmark = Benchmark(machine, plan.protocol, list(_reports(args, plan)))
    form = {"json": tables.as_json, "csv": tables.as_csv, "table": tables.as_table}[args.format]
    sys.stdout.write(form(benchmark))
    if args.plot:
        plot.draw(benchmark.reports, args.plot, machine.describe())
    return 0


def main() -> int:
    """Run `snn-bench`."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    return run_command(PROGRAM, lambda: run(parse_args(None)))


def several(read: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """Return a reader for a flag that takes values with commas between them, each once."""

    def split(text: str) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(read(part.strip()) for part in text.split(",")))

    return split


def number(least: float, most: float) -> Callable[[str], float]:
    """Return a reader for a number above `least`, up to `most`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least < value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number over {least:g} to {most:g}")
        return value

    return read


def _topology(text: str) -> str:
    from snn_bench.topology import TOPOLOGIES

    if text not in TOPOLOGIES:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(TOPOLOGIES)}")
    return text


def _add_synthetic(parser: Parser) -> None:
    from snn_bench.topology import TOPOLOGIES, Pooling

    add = parser.add_argument
    topologies = ", ".join(TOPOLOGIES)
    add("--topology", type=several(_topology), metavar="LIST", help=f"synthetic: {topologies}")
    add("--rates", type=several(number(0, 50)), metavar="LIST", help="in %% (default: 10)")
    add("--pooling", choices=get_args(Pooling), help="default: max")
    add("--hidden", type=whole_number(0, 2**15), metavar="N", help="units of two dense layers")
    add("--width", type=number(0, 4), metavar="FACTOR", help="on all channels (default: 1)")
    add("--weight-bits", type=int, choices=[8, 6, 4], help="of every weight (default: 8)")


def _add_protocol(parser: Parser) -> None:
    from snn_bench.timing import Protocol

    usual, add = Protocol(), parser.add_argument
    add(
        "--rounds",
        type=whole_number(1, 10_000),
        default=usual.rounds,
        metavar="N",
        help="interleaved rounds (default: %(default)s)",
    )
    add(
        "--duration",
        type=number(0, 3600),
        default=usual.duration,
        metavar="SECONDS",
        help="for each contender, over all rounds (default: %(default)g)",
    )
    add(
        "--warm-up",
        type=whole_number(1, 10_000),
        default=usual.warm_up,
        metavar="N",
        help="calls before the first round (default: %(default)s)",
    )


def _on_a_processor(args: argparse.Namespace) -> bool:
    """Whether any contender's threads can be chosen: GPUs have none."""
    from snn_bench.contenders import on_gpu

    return args.against == "dnn" or not all(map(on_gpu, args.backends or ("event",)))


RULES = (
    Rule(("model",), lambda args: not args.topology, "and --topology: choose one"),
    Rule(
        ("rates", "pooling", "hidden", "width", "weight_bits"),
        lambda args: args.topology,
        "is for synthetic networks: add --topology",
    ),
    Rule(("plot",), lambda args: args.topology, "draws time against rate: add --topology"),
    Rule(("threads",), _on_a_processor, "is for engines on the CPU: add one to --backends"),
)


def _plan(args: argparse.Namespace) -> "Plan":
    from snn_bench.contenders import checked_backend, usual_backends
    from snn_bench.experiment import Plan
    from snn_bench.timing import Protocol

    return Plan(
        backends=tuple(map(checked_backend, args.backends or usual_backends())),
        required=args.backends is not None,
        against_dnn=args.against == "dnn",
        threads=args.threads,
        batches=args.batch,
        memory=not args.no_memory,
        energy=args.energy,
        protocol=Protocol(args.rounds, args.duration, args.warm_up),
    )


def _reports(args: argparse.Namespace, plan: "Plan") -> "Iterator[Report]":
    from snn_bench.experiment import measure
    from snn_bench.topology import Design
    from snn_bench.workloads import given, scratch, synthetic

    def progress(step: str) -> None:
        say(f"{PROGRAM}: {step}")

    if not args.topology:
        with scratch() as folder:
            yield measure(given(args.model, args.images), plan, folder, progress)
        return
    rates = [rate / 100 for rate in args.rates] if args.rates else None
    for topology in args.topology:
        design = Design(
            topology, args.pooling or "max", args.hidden, args.width or 1.0, args.weight_bits or 8
        )
        with scratch() as folder:  # one for all rates, so that the twins are made once
            for workload in synthetic(design, rates or _usual_rates(args), args.images):
                yield measure(workload, plan, folder, progress)


def _usual_rates(args: argparse.Namespace) -> Sequence[float]:
    return SWEEP if args.plot else DEFAULT_RATES


def _leave(number: int, _: FrameType | None) -> None:
    # As an exception, so that children are ended and scratch files removed.
    say(f"{PROGRAM}: stopped by signal {number}")
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
