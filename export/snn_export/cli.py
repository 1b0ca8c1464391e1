"""`export-snn`: from a T = 1 checkpoint to one portable, proven ONNX file."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from snn_export.flags import HELP, add_flags
from snn_runtime.command import run_command
from snn_runtime.flags import Parser, Rule, whole_number
from snn_runtime.machine.cores import MOST
from snn_train.choices import BITS

PROGRAM = "export-snn"
EXAMPLES = """examples:
  export-snn runs/digits/t1.pt model.onnx
  export-snn runs/photos/t1.pt model.onnx --data imagefolder:photos
      measure the accuracy before and after quantisation too
  export-snn t1.pt model.onnx --int-bits 4
      in integers of 4 bits, without training for it; train-snn --int-bits 4 trains for it
  export-snn t1.pt model.onnx --weights float32 --format json"""

RULES = (
    Rule(
        ("int_bits",),
        lambda args: args.weights != "float32",
        "is for integers, and --weights float32 are none",
    ),
)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        UsageError: `usage`.
    """
    description = "Fold thresholds and normalisation into a stateless ONNX graph, and prove it."
    parser = Parser(PROGRAM, description, f"{EXAMPLES}\n\n{HELP}", RULES)
    parser.add_argument(
        "checkpoint", type=Path, help="of train-snn at T=1, or another's, see below"
    )
    parser.add_argument("model", type=Path, help="the file to write")
    parser.add_argument(
        "--weights", choices=("int8", "float32"), default="int8", help="default int8: exact"
    )
    bits = "of the integers: 8 unless they were trained, see train-snn --int-bits"
    parser.add_argument("--int-bits", type=int, choices=BITS, help=bits)
    parser.add_argument("--data", help="as for train-snn: measure accuracy and spike rates on it")
    threads = whole_number(1, MOST)
    parser.add_argument("--threads", type=threads, help="(default: all cores it may use)")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    add_flags(parser)
    return parser.read(argv)


def run(args: argparse.Namespace) -> int:
    """Export as asked; returns an exit code."""
    # Here, so that --help and a mistyped flag neither wait for torch nor need it.
    from snn_export import exporting

    return exporting.run(args)


def main() -> int:
    """Run `export-snn`."""
    return run_command(PROGRAM, lambda: run(parse_args(None)))
