"""`train-snn`: from a data set to a single-timestep spiking network."""

import argparse
import fcntl
import io
import json
import math
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch

from snn_runtime.command import Parser, run_command, whole_number
from snn_runtime.errors import BusyError, DeviceError, ModelError, ResourceError, UsageError
from snn_runtime.files import sweep_temporary
from snn_train import report
from snn_train.augment import Augmentation, Normalisation
from snn_train.data import DATA, DataSet, load
from snn_train.handover import OF_THE_FILE, Handover, begin, carried_on, take
from snn_train.integer import BITS
from snn_train.layout import NETWORKS, plan
from snn_train.loop import Stopped, train
from snn_train.network import Architecture
from snn_train.neuron import SURROGATES
from snn_train.recipes import RECIPES, settings_for
from snn_train.run import LATEST, PREVIOUS, Experiment, Run, digest, resume, start
from snn_train.schedule import RATE_LIMITS, Regulariser, Settings
from snn_train.signals import Interruption

PROGRAM = "train-snn"

EXAMPLES = f"""examples:
  train-snn --data digits
      the whole way, ANN to T=1, on scikit-learn's scans, in about a minute
  train-snn --data imagefolder:photos --network vgg9 --width 0.5 --image-size 32x32
  train-snn --data cifar10 --network vgg16 --recipe iir --timesteps 5,4,3,2,1 --epochs 300,500
      the paper's own recipe
  train-snn --data digits --int-bits 4
      one more stage after T=1, trained through the quantiser: integers of 4 bits
  train-snn --data digits --from runs/digits/t1.pt --int-bits 6 --out runs/digits-int6
      that stage alone, from the T=1 network of an earlier run
  train-snn --resume runs/digits
      go on where a run was stopped

data: {", ".join(DATA)}"""

ON_RESUME = ("resume", "format", "device", "threads")
"""Flags that may differ when a run goes on; all others are fixed by its checkpoint."""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        UsageError: `usage`.
    """
    description = "Train an ANN, turn it into a spiking network, and lower its timesteps to 1."
    parser = Parser(PROGRAM, description, EXAMPLES)
    start_or_resume = parser.add_mutually_exclusive_group(required=True)
    start_or_resume.add_argument("--data", help="what to train on, see below")
    start_or_resume.add_argument("--resume", type=Path, metavar="DIR", help="run to go on with")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: runs/<data>")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    _add_network(parser.add_argument_group("network"))
    _add_training(parser.add_argument_group("training (defaults depend on the recipe)"))
    _add_budget(parser.add_argument_group("budget of spikes"))
    _add_integers(parser.add_argument_group("integers"))
    machine = parser.add_argument_group("machine")
    machine.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default auto)")
    threads = whole_number(1, 1024)
    machine.add_argument("--threads", type=threads, help="CPU threads (default: all cores)")
    machine.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    args = parser.parse_args(argv)
    for name, value in vars(args).items() if args.resume else ():
        if name not in ON_RESUME and value != parser.get_default(name):
            flag = name.replace("_", "-")
            parser.error(f"--{flag} cannot change a run that goes on with --resume")
    begins = vars(args)["from"] is not None
    if begins and args.int_bits is None:
        parser.error("--from needs --int-bits: there is nothing else to train")
    # Parsed again without defaults, to see what was said aloud.
    silent = argparse.Namespace(**dict.fromkeys(OF_THE_FILE))
    said = vars(parser.parse_args(argv, silent)) if begins else {}
    for name in OF_THE_FILE:
        if said.get(name) is not None:
            flag = name.replace("_", "-")
            parser.error(f"--{flag} cannot change the network that --from begins with")
    return args


def _number(expected: str, fits: Callable[[float], bool]) -> Callable[[str], float]:
    """Return a reader for the value of a flag: a number that fits, as in "a number above 0"."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not fits(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number {expected}")
        return value

    return read


_SHARE = _number("from 0 to 1", lambda value: 0 <= value <= 1)


def _add_network(group: Any) -> None:
    width = _number("above 0, up to 16", lambda value: 0 < value <= 16)
    group.add_argument("--network", choices=NETWORKS, help="default vgg5 for digits, else vgg9")
    group.add_argument("--recipe", choices=tuple(RECIPES), default="iir-bn", help="default iir-bn")
    group.add_argument("--width", type=width, default=1.0, help="factor on channels (default 1)")
    hidden = "neurons in each of two dense layers; 0: none"
    group.add_argument("--hidden", type=whole_number(0, 65536), help=hidden)
    group.add_argument("--surrogate", choices=tuple(SURROGATES))
    dropout = _number("from 0, below 1", lambda value: 0 <= value < 1)
    group.add_argument("--dropout", type=dropout)
    group.add_argument("--image-size", metavar="HxW", help="imagefolder only, e.g. 32x32")
    group.add_argument("--fit", choices=("crop", "stretch"), default="crop")


