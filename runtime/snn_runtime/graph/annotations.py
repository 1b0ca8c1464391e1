"""The words in a graph: names of nodes, labels of classes, provenance. None of them computes."""

import json
import re
import unicodedata
from typing import NoReturn

from snn_runtime.errors import ModelError
from snn_runtime.text import problem

MAX_JSON = 2**20
"""Bytes of provenance; more is not a description but an attack."""
MAX_LABELS = 3 * 2**20
"""Bytes of all labels, as JSON: 22,000 classes, ImageNet's all, have 140 each."""
MAX_LABEL = 1000
"""Characters of one label; a folder's name has 255 at most."""
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
    """Labels are printed: each is one line of visible text, of any language. Two classes may share
    one, as ImageNet's cranes do, but none may differ from another in its bytes alone.

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
        if wrong := problem(label):
            raise ModelError("bad_graph", f"labels: {ascii(label):.80} {wrong}")
    composed = {unicodedata.normalize("NFC", label): label for label in labels}
    for label in labels:
        if composed[unicodedata.normalize("NFC", label)] != label:
            raise ModelError(
                "bad_graph", f"labels: {label} and another differ only in how letters are composed"
            )
    size = len(json.dumps(labels, ensure_ascii=False).encode())
    if size > MAX_LABELS:
        raise ModelError("bad_graph", f"labels: {size:,} bytes, limit is {MAX_LABELS:,}")


def check_provenance(provenance: str) -> None:
    """Raises: ModelError: `bad_graph` unless `provenance` is a JSON object of moderate size."""
    if not isinstance(parse_json("provenance", provenance), dict):
        raise ModelError("bad_graph", "provenance: is not a JSON object")


def parse_json(what: str, text: str, most: int = MAX_JSON) -> object:
    """Parse JSON from a stranger: capped in size, strict about NaN, safe against deep nesting.

    Raises:
        ModelError: `bad_graph`, naming `what`.
    """
    try:
        size = len(text.encode())  # a lone surrogate could not be written to a file
        if size > most:
            raise ModelError("bad_graph", f"{what}: {size:,} bytes, limit is {most:,}")
        return json.loads(text, parse_constant=_refuse_constant)
    except ModelError:
        raise
    except (ValueError, RecursionError) as error:
        raise ModelError("bad_graph", f"{what}: is not JSON: {error!s:.80}") from error


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")
