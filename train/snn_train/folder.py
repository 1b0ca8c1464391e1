"""The folder of a run: what a run writes into it, and that nothing else is lost by that."""

import os
from pathlib import Path

from snn_runtime.errors import ResourceError, UsageError
from snn_train.recipe import Recipe

LATEST, PREVIOUS, DAMAGED = "latest.pt", "previous.pt", "damaged.pt"
METRICS, PLOT = "metrics.jsonl", "training.png"
CONFUSION, MISTAKES = "confusion.png", "mistakes.png"


def files_of(recipe: Recipe) -> list[str]:
    """Names of all that a run with these stages writes into its folder."""
    stages = (stage.name for stage in recipe.stages)
    names = dict.fromkeys([recipe.teacher, recipe.origin, *stages])
    kept = [f"{name}{what}.pt" for name in names for what in ("", "-refused")]
    return [LATEST, PREVIOUS, DAMAGED, METRICS, PLOT, CONFUSION, MISTAKES, *kept]


def check_free(directory: Path, recipe: Recipe) -> None:
    """Refuse a folder in which a new run would take the place of what lies there.

    Raises:
        UsageError: `bad_flag`, naming what lies there.
    """
    if (directory / LATEST).exists() or (directory / PREVIOUS).exists():
        raise UsageError(
            "bad_flag",
            f"{directory} holds a run already: go on with it (--resume {directory}) or name "
            "another folder (--out)",
        )
    for name in files_of(recipe):
        if os.path.lexists(directory / name):
            raise UsageError(
                "bad_flag",
                f"{directory} holds {name}, which a run would replace: name another folder (--out)",
            )


def check_outside(directory: Path, data: str) -> None:
    """Refuse a folder inside that of the pictures, where the next run would take it for a class.

    Args:
        data: as `--data` names it.

    Raises:
        UsageError: `bad_flag`.
    """
    kind, _, place = data.partition(":")
    if kind == "imagefolder" and directory.resolve().is_relative_to(Path(place).resolve()):
        raise UsageError(
            "bad_flag",
            f"--out {directory}: lies in {data}, whose folders are its classes; expected a folder "
            "elsewhere",
        )


def make(directory: Path) -> None:
    """Raises: ResourceError: `unwritable`."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error  # ValueError: a zero byte in its name
        raise ResourceError(
            "unwritable",
            f"{directory}: cannot be made ({reason}): name another with --out",
        ) from error


def set_aside(file: Path, place: Path) -> None:
    """Rename a file, if it is there. Raises: ResourceError: `unwritable`."""
    try:
        if file.exists():
            file.replace(place)
    except OSError as error:
        raise ResourceError("unwritable", f"{file}: cannot be renamed: {error.strerror}") from error
