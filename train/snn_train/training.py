"""What `train-snn` does: the data, the experiment, the run, and what is said of it."""

import argparse
import json
import shlex
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from snn_runtime.errors import DeviceError, DivergedError, ModelError, UsageError
from snn_runtime.files import sweep_temporary
from snn_train import processes, remedy, report
from snn_train.augment import Augmentation, augmentation
from snn_train.choices import takes_size
from snn_train.data import DataSet, load
from snn_train.experiment import Experiment, digest
from snn_train.flags import image_size
from snn_train.folder import check_free, make
from snn_train.handover import Handover, begin, carried_on, take
from snn_train.layout import plan
from snn_train.lock import Lock
from snn_train.loop import Stopped, train
from snn_train.network import Architecture
from snn_train.processes import Team
from snn_train.recipes import RECIPES, settings_for
from snn_train.run import Run, resume, start
from snn_train.schedule import Settings
from snn_train.signals import Interruption
from snn_train.threads import compute_with, crowded


def run(args: argparse.Namespace) -> int:
    """Train as asked; returns an exit code."""
    team, device = processes.join(_device(args.device))
    try:
        return _run(args, team, device)
    finally:
        processes.leave(team)


def _run(args: argparse.Namespace, team: Team, device: torch.device) -> int:
    compute_with(args.threads)
    terminal = report.JsonLines() if args.format == "json" else report.Terminal()
    if not team.leads:
        terminal = report.Silent()
    # Looked up first, so that a run is never half made: nothing is written before the data is good.
    if args.resume:
        directory = args.resume
        with _locked(directory, team):
            current = resume(directory, device)
            _check_compiled(current, args)
            compute_with(args.threads, current.threads)
            remedy.apply(current, vars(args))
            data = _data_again(current, terminal)
            return _carry_on(current, args, data, terminal, team)
    file: Path | None = vars(args)["from"]
    handed = take(file) if file else None
    if handed:
        data = _data_of(args.data, handed.experiment, terminal)
        handed.check_data(data, args.data)
    else:
        data = load(args.data, terminal.files, image_size(args.image_size), args.fit)
    name = data.name.split(":")[0].replace("/", "-")
    directory = args.out or Path("runs") / (f"{name}-int{args.int_bits}" if handed else name)
    experiment = _handed_on(args, handed, data) if handed else _experiment(args, data)
    check_free(directory, experiment.settings)
    make(directory)
    team.wait()  # nobody looks for an old run in what another has begun
    with _locked(directory, team):
        current = (begin(handed, experiment, directory, device, team) if handed
                   else start(experiment, directory, device))  # fmt: skip
        return _carry_on(current, args, data, terminal, team)


def _carry_on(
    current: Run, args: argparse.Namespace, data: DataSet, terminal: report.Terminal, team: Team
) -> int:
    _join(current, args, team)
    note = crowded(current.threads or 1) if args.resume and args.threads is None else None
    if note:
        terminal.note(note)
    interruption = Interruption(patient=team.size > 1)
    for line in (_title(current), *data.notes):
        terminal.note(line)
    current.save()
    again = f"train-snn --resume {shlex.quote(str(current.directory))}"
    try:
        train(current, data, terminal, interruption, args.compile)
    except Stopped:
        terminal.note(f"stopped, everything is saved; to go on: {again}")
        return 128 + (interruption.received or 0)
    except BaseException as error:
        if team.leads and (current.outcomes or current.records):
            # A stage that failed for good says itself what helps: it would fail again at once.
            last = "" if isinstance(error, DivergedError) else f"\nto go on: {again}"
            print(f"{report.table(current.outcomes)}{last}", file=sys.stderr)
        raise
    finally:
        if team.leads and current.records:
            report.plot(current)
    if team.leads:
        _conclude(current, terminal)
    return 0


def _join(current: Run, args: argparse.Namespace, team: Team) -> None:
    """Make the run that of a team, computing as many pictures at once as asked."""
    batch = current.experiment.settings.batch_size
    if batch % team.size:
        raise UsageError(
            "bad_flag", f"--batch-size {batch}: {team.size} processes cannot share it evenly"
        )
    current.team = team
    current.micro_batch = args.micro_batch or current.micro_batch
    current.threads = torch.get_num_threads()
    team.wait()  # until all have read what is to be resumed
    if team.leads:
        sweep_temporary(current.directory)


def _check_compiled(run: Run, args: argparse.Namespace) -> None:
    """Refuse `--compile` where no stage is left that it is for."""
    left = run.experiment.settings.stages[run.position.stage :]
    if args.compile and all(stage.bits for stage in left):
        raise UsageError(
            "bad_flag", f"--compile is for floating point, none of which is left in {run.directory}"
        )


def _locked(directory: Path, team: Team) -> AbstractContextManager[object]:
    return Lock(directory) if team.leads else nullcontext()


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
    usual = {"digits": "vgg5", "imagenet": "vgg16"}.get(data.name, "vgg9")
    try:
        architecture = Architecture(
            network=args.network or usual,
            recipe=args.recipe,
            width=args.width,
            classes=len(data.labels),
            image_height=height,
            image_width=width,
            **(recipe.network | {k: v for k, v in chosen.items() if v is not None}),
        )
        plan(architecture.network, architecture.width, architecture.hidden, (height, width))
        settings = settings_for(recipe, data.name, vars(args))
        settings = _augmented(settings, args.augment, data.augmentation, data)
    except ValueError as error:
        raise UsageError("bad_flag", str(error)) from error
    return Experiment(
        architecture,
        settings,
        args.data,
        digest(data),
        data.labels,
        data.fit,
        data.normalisation(),
        _command(),
    )


def _handed_on(args: argparse.Namespace, handed: Handover, data: DataSet) -> Experiment:
    try:
        made = carried_on(handed, data, args.data, vars(args), _command())
        usual = made.settings.augmentation
        settings = _augmented(made.settings, args.augment, usual, data)
    except ValueError as error:
        raise UsageError("bad_flag", str(error)) from error
    return replace(made, settings=settings)


def _command() -> str:
    return shlex.join(["train-snn", *sys.argv[1:]])


def _data_of(spec: str, experiment: Experiment, terminal: report.Terminal) -> DataSet:
    """Pictures as `experiment` wants them."""
    architecture = experiment.architecture
    size = (architecture.image_height, architecture.image_width)
    return load(spec, terminal.files, size if takes_size(spec) else None, experiment.fit)


def _data_again(current: Run, terminal: report.Terminal) -> DataSet:
    experiment = current.experiment
    data = _data_of(experiment.data, experiment, terminal)
    if digest(data) != experiment.data_digest:
        raise ModelError(
            "bad_checkpoint", f"{experiment.data} has changed since the run in {current.directory}"
        )
    return data


def _augmented(
    settings: Settings, text: str | None, usual: Augmentation, data: DataSet
) -> Settings:
    chosen = augmentation(text, usual)
    height, width = data.train_images.shape[1:3]
    if chosen.shift >= min(height, width):
        raise ValueError(f"--augment {text}: images are {height}x{width}")
    if chosen.resized and not data.on_disk:
        raise ValueError(f"--augment {text}: resized is for imagenet:DIR")
    return replace(settings, augmentation=chosen)


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
