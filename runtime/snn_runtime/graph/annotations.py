"""The words in a graph: names of nodes and provenance. None of them computes."""

import json
import math
import re
from typing import NoReturn

from snn_runtime.errors import ModelError
from snn_runtime.graph.values import INPUT, OUTPUT, READOUT

MAX_JSON = 2**20
"""Bytes of provenance; more is not a description but an attack."""
RESERVED = frozenset({INPUT, OUTPUT, READOUT})
"""Names of an image, a readout and its output, in files and messages."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


def check_name(name: str) -> None:
    """Names become tensor names in files and lines in messages; a slash is the writer's to add.

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
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except ModelError:
        raise
    except (ValueError, RecursionError) as error:
        raise ModelError("bad_graph", f"{what}: is not JSON: {error!s:.80}") from error


def _finite(number: str) -> float:
    """A number with a point or an exponent: 1e999 would be infinite."""
    value = float(number)
    if math.isinf(value):
        raise ValueError(f"{number:.20} is no number that a float holds")
    return value


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")
