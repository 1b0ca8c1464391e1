"""`train-snn`: from a data set to a single-timestep spiking network."""

import argparse
import io
import os
import shlex
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snn_runtime.command import run_command
from snn_runtime.errors import DivergedError, ModelError, UsageError
from snn_train.choices import REMEDIES
from snn_train.flag_values import image_size, is_whole
from snn_train.flags import OF_A_RECIPE, PROGRAM, parse_args

if TYPE_CHECKING:
    from snn_train.parallel import Machine


def run(args: argparse.Namespace) -> int:
    """Train or go on as the flags say; returns an exit code."""
    start = time.monotonic()  # to load torch takes seconds, which count in a budget of time
    # Here, so that --help and a mistyped flag neither wait for torch nor need it.
    from snn_train import api, report
    from snn_train.time_budget import TimeBudget
    from snn_train.training import Stopped

    terminal = report.JsonLines() if args.format == "json" else report.Terminal()
    try:
        if args.resume:
            changed = remedies(args)
            run = api.resume(args.resume, machine=machine(args), progress=terminal, **changed)
        elif begun := begun_before(args):
            run = api.resume(begun, machine=machine(args), progress=terminal)
        else:
            run = api.train(
                args.data,
                args.recipe,
                args.out,
                begin_with=args.begin_with,
                ann=args.ann,
                teacher=args.teacher,
                budget=args.budget and TimeBudget(args.budget, since=start),
                image_size=image_size(args.image_size),
                fit=args.fit,
                machine=machine(args),
                progress=terminal,
                command=command_line(),
                **changes(args),
            )
    except Stopped:
        return terminal.stopped()
    except BaseException as error:
        # A stage that failed for good says itself what helps: it would fail again at once.
        terminal.failed(go_on=not isinstance(error, DivergedError))
        raise
    terminal.end(run)
    return 0


def main() -> int:
    """Run `train-snn`."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # an arrow must not end a run in a C locale
        sys.stdout.reconfigure(errors="backslashreplace")
    return run_command(PROGRAM, lambda: run(parse_args(None)))


def begun_before(args: argparse.Namespace) -> str | None:
    """The folder of a run that torchrun, or whoever starts torchrun, starts again because a process
    or a machine was lost: what `--out` names, if this same command began a run there.

    torchrun's count of restarts does not decide: on another machine than that of the process that
    died it may be 0. Processes must decide alike, and do: nobody writes before all have joined."""
    if args.out is None or not os.environ.get("TORCHELASTIC_RUN_ID"):
        return None
    from snn_train import checkpoint
    from snn_train.folder import LATEST, PREVIOUS

    for name in (LATEST, PREVIOUS):
        with suppress(ModelError):  # one that is damaged, or not there
            saved = str(checkpoint.load(Path(args.out) / name).get("command"))
            # Behind the command of the run whose network it begins with, where there is one.
            same = f" && {saved}".endswith(f" && {command_line()}")
            return args.out if same else None
    return None


def command_line() -> str:
    """The command as it was given, for a run to remember."""
    return shlex.join([PROGRAM, *sys.argv[1:]])


def changes(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the flags change of a recipe, as `Recipe.change` takes it.

    Raises:
        UsageError: `bad_flag`.
    """
    from snn_train.data.augmentation import augmentation  # here, since it loads torch

    values = {name: getattr(args, name) for name in (*OF_A_RECIPE, *REMEDIES)}
    for name in ("timesteps", "epochs"):
        values[name] = _numbers(f"--{name}", getattr(args, name))
    try:
        values["augmentation"] = None if args.augment is None else augmentation(args.augment)
    except ValueError as error:
        raise UsageError("bad_flag", str(error)) from error
    return {name: value for name, value in values.items() if value is not None}


def remedies(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the flags change of a run that goes on."""
    return {name: getattr(args, name) for name in REMEDIES}


def machine(args: argparse.Namespace) -> "Machine":
    """Return where and how to compute."""
    from snn_train.parallel import Machine

    compiled = True if args.compile else False if args.no_compile else None
    return Machine(args.device, args.threads, args.micro_batch, compiled)


def _numbers(flag: str, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.split(",")
    if not all(is_whole(part) and int(part) > 0 for part in parts):
        raise UsageError("bad_flag", f"{flag} {text}: expected whole numbers from 1 such as 5,3,1")
    return tuple(int(part) for part in parts)


if __name__ == "__main__":
    sys.exit(main())