def _add_training(group: Any) -> None:
    group.add_argument("--timesteps", metavar="LIST", help="default 5,4,3,2,1")
    group.add_argument(
        "--epochs", metavar="LIST", help="the ANN's, then each stage's; the last one repeats"
    )
    # Two, because normalisation over a batch of one says nothing.
    group.add_argument("--batch-size", type=whole_number(2))
    group.add_argument("--optimiser", choices=("adam", "adamw", "muon", "sgd"))
    positive = _number("above 0", lambda value: 0 < value < math.inf)
    group.add_argument("--learning-rate", type=positive, help="at its peak")
    group.add_argument(
        "--spiking-learning-rate", type=positive, help="the same of the spiking stages"
    )
    decay = _number("from 0", lambda value: 0 <= value < math.inf)
    group.add_argument("--weight-decay", type=decay)
    group.add_argument("--label-smoothing", type=_SHARE)
    group.add_argument("--distillation", type=_SHARE, help="share of the loss from the ANN, 0 to 1")
    percentile = _number("above 0, up to 100", lambda value: 0 < value <= 100)
    group.add_argument("--percentile", type=percentile, help="of the currents, first threshold")
    group.add_argument("--augment", metavar="LIST", help="e.g. flip,shift=4,cutout=8; or none")
    group.add_argument("--largest-drop", type=_SHARE, help="accuracy a stage may lose (0.1)")
    group.add_argument("--seed", type=whole_number(0, 2**63 - 1))


def _add_budget(group: Any) -> None:
    low, high = RATE_LIMITS
    share = _number(f"from {low} to {high}, a share of 1", lambda value: low <= value <= high)
    rate = "MAC-weighted share of spikes to end at, e.g. 0.08"
    group.add_argument("--spike-rate", type=share, metavar="R", help=rate)
    regularisers = get_args(Regulariser)
    group.add_argument(
        "--regulariser", choices=regularisers, help="what drives the rate there (default synaptic)"
    )


def _add_integers(group: Any) -> None:
    group.add_argument(
        "--int-bits",
        type=int,
        choices=BITS,
        help="train T=1 through the quantiser in a last stage, in integers of so many bits",
    )
    group.add_argument("--from", type=Path, metavar="FILE", help="begin with this t1.pt")


def run(args: argparse.Namespace) -> int:
    """Train as asked; returns an exit code."""
    device = _device(args.device)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    terminal = report.JsonLines() if args.format == "json" else report.Terminal()
    # Looked up first, so that a run is never half made: nothing is written before the data is good.
    if args.resume:
        directory = args.resume
        with _Lock(directory):
            current = resume(directory, device)
            data = _data_again(current, terminal)
            return _carry_on(current, data, terminal)
    file: Path | None = vars(args)["from"]
    handed = take(file) if file else None
    if handed:
        data = _data_of(args.data, handed.experiment, terminal)
        handed.check_data(data, args.data)
    else:
        data = load(args.data, terminal.files, _size(args.image_size), args.fit)
    name = data.name.split(":")[0].replace("/", "-")
    directory = args.out or Path("runs") / (f"{name}-int{args.int_bits}" if handed else name)
    _refuse_old_run(directory)
    experiment = _handed_on(args, handed, data) if handed else _experiment(args, data)
    _make(directory)
    with _Lock(directory):
        current = (begin(handed, experiment, directory, device) if handed
                   else start(experiment, directory, device))  # fmt: skip
        return _carry_on(current, data, terminal)


