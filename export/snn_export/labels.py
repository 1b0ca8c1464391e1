"""Names of the classes as `--labels` gives them: on the command line, or a file with one a line."""

import os
from collections.abc import Sequence

from snn_runtime import door
from snn_runtime.errors import InputError, ModelError, UsageError
from snn_runtime.labels import MAX_LABELS, check_labels


def labels_of(text: str) -> tuple[str, ...]:
    """Return the names in `text`: those of a file, where there is one of that name.

    Raises:
        UsageError: `bad_flag`: no names, or such as no model file can have.
    """
    shown = text if len(text) <= 60 else f"{text[:60]}…"
    if "," not in text or _is_there(text):
        try:
            content = door.read(text, MAX_LABELS).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UsageError("bad_flag", f"--labels {shown}: is not text in UTF-8") from error
        except InputError as error:
            listed = "; names themselves stand with commas between" * (error.code == "missing")
            raise UsageError("bad_flag", f"--labels {shown}: {error.message}{listed}") from error
        # Not splitlines, which ends lines at characters that a label would be refused for.
        lines = content.replace("\r\n", "\n").split("\n")
        names = [line for line in lines if line.strip(" \t")]
    else:
        names = text.rstrip(", \t").split(",")
    labels = tuple(name.strip(" \t") for name in names)
    if not any(labels):
        raise UsageError("bad_flag", f"--labels {shown}: names nothing")
    if "" in labels:
        raise UsageError(
            "bad_flag", f"--labels {shown}: class {labels.index('')} has no name, expected one"
        )
    try:
        check_labels(labels)
    except ModelError as error:
        raise UsageError("bad_flag", f"--labels {shown}: {error.message}") from error
    return labels


def repeated(labels: Sequence[str]) -> dict[str, list[int]]:
    """Return the names that several classes have, and the numbers of these."""
    places: dict[str, list[int]] = {}
    for number, name in enumerate(labels):
        places.setdefault(name, []).append(number)
    return {name: found for name, found in places.items() if len(found) > 1}


def renamed(given: str, trained: Sequence[str]) -> tuple[str, ...]:
    """Return the names given for the classes that were trained under other names.

    Raises:
        UsageError: `bad_flag`: not one for each.
    """
    labels = labels_of(given)
    if len(labels) != len(trained):
        raise UsageError(
            "bad_flag",
            f"--labels: names {len(labels):,} classes, the checkpoint has {len(trained):,}: "
            f"{', '.join(trained[:5])}{' …' if len(trained) > 5 else ''}",
        )
    return labels


def _is_there(text: str) -> bool:
    try:
        return os.path.lexists(text)
    except ValueError:  # a zero byte
        return False


def names_of(given: Sequence[str]) -> tuple[str, ...]:
    """Return the names that a program gives. Raises: UsageError: `bad_value`: they are none."""
    if isinstance(given, str):
        raise UsageError(
            "bad_value", f"labels is the text {given!r:.60}, expected a sequence, a name each class"
        )
    try:
        names = tuple(given)
        check_labels(names)
    except (TypeError, ModelError) as error:
        nothing = f"labels is {shown(given)}, expected a name each class"
        problem = error.message if isinstance(error, ModelError) else nothing
        raise UsageError("bad_value", problem) from error
    return names


def shown(given: object) -> str:
    """On one line."""
    return " ".join(repr(given).split())[:60]
