"""The flags of `snn-bench` that come in groups, and where each of them has an effect."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from snn_runtime.flags import Parser, Rule, whole_number
from snn_runtime.flags import number as fitting

TWIN = "dnn"
"""What --against calls the dense twin; anything else is a file."""


def several(read: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """Return a reader for a flag that takes values with commas between them, each once."""

    def split(text: str) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(read(part.strip()) for part in text.split(",")))

    return split


def number(least: float, most: float) -> Callable[[str], float]:
    """Return a reader for a number above `least`, up to `most`."""
    return fitting(f"over {least:g} to {most:g}", lambda value: least < value <= most)


def _topology(text: str) -> str:
    from snn_bench.topology import TOPOLOGIES

    if text not in TOPOLOGIES:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(TOPOLOGIES)}")
    return text


def add_synthetic(parser: Parser) -> None:
    """Add what makes a synthetic network."""
    from snn_bench.topology import TOPOLOGIES, Pooling

    add = parser.add_argument
    topologies = ", ".join(TOPOLOGIES)
    add("--topology", type=several(_topology), metavar="LIST", help=f"synthetic: {topologies}")
    add("--rates", type=several(number(0, 50)), metavar="LIST", help="in %% (default: 10)")
    add("--pooling", choices=get_args(Pooling), help="default: max")
    add("--hidden", type=whole_number(0, 2**15), metavar="N", help="units of two dense layers")
    add("--width", type=number(0, 4), metavar="FACTOR", help="on all channels (default: 1)")
    add("--weight-bits", type=int, choices=[8, 6, 4], help="of every weight (default: 8)")


def add_protocol(parser: Parser) -> None:
    """Add how long and how often is measured."""
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

    return bool(args.against) or not all(map(on_gpu, args.backends or ("event",)))


def files(args: argparse.Namespace) -> list[Path]:
    """Those of --against, each once."""
    return list(dict.fromkeys(Path(name) for name in args.against if name != TWIN))


RULES = (
    Rule(("model",), lambda args: not args.topology, "and --topology: choose one"),
    Rule(
        ("rates", "pooling", "hidden", "width", "weight_bits"),
        lambda args: args.topology,
        "is for synthetic networks: add --topology",
    ),
    Rule(
        ("plot",),
        lambda args: args.topology or files(args),
        "draws time against rate or accuracy: add --topology, or files to --against",
    ),
    Rule(
        ("plot",),
        lambda args: not (args.topology and files(args)),
        "draws rates of --topology, or files of --against: leave out one",
    ),
    Rule(
        ("against",),
        lambda args: args.model not in files(args),
        "names the file of --model, which races anyway: leave it out",
    ),
    Rule(("threads",), _on_a_processor, "is for engines on the CPU: add one to --backends"),
)
