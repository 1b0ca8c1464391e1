"""The words in a graph: names of nodes, labels of classes, provenance. None of them computes."""

import json
import re
from typing import NoReturn

from snn_runtime.errors import ModelError

MAX_JSON = 2**20
"""Characters of labels or provenance; more is not a description but an attack."""
MAX_LABEL = 200
"""Characters of one label."""
RESERVED = frozenset({"image", "logits", "readout"})
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


def check_name(name: str) -> None:
    """Names become tensor names in files and lines in messages; a slash is ours to add.

    Raises:
        ModelError: `bad_graph`.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ModelError(
            "bad_graph",
            f"{name!r:.80}: a node's name is 1 to 100 of the characters A-Z a-z 0-9 _ . -",
        )
    if name in RESERVED:
        raise ModelError("bad_graph", f"{name}: this name is reserved, no node can have it")


def check_labels(labels: tuple[str, ...]) -> None:
    """Labels are printed: each is one line of visible text. Two classes may share one.

    Raises:
        ModelError: `bad_graph`.
    """
    if not labels:
        raise ModelError("bad_graph", "labels: there are none, expected one a class")
    for number, label in enumerate(labels):
        if not isinstance(label, str) or not 0 < len(label) <= MAX_LABEL:
            raise ModelError(
                "bad_graph",
                f"labels: number {number} is {label!r:.80}, expected text of 1 to {MAX_LABEL} "
                "characters",
            )
        if not label.isprintable():
            raise ModelError("bad_graph", f"labels: {label!r:.80} holds characters nobody can see")


def check_provenance(provenance: str) -> None:
    """Raises: ModelError: `bad_graph` unless `provenance` is a JSON object of moderate size."""
    if not isinstance(parse_json("provenance", provenance), dict):
        raise ModelError("bad_graph", "provenance: is not a JSON object")


def parse_json(what: str, text: str) -> object:
    """Parse JSON from a stranger: capped in size, strict about NaN, safe against deep nesting.

    Raises:
        ModelError: `bad_graph`, naming `what`.
    """
    if len(text) > MAX_JSON:
        raise ModelError("bad_graph", f"{what}: {len(text):,} characters, limit is {MAX_JSON:,}")
    try:
        text.encode()  # a lone surrogate could not be written to a file
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ModelError("bad_graph", f"{what}: is not JSON: {error!s:.80}") from error


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")
