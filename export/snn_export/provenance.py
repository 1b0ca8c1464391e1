"""What the provenance of a file says, read as a stranger's: anybody can have written it."""

import json
from collections.abc import Mapping
from typing import Any

from snn_runtime.errors import ModelError

FRACTION = 0.1
"""Of the training pictures where nobody knows which of them selected."""


def split_of(facts: Mapping[str, Any]) -> tuple[float, int, float]:
    """Return which training pictures selected: fraction, seed and share of `DataSet.split`.

    Raises:
        ModelError: `bad_graph`: these are no such numbers.
    """
    settings = facts.get("settings") or {}
    if not isinstance(settings, dict):
        raise _refusal("settings", settings, "an object")
    seed = settings.get("split_seed")
    seed = settings.get("seed", 0) if seed is None else seed
    if type(seed) is not int or not -(2**63) <= seed < 2**64:
        raise _refusal("seed", seed, "a whole number of 64 bits")
    fraction = _part("validation", settings.get("validation", FRACTION))
    return fraction, seed, _part("split_share", settings.get("split_share", 1.0))


def trained_labels(provenance: str) -> tuple[str, ...]:
    """Return the names that classes had before others were given; none if they kept them.

    Raises:
        ModelError: `bad_graph`: these are no names.
    """
    found = json.loads(provenance).get("trained_labels", [])
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise _refusal("trained_labels", found, "a list of names")
    return tuple(found)


def _part(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise _refusal(name, value, "a number above 0, at most 1")
    return float(value)


def _refusal(name: str, value: object, expected: str) -> ModelError:
    return ModelError("bad_graph", f"provenance: {name} is {value!r:.40}, expected {expected}")
