"""The command `snn-doctor`: what is here, which engines work, and which is the fastest."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snn_runtime.command import run_command, say
from snn_runtime.errors import ResourceError
from snn_runtime.files import check_target
from snn_runtime.flags import Parser, whole_number

if TYPE_CHECKING:
    from snn_runtime.doctor.report import Diagnosis

PROGRAM = "snn-doctor"
REPORT = Path("snn-doctor-report.json")
"""Written on a Jetson even without --output."""

EXAMPLES = """examples:
  snn-doctor                       what is here, which engines work, which is the fastest
  snn-doctor --model model.onnx    the same for a model of yours
  snn-doctor --json | python3 -m json.tool
  snn-doctor --output report.json  and a file to send back; on a Jetson it is written anyway

Every engine is tried in a process of its own: loaded, made to prove itself on the model's golden
images, and timed. The report holds no host name, user name, serial number or path in a home folder.
It ends with 0 if an engine works and no self-test fails, 9 if one fails, 6 if no engine works."""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        UsageError: `usage`.
    """
    parser = Parser(PROGRAM, "Say what this machine has and how well networks run on it.", EXAMPLES)
    add = parser.add_argument
    add("--model", type=Path, metavar="PATH", help="model.onnx (default: the bundled one)")
    add("--json", action="store_true", help="one JSON object instead of text")
    add("--output", type=Path, metavar="FILE", help=f"report file (on a Jetson: {REPORT})")
    add(
        "--timeout",
        type=whole_number(1, 86_400),
        metavar="SECONDS",
        help="for each engine (default: 60, with a GPU 600, since TensorRT may build for minutes)",
    )
    return parser.read(argv)


def run(args: argparse.Namespace) -> int:
    """Do what the command line says and return the exit code."""
    if args.output is not None:
        check_target(args.output, args.model)
    report = _examine(args)
    text = json.dumps(report.as_json()) + "\n" if args.json else report.as_text()
    encoding = sys.stdout.encoding or "ascii"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()
    _write(report, args.output)
    return report.exit_code


def main() -> int:
    """Run `snn-doctor`."""
    return run_command(PROGRAM, lambda: run(parse_args(None)))


def _examine(args: argparse.Namespace) -> "Diagnosis":
    # Here, so that --help and a mistyped flag do not wait for a model to be read.
    import snn_runtime
    from snn_runtime.doctor.checks import check_all
    from snn_runtime.doctor.facts import gather
    from snn_runtime.doctor.report import Diagnosis, Examined
    from snn_runtime.machine.system import System
    from snn_runtime.model import read_model_file

    file = read_model_file(args.model)  # refused here and not by every engine
    graph = file.graph
    examined = Examined(
        name="bundled" if args.model is None else "given",
        digest=file.digest,
        golden=file.golden,
        size=f"{graph.image.width}x{graph.image.height}",
        parameters=graph.parameters,
        int8=graph.exact,
        weight_bits=graph.weight_bits,
    )
    facts = gather(System())
    checks = list(check_all(args.model, args.timeout))
    return Diagnosis(snn_runtime.__version__, examined, facts, checks)


def _write(report: "Diagnosis", output: Path | None) -> None:
    """Write the report file where one is wanted, and on a Jetson where one can be written."""
    from snn_runtime.doctor.report import as_file
    from snn_runtime.files import write_atomic

    if output is None and not report.facts.on_jetson:
        return
    try:
        write_atomic(output or REPORT, as_file(report))
    except ResourceError as error:
        if output is not None:
            raise
        say(f"{PROGRAM}: warning: no report file, name one with --output: {error.message}")
        return
    say(f"{PROGRAM}: report written to {output or REPORT}; it helps us if you send it back")


if __name__ == "__main__":
    sys.exit(main())
