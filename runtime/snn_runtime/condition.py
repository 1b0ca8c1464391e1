"""When something is to be done about an answer, `cat` or `cat>0.8`; and where it is posted to."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from snn_runtime.errors import UsageError
from snn_runtime.flags import number

if TYPE_CHECKING:  # which needs numpy, and --help must not wait for it
    from snn_runtime.answer import Answer

probability = number("from 0 to 1", lambda value: 0 <= value <= 1, "probability")
"""Reads a number from 0 to 1."""

_exceeded = number("from 0 to below 1", lambda value: 0 <= value < 1, "probability")
"""Reads one that can be exceeded."""


@dataclass(frozen=True)
class Condition:
    """An answer has this label, and more probability than that."""

    label: str
    least: float | None = None
    """None asks only that the answer is not unsure. No picture unlike anything in training does."""

    def check(self, labels: Sequence[str]) -> None:
        """Raises: UsageError: `bad_flag`: a model has no such label."""
        if self.label not in labels:
            some = ", ".join(labels[:10]) + ", …" * (len(labels) > 10)
            raise UsageError(
                "bad_flag", f"--on-label: the model has no label {self.label!r}, but {some}"
            )

    def holds(self, answer: "Answer") -> bool:
        sure = not answer.unsure if self.least is None else answer.probability > self.least
        return answer.label == self.label and sure and not answer.unfamiliar


def condition(text: str) -> Condition:
    """Read `LABEL` or `LABEL>P`: a label, and the probability that must be exceeded."""
    label, more, least = text.rpartition(">")
    return Condition(label.strip(), _exceeded(least)) if more else Condition(text.strip())


def address(text: str) -> str:
    """Read an address of HTTP, as urllib can ask for it: a host in other letters gets the name that
    DNS knows. A password in an address would stand in every list of processes."""
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        if parts.scheme not in ("http", "https") or not host or parts.port == 0:
            raise ValueError
        if parts.username is not None or not text.isprintable() or " " in text:
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(
            "expected http://… or https://…, without a user in it"
        ) from None
    if not (parts.path + parts.query).isascii():
        raise argparse.ArgumentTypeError("expected ASCII behind the host: write ä as %C3%A4")
    try:
        known = host.encode("idna").decode()
    except UnicodeError:
        raise argparse.ArgumentTypeError(
            f"{host!r} is no name of a host: expected one such as hooks.example.org"
        ) from None
    if host.isascii():
        return text
    return urlunsplit(parts._replace(netloc=parts.netloc.lower().replace(host, known)))
