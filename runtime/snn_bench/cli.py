"""The command `snn-bench`: latency, throughput and memory of every engine here."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snn_bench.flags import RULES, TWIN, add_protocol, add_synthetic, files, several
from snn_runtime.command import run_command, say
from snn_runtime.flags import Further, Parser, whole_number
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
  snn-bench --model t1.onnx --against dnn.onnx other.onnx --plot frontier.png
      files of export-snn and export-snn --dense: accuracy against time, and the ratio between them
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
    add_synthetic(parser)
    add(
        "--backends",
        type=several(str),
        metavar="LIST",
        help="such as event,onnxruntime@cuda (default: all of the CPU, and of a GPU that is here)",
    )
    add("--threads", type=several(count), default=(1,), metavar="LIST", help="default: 1")
    add("--batch", type=several(count), default=(1,), metavar="LIST", help="default: 1")
    against = "also race: dnn, the same topology as a dense ReLU network; files, spiking or dense"
    add("--against", nargs="+", action=Further, default=(), metavar="dnn|FILE", help=against)
    add_protocol(parser)
    add("--energy", action="store_true", help="operations priced, and joules where a meter is")
    add("--no-memory", action="store_true", help="leave out peak memory and load time")
    add("--format", choices=["table", "json", "csv"], default="table", help="default: %(default)s")
    add("--plot", type=Path, metavar="FILE", help="draw time against rate or accuracy (.png …)")
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
    for threads in plan.threads:
        if threads > machine.cores:
            say(f"{PROGRAM}: warning: --threads {threads}: cores here: {machine.cores}")
    benchmark = Benchmark(machine, plan.protocol, list(_reports(args, plan)))
    form = {"json": tables.as_json, "csv": tables.as_csv, "table": tables.as_table}[args.format]
    sys.stdout.write(form(benchmark))
    if args.plot:
        plot.draw(benchmark.reports, args.plot, machine.describe())
    return 0


def main() -> int:
    """Run `snn-bench`."""
    return run_command(PROGRAM, lambda: run(parse_args(None)))


def _plan(args: argparse.Namespace) -> "Plan":
    from snn_bench.contenders import checked_backend, usual_backends
    from snn_bench.experiment import Plan
    from snn_bench.opponents import read_opponent
    from snn_bench.timing import Protocol

    return Plan(
        backends=tuple(map(checked_backend, args.backends or usual_backends())),
        required=args.backends is not None,
        against_dnn=TWIN in args.against,
        opponents=tuple(read_opponent(path, args.images) for path in files(args)),
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


if __name__ == "__main__":
    sys.exit(main())
