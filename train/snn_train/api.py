"""The package's own functions: `train` and `resume`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from snn_runtime.errors import UsageError
from snn_runtime.files import sweep_temporary
from snn_runtime.image import Fit
from snn_train import remedy, state
from snn_train.beginning import (
    check_selected,
    check_unchanged,
    done,
    pictures,
    refused,
    trained,
)
from snn_train.choices import Precision, RecipeName
from snn_train.data import DataSet
from snn_train.ensemble import Ensemble
from snn_train.experiment import Experiment
from snn_train.few import default
from snn_train.folder import check_free, check_outside
from snn_train.found import Found, find_again
from snn_train.lock import locked, new_folder
from snn_train.mistakes import review
from snn_train.parallel import AUTOMATIC, Machine, Team, joined
from snn_train.planning import closing, table
from snn_train.plot import plot
from snn_train.precision import fastest
from snn_train.pretrained import Pretrained
from snn_train.pretrained_ann import PretrainedAnn
from snn_train.probe import Place, planned
from snn_train.progress import Progress, reporter
from snn_train.recipe import Recipe
from snn_train.stages import judge_first
from snn_train.state import Run
from snn_train.threads import compute_with, crowded
from snn_train.time_budget import TimeBudget
from snn_train.training import train_run


def train(
    data: str,
    recipe: Recipe | RecipeName = "iir-bn",
    out: str | Path | None = None,
    *,
    begin_with: str | Path | None = None,
    ann: str | Path | None = None,
    teacher: str | Path | Sequence[str | Path] | None = None,
    budget: str | float | TimeBudget | None = None,
    image_size: tuple[int, int] | None = None,
    fit: Fit | None = None,
    machine: Machine = AUTOMATIC,
    progress: Progress | None = None,
    command: str | None = None,
    **changes: Any,
) -> Run:
    """Train an ANN, turn it into a spiking network, and lower its timesteps to 1.

    Args:
        data: `digits`, `imagefolder:DIR`, `cifar10`, …: what `train-snn --data` takes.
        recipe: the name of one, or one of your own; none where `begin_with` or `ann` bring theirs.
        out: the run's folder; `runs/<data>` where none is given.
        begin_with: a T = 1 network: a run's `t1.pt`, a `model.onnx` or `bundled`, see `pretrained`.
        ann: stage 0, trained: an `ann.pt`, or a state dict of torchvision, see `pretrained_ann`.
        teacher: networks of other runs, one or more, that teach in place of the first stage.
        budget: seconds to end in, or `30m`; plans epochs, and the width of a recipe by name.
        image_size, fit: of images in folders: height and width in pixels, and how to get there.
        machine: device, threads and the like.
        progress: its methods are called as the run goes on; None logs to `snn_train`.
        command: noted in every checkpoint; None notes this call.
        changes: to the recipe, see `Recipe.change`; a recipe by name has `precision` "auto".

    Returns:
        The finished run: `records` of its epochs, `outcomes` of its stages, `checkpoint(stage)`.

    Raises:
        UsageError: arguments that do not go together, or a folder that holds a run already.
        InputError: the data is missing or damaged.
        ModelError: `begin_with` is no T = 1 network, `ann` or `teacher` none with a form here.
        DivergedError: a stage failed four times; its best state is kept.
        ResourceError: a file cannot be written, or memory is too small; DeviceError: as `joined`.
        Stopped: as `progress` wanted; the state is saved.
    """
    command, hours = command or _call(data, changes), TimeBudget.given(budget)
    with joined(machine) as (team, device):
        progress = reporter(progress, team)
        begun = trained(begin_with, ann)
        loaded, fast = pictures(begun, data, image_size, fit, progress), fastest(device, team)
        ensemble = None if teacher is None else Ensemble.load(teacher, loaded)
        changes |= {"guest_teacher": ensemble is not None}
        experiment = _experiment(begun, recipe, loaded, command, changes, fast)
        _check_team(team, experiment.recipe)
        directory = _free_folder(out, loaded, experiment.recipe)
        place = Place(device, team, machine.micro_batch, bool(machine.compiled), ensemble)
        if hours:
            free = isinstance(recipe, str) and not begun and "width" not in changes
            experiment = planned(experiment, loaded, hours, free, place, done(begun, loaded))
        with new_folder(directory, team):
            run = _start(begun, experiment, loaded, directory, place, hours)
            return _finish(run, loaded, progress, machine, team)


def resume(
    directory: str | Path,
    *,
    machine: Machine = AUTOMATIC,
    progress: Progress | None = None,
    **changes: Any,
) -> Run:
    """Go on with the run in a folder, to the same bits as if it had never been stopped.

    Args:
        directory: the `out` of `train`.
        progress: as in `train`.
        changes: to the recipe, for a stage that failed: `largest_drop`, `rate_limits`,
            `spike_rate`, `percentile`, `learning_rate`, `spiking_learning_rate`.

    Returns:
        The finished run.

    Raises:
        ModelError: there is nothing to resume.
        InputError: its data is not there, or has changed.
        SnnError: as `train`.
        Stopped: likewise.
    """
    directory = Path(directory)
    with joined(machine) as (team, device), locked(directory, team):
        progress = reporter(progress, team)
        run = state.resume(directory, device, team)
        _check_team(team, run.recipe)
        compute_with(machine.threads, run.threads)
        remedy.apply(run, changes)
        data, run.found = find_again(run.experiment, run.found, directory, progress.files)
        if machine.threads is None and (note := crowded(torch.get_num_threads())):
            progress.note(note)
        return _finish(run, data, progress, machine, team)


def _finish(run: Run, data: DataSet, progress: Progress, machine: Machine, team: Team) -> Run:
    """Carry a run on to its end, on this machine and in this team."""
    run.team, run.threads = team, torch.get_num_threads()
    run.test_pictures = len(data.test_labels)
    run.micro_batch = machine.micro_batch or run.micro_batch
    run.compiled = run.compiled if machine.compiled is None else machine.compiled
    team.wait()  # until all have read what is to be resumed
    if team.leads:
        sweep_temporary(run.directory)
    progress.begin(run)
    recipe = run.recipe
    balanced, kept = recipe.class_weights == "balanced", recipe.split_seed is not None
    cautions = data.cautions(recipe.split, balanced, kept)
    for line in (*data.notes, *cautions):
        progress.note(line)
    if run.time_budget and not run.finished:
        progress.note(table(run))
    run.save()
    judge_first(run, data)
    try:
        logits = train_run(run, data, progress)
        if team.leads and run.finished:
            progress.reviewed(review(run, data, logits))
    finally:
        if team.leads and run.records:
            plot(run)
    if run.time_budget:
        progress.note(closing(run))
    return run


def _check_team(team: Team, recipe: Recipe) -> None:
    if recipe.batch_size % team.size:
        raise UsageError(
            "bad_flag",
            f"--batch-size {recipe.batch_size}: {team.size} processes cannot share it evenly",
        )


def _experiment(
    begun: Pretrained | PretrainedAnn | None,
    recipe: Recipe | RecipeName,
    data: DataSet,
    command: str,
    changes: dict[str, Any],
    fast: Precision,
) -> Experiment:
    """What a new run trains, in the `fast` precision where nothing says another.

    Raises: UsageError: values that do not go together.
    """
    by_name = isinstance(recipe, str) and not begun
    if changes.get("precision", "auto" if by_name else None) == "auto":
        changes = changes | {"precision": fast}
    with refused():
        check_selected(data, changes)
        if begun:
            check_unchanged(begun, recipe, changes)
            return begun.continued(data, command, fast=fast, **changes)
        chosen = (
            recipe
            if isinstance(recipe, Recipe)
            else default(recipe, data, changes.get("validation"))
        )
        return Experiment.on(data, chosen.change(**changes), data.normalisation(), command)


def _start(
    begun: Pretrained | PretrainedAnn | None,
    experiment: Experiment,
    data: DataSet,
    directory: Path,
    place: Place,
    hours: TimeBudget | None,
) -> Run:
    """A run at its beginning, with its teachers beside it if they are other runs'."""
    if place.ensemble:
        place.ensemble.keep(directory, place.team)
    if begun:
        run = begun.start(experiment, data, directory, place.device, place.team)
    else:
        run = state.start(experiment, directory, place.device)
    run.time_budget, run.found = hours, Found.here(data)
    return run


def _free_folder(out: str | Path | None, data: DataSet, recipe: Recipe) -> Path:
    """Where a run is going to be. Raises: UsageError: it would take the place of another."""
    directory = Path(out) if out else _usual_folder(data, recipe)
    check_outside(directory, data.name)
    check_free(directory, recipe)
    return directory


def _usual_folder(data: DataSet, recipe: Recipe) -> Path:
    name = data.name.split(":")[0].replace("/", "-")
    return Path("runs") / (f"{name}-{recipe.stages[0].name}" if recipe.stages[0].bits else name)


def _call(data: str, changes: dict[str, Any]) -> str:
    values = "".join(f", {name}={value!r}" for name, value in changes.items())
    return f"snn_train.train({data!r}{values})"
