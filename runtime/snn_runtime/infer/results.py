"""A file of answers that grows from run to run: what is done in it is not done again."""

import fcntl
import json
import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from snn_runtime.command import naming
from snn_runtime.errors import BusyError, InputError, ResourceError
from snn_runtime.files import check_regular
from snn_runtime.graph import SpikingGraph
from snn_runtime.infer.sources import Source

_LOG = logging.getLogger(__name__)
_BEGINS = (b'{"path": "', b'{"summary": {"ok": ')
"""How the lines of `snn-infer --format json` begin."""
_NAMED = re.compile(rb'\{"path": "(?:[^"\\]|\\.)*"')
_GOES_ON = (b', "ok": ', b', "path_b64": "')
"""How they go on behind the name of a picture."""


class Results:
    """JSON lines of `snn-infer`, open to be continued.

    A last line that a killed run left unfinished is cut off, and so is the summary, which is
    written again. Nothing is cut from a file that holds anything else than answers.
    """

    def __init__(self, path: Path, model: str) -> None:
        """Open the file, or make it.

        Args:
            model: what its answers are to name as the model that gave them: see `named`.

        Raises:
            BusyError: `locked`: another process writes it.
            InputError: `bad_results`: it holds something else; `other_model`: answers of another.
            ResourceError: `unwritable`.
        """
        self.path, self.model = path, model
        self._unnamed = 0
        self.file = _opened(path)
        self._done: Counter[str] = Counter()
        try:
            with naming(path):
                self.file.truncate(self._read())
        except BaseException:
            self.file.close()
            raise
        if self._unnamed:
            _LOG.warning("%s: %s answers do not say which model gave them", path, self._unnamed)
        self.labelled = self._done.total()
        """How many pictures had an answer when it was opened."""

    def close(self) -> None:
        with naming(self.path):
            self.file.close()

    def without_done(self, sources: Iterator[Source | None]) -> Iterator[Source | None]:
        """Leave out the pictures that have an answer; what failed is tried again.

        A name is left out as often as it has an answer, for a list may hold it more than once. What
        arrives in a folder that is watched is another picture, however many its name has.
        """
        done = self._done.copy()
        for source in sources:
            if source is not None and not source.arrived and done[source.name]:
                done[source.name] -= 1
            else:
                yield source

    def _read(self) -> int:
        """Count what is done, and return how many bytes are to be kept."""
        kept = end = 0
        self.file.seek(0)
        for number, line in enumerate(self.file, start=1):
            end += len(line)
            if line.endswith(b"\n"):
                kept = end if self._noted(line, number) else kept
            elif not _is_torn(line):
                raise self._refused(number)
        return kept

    def _noted(self, line: bytes, number: int) -> bool:
        """Note the answer in a line, and return whether it is of a picture."""
        record = _parsed(line)
        if _is_summary(record):
            return False
        if not _is_of_picture(record):
            raise self._refused(number)
        self._done[record["path"]] += record["ok"]
        other = record.get("model")
        if record["ok"] and other is None:
            self._unnamed += 1
        elif record["ok"] and other != self.model:
            raise InputError(
                "other_model",
                f"{self.path}: the answer in line {number} is of model {str(other):.16}, and this "
                f"is {self.model}; give the model of before, or name another file",
            )
        return True

    def _refused(self, number: int) -> InputError:
        return InputError(
            "bad_results",
            f"{self.path}: line {number} is no answer of snn-infer --format json, so nothing is "
            "added to this file; name another one, or remove that line",
        )


def named(graph: SpikingGraph) -> str:
    """Return what tells models that answer differently apart: the beginning of the digest."""
    return graph.digest()[:16]


def _parsed(line: bytes) -> Any:
    """Return what a line holds; nothing, where it is no JSON or nested without end."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _is_summary(record: Any) -> bool:
    """Whether it is the last line of ours: others may have a `summary`, too."""
    if not isinstance(record, dict) or record.keys() != {"summary"}:
        return False
    counts = record["summary"]
    return isinstance(counts, dict) and all(type(counts.get(n)) is int for n in ("ok", "failed"))


def _is_of_picture(record: Any) -> bool:
    """Whether it is an answer of ours, or says why there is none."""
    if not isinstance(record, dict):
        return False
    return isinstance(record.get("path"), str) and isinstance(record.get("ok"), bool)


def _is_torn(line: bytes) -> bool:
    """Whether a line without an end may be one of ours that a stop has cut off."""
    record = _parsed(line)
    if record is not None:
        return _is_summary(record) or _is_of_picture(record)
    named = _NAMED.match(line)
    begins, rest = (_GOES_ON, line[named.end() :]) if named else (_BEGINS, line)
    return any(begin.startswith(rest[: len(begin)]) for begin in begins)


def _opened(path: Path) -> BinaryIO:
    check_regular(path)  # a device may be endless
    try:
        file = open(path, "a+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise
        return file
    except BlockingIOError as error:
        raise BusyError("locked", f"{path}: another process writes this file") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ResourceError("unwritable", f"{path}: cannot be written: {reason}") from error
