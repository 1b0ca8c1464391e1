"""The names of classes: what training, export and every model file may call them."""

import json
import unicodedata

from snn_runtime.errors import ModelError
from snn_runtime.text import problem

MAX_LABELS = 3 * 2**20
"""Bytes of all labels, as JSON: 22,000 classes, ImageNet's all, have 140 each."""
MAX_LABEL = 1000
"""Characters of one label; a folder's name has 255 at most."""


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
