"""The pictures of a run that goes on: found again wherever it goes on from, and the same ones."""

import shlex
from dataclasses import dataclass
from pathlib import Path

import torch

from snn_runtime.errors import InputError
from snn_train.choices import takes_size
from snn_train.data import DataSet, load
from snn_train.data.folders import NAMED, FileProgress
from snn_train.experiment import Experiment, digest


@dataclass(frozen=True)
class Found:
    """Where a run found its pictures, and how many: what neither `--data` nor a digest says."""

    folder: str
    """The working folder, from which a relative path counts."""
    counts: dict[str, int]
    """Pictures of each class, to train and to test on."""

    @classmethod
    def here(cls, data: DataSet) -> "Found":
        """Return what is to be remembered of pictures that the working folder led to."""
        return cls(str(Path.cwd()), _counts(data))


def data_of(spec: str, experiment: Experiment, files: FileProgress) -> DataSet:
    """Pictures as `experiment` wants them."""
    size = experiment.size if takes_size(spec) else None
    return load(spec, files, size, experiment.fit)


def find_again(
    experiment: Experiment, found: Found | None, directory: Path, files: FileProgress
) -> tuple[DataSet, Found]:
    """Return the pictures of the run in `directory`: from where it began, or else from here.

    Args:
        found: when it began; None: its state is an older version's.

    Raises:
        InputError: `bad_data`: they are not there, or have changed.
    """
    here = str(Path.cwd())
    folders = [found.folder, here] if found else [here]
    place = experiment.data.partition(":")[2]
    folder = next((each for each in folders if Path(each, place).exists()), None)
    if folder is None:
        raise InputError("bad_data", _missing(place, folders))
    spec = seen_from(here, experiment.data, folder)
    data = data_of(spec, experiment, files)
    if digest(data) != experiment.data_digest:
        raise InputError(
            "bad_data",
            f"{spec} has changed since the run in {directory} began: {_change(found, data)}; put "
            f"the pictures back, or begin a new run: {_new_run(directory, spec)}",
        )
    return data, Found(folder, _counts(data))


def seen_from(here: str, spec: str, folder: str) -> str:
    """Return `--data` for the working folder `here`, if it was `spec` in another one."""
    name, _, place = spec.partition(":")
    return spec if not place or folder == here else f"{name}:{Path(folder, place)}"


def _missing(place: str, folders: list[str]) -> str:
    """Say where pictures were looked for, the folder last from which the run goes on."""
    back = "put the pictures back, or a link to them"
    if Path(place).is_absolute():
        return f"{place}: not found: {back}"
    *began, here = folders
    if began:
        return f"{place}: found neither in {began[0]}, where the run began, nor in {here}: {back}"
    return f"{place}: not found in {here}: go on from the folder in which the run began, or {back}"


def _counts(data: DataSet) -> dict[str, int]:
    labels = torch.cat([data.train_labels, data.test_labels])
    counts = torch.bincount(labels, minlength=len(data.labels)).tolist()
    return dict(zip(data.labels, counts, strict=True))


def _change(found: Found | None, data: DataSet) -> str:
    """Say which classes have more pictures or fewer than when the run began."""
    if found is None:
        return "its state, of an older version, does not say how"
    before, now = found.counts, _counts(data)
    changed = [
        f"{name} has {now.get(name, 0):,} pictures, had {before.get(name, 0):,}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name, 0) != now.get(name, 0)
    ]
    if not changed:
        return "every class has as many pictures as before, but some are others, or elsewhere"
    more = f", and {len(changed) - NAMED:,} more classes" if len(changed) > NAMED else ""
    return ", ".join(changed[:NAMED]) + more


def _new_run(directory: Path, spec: str) -> str:
    """The command that begins with what the run in `directory` has learnt."""
    words = ["train-snn", "--data", spec]
    for flag, name in (("--from", "t1.pt"), ("--ann", "ann.pt")):
        if (directory / name).exists():
            words += [flag, str(directory / name)]
            break
    return shlex.join([*words, "--out", f"{directory}-2"])