def main() -> int:
    """Run `train-snn`."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # an arrow must not end a run in a C locale
        sys.stdout.reconfigure(errors="backslashreplace")
    return run_command(PROGRAM, lambda: run(parse_args(None)))


def _carry_on(current: Run, data: DataSet, terminal: report.Terminal) -> int:
    sweep_temporary(current.directory)
    interruption = Interruption()
    terminal.note(_title(current))
    current.save()
    again = f"train-snn --resume {shlex.quote(str(current.directory))}"
    try:
        train(current, data, terminal, interruption)
    except Stopped:
        terminal.note(f"stopped, everything is saved; to go on: {again}")
        return 128 + (interruption.received or 0)
    except BaseException:
        if current.outcomes or current.records:
            print(f"{report.table(current.outcomes)}\nto go on: {again}", file=sys.stderr)
        raise
    finally:
        report.write_metrics(current)
        if current.records:
            report.plot(current)
    _conclude(current, terminal)
    return 0


def _conclude(current: Run, terminal: report.Terminal) -> None:
    if isinstance(terminal, report.JsonLines):
        print(json.dumps({"event": "end", "stages": current.outcomes}))
        return
    last = current.directory / f"{current.outcomes[-1]['stage']}.pt"
    print(f"\n{report.table(current.outcomes)}\n")
    print(f"{last}  next: export-snn {shlex.quote(str(last))} model.onnx")


def _title(current: Run) -> str:
    architecture = current.experiment.architecture
    own = [stage.name for stage in current.experiment.settings.stages]
    others = [row["stage"] for row in current.outcomes if row["stage"] not in own]
    stages = " → ".join([*others, *own])
    parameters = sum(p.numel() for p in current.network.parameters())
    return (
        f"{architecture.network} width {architecture.width:g}, {parameters:,} parameters, recipe "
        f"{architecture.recipe}, {stages}, on {current.experiment.data}, in {current.directory}"
    )


def _experiment(args: argparse.Namespace, data: DataSet) -> Experiment:
    recipe = RECIPES[args.recipe]
    height, width = data.train_images.shape[1:3]
    chosen = {"surrogate": args.surrogate, "dropout": args.dropout, "hidden": args.hidden}
    network = args.network or ("vgg5" if data.name == "digits" else "vgg9")
    try:
        architecture = Architecture(
            network=network,
            recipe=args.recipe,
            width=args.width,
            classes=len(data.labels),
            image_height=height,
            image_width=width,
            **(recipe.network | {k: v for k, v in chosen.items() if v is not None}),
        )
        plan(architecture.network, architecture.width, architecture.hidden, (height, width))
        settings = settings_for(recipe, data.name, vars(args))
        settings = _augmented(settings, args.augment, data.augmentation, (height, width))
    except ValueError as error:
        raise UsageError("bad_flag", str(error)) from error
    return Experiment(
        architecture,
        settings,
        args.data,
        digest(data),
        data.labels,
        data.fit,
        Normalisation.of(data.train_images),
        _command(),
    )


def _handed_on(args: argparse.Namespace, handed: Handover, data: DataSet) -> Experiment:
    try:
        made = carried_on(handed, data, args.data, vars(args), _command())
        usual = made.settings.augmentation
        settings = _augmented(made.settings, args.augment, usual, handed.size)
    except ValueError as error:
        raise UsageError("bad_flag", str(error)) from error
    return replace(made, settings=settings)


def _command() -> str:
    return shlex.join(["train-snn", *sys.argv[1:]])


def _data_of(spec: str, experiment: Experiment, terminal: report.Terminal) -> DataSet:
    """Pictures as `experiment` wants them."""
    architecture = experiment.architecture
    size = (architecture.image_height, architecture.image_width)
    folder = spec.startswith("imagefolder:")
    return load(spec, terminal.files, size if folder else None, experiment.fit)


def _data_again(current: Run, terminal: report.Terminal) -> DataSet:
    experiment = current.experiment
    data = _data_of(experiment.data, experiment, terminal)
    if digest(data) != experiment.data_digest:
        raise ModelError(
            "bad_checkpoint", f"{experiment.data} has changed since the run in {current.directory}"
        )
    return data


def _augmented(
    settings: Settings, text: str | None, usual: Augmentation, size: tuple[int, int]
) -> Settings:
    chosen = _augmentation(text, usual)
    if chosen.shift >= min(size):
        raise ValueError(f"--augment {text}: images are {size[0]}x{size[1]}")
    return replace(settings, augmentation=chosen)


def _augmentation(text: str | None, default: Augmentation) -> Augmentation:
    if text is None:
        return default
    values: dict[str, Any] = {}
    for part in text.split(",") if text != "none" else []:
        name, _, number = part.partition("=")
        if name == "flip" and not number:
            values["flip"] = True
        elif name in ("shift", "cutout") and number.isdecimal():
            values[name] = int(number)
        else:
            raise ValueError(f"--augment {text}: expected e.g. flip,shift=4,cutout=8 or none")
    return Augmentation(**values)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal() and min(int(height), int(width)) >= 8):
        raise UsageError(
            "bad_flag", f"--image-size {text}: expected HEIGHTxWIDTH from 8x8, e.g. 32x32"
        )
    return int(height), int(width)


def _device(name: str) -> torch.device:
    """Obey an explicit device or refuse; `auto` takes a GPU if torch can use one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError("bad_flag", f"--device {name}: expected auto, cpu or cuda") from error
    if device.type not in ("cpu", "cuda"):
        raise UsageError("bad_flag", f"--device {name}: expected auto, cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise DeviceError("no_device", f"--device {name}: torch sees {found} CUDA devices")
    return device


def _refuse_old_run(directory: Path) -> None:
    if (directory / LATEST).exists() or (directory / PREVIOUS).exists():
        raise UsageError(
            "bad_flag",
            f"{directory} holds a run already: go on with it (--resume {directory}) or name "
            "another folder (--out)",
        )


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError("unwritable", f"{directory}: {error.strerror}") from error


class _Lock:
    """One trainer a folder: holds an advisory lock that the system drops with the process."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / ".lock"

    def __enter__(self) -> None:
        if not self.path.parent.is_dir():
            raise ModelError("bad_checkpoint", f"{self.path.parent}: no such folder")
        try:
            self.file = self.path.open("a+")
        except OSError as error:
            raise ResourceError("unwritable", f"{self.path}: {error.strerror}") from error
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            with self.file:
                self.file.seek(0)
                holder = self.file.read().strip()
            raise BusyError("locked", f"{self.path.parent} is locked by pid {holder}") from error
        self.file.truncate(0)
        self.file.write(str(os.getpid()))
        self.file.flush()

    def __exit__(self, *_: object) -> None:
        self.file.close()
