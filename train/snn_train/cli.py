"""`train-snn`: from a data set to a single-timestep spiking network."""

import argparse
import io
import sys

from snn_runtime.command import run_command
from snn_train.flags import PROGRAM, parse_args


def run(args: argparse.Namespace) -> int:
    """Train as asked; returns an exit code."""
    # Here, so that --help and a mistyped flag neither wait for torch nor need it.
    from snn_train import training

    return training.run(args)


def main() -> int:
    """Run `train-snn`."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # an arrow must not end a run in a C locale
        sys.stdout.reconfigure(errors="backslashreplace")
    return run_command(PROGRAM, lambda: run(parse_args(None)))
