"""What `snn-infer` prints: for people, for programs, for spreadsheets."""

import csv
import io
import json
import sys
from collections.abc import Callable
from typing import Any, BinaryIO, ClassVar

from snn_runtime.answer import Answer
from snn_runtime.cells import cell
from snn_runtime.command import naming, say
from snn_runtime.errors import PARTIAL, InputError, SnnError
from snn_runtime.image.folder import Tally
from snn_runtime.infer import PROGRAM
from snn_runtime.infer.records import failed, labelled
from snn_runtime.infer.results import Results
from snn_runtime.text import printable

SCREEN = 20
"""Pictures from which on the error lines may have left a terminal."""


class Printer:
    """Answers to standard output, everything else to standard error, and the exit code.

    Each form of output is a subclass that fills in the `_put` methods.
    """

    lists_failures: ClassVar[bool] = False
    """Whether what failed, and why, stands among the answers."""
    summarises: ClassVar[bool] = False
    """Whether standard output ends with what standard error would say last."""

    def __init__(
        self,
        engine: str,
        *,
        self_tested: bool,
        strict: bool,
        everything: bool,
        results: Results | None = None,
    ) -> None:
        """Begin to print.

        Args:
            engine: what computes the answers: `event, avx512, 2 threads`.
            self_tested: whether it has proved itself here.
            strict: whether a warning costs a picture its answer.
            everything: whether text has alternatives also where the first label is sure.
            results: where answers go in place of standard output.
        """
        self._engine, self._self_tested = engine, self_tested
        self._strict, self._everything = strict, everything
        self._out: BinaryIO = sys.stdout.buffer if results is None else results.file
        self._target = "standard output" if results is None else results.path
        self._about = {} if results is None else {"model": results.model}
        """What every answer of JSON says beside."""
        self.clear: Callable[[], object] = lambda: None
        """Removes what stands in the way of a line on a terminal."""
        self.labelled = 0 if results is None else results.labelled
        self.failed = self.skipped = 0
        self.left_undone = 0
        """How often something could not be done with a picture that is labelled."""
        self.passed_over = Tally()
        """What in folders is no picture at all."""
        self._reasons = Tally()
        """Why pictures failed, by the codes of their errors."""

    @property
    def handled(self) -> int:
        return self.labelled + self.failed + self.skipped

    def answer(self, name: str, answer: Answer) -> bool:
        """Print an answer, and return whether it is one: --strict may make it a failure."""
        if answer.warnings and self._strict:
            self.failure(name, InputError("strict", f"{answer.warnings[0]} (--strict)"))
            return False
        self.labelled += 1
        for warning in answer.warnings:
            say(f"{PROGRAM}: warning: {name}: {warning}")
        self._put_answer(name, answer)
        return True

    def done(self, what: str) -> None:
        """Say what was done with a picture that is labelled."""
        say(f"{PROGRAM}: {what}")

    def undone(self, name: str, error: SnnError) -> None:
        """Say what could not be done with a picture that is labelled."""
        self.left_undone += 1
        say(f"{PROGRAM}: error: {name}: {error}")

    def failure(self, name: str, error: InputError) -> None:
        self.failed += 1
        self._reasons.note(error.code, name)
        say(f"{PROGRAM}: error: {name}: {error}")
        self._put_failure(name, error)

    def skip(self, name: str, reason: str) -> None:
        if self._strict:
            self.failure(name, InputError("strict", f"{reason} (--strict)"))
            return
        self.skipped += 1
        say(f"{PROGRAM}: warning: {name}: {reason}, skipped")
        self._put_skipped()

    def end(self) -> int:
        """Print what comes last and return the exit code."""
        self.clear()
        if self.passed_over.counts:
            say(f"{PROGRAM}: passed over: {self.passed_over}")
        if self.failed and self.handled > SCREEN:
            where = "" if self.lists_failures else "; --format csv or json lists them"
            say(f"{PROGRAM}: failed: {self._reasons}{where}")
        if self.failed or self.skipped or self.left_undone or not self.summarises:
            counts = _counted(
                {
                    "labelled": self.labelled,
                    "failed": self.failed,
                    "skipped": self.skipped,
                    "not acted on": self.left_undone,
                }
            )
            untested = "" if self._self_tested else "; not self-tested, see --self-test"
            say(f"{PROGRAM}: {counts} ({self._engine}{untested})")
        self._put_end()
        self.flush()
        if not (self.failed or self.left_undone):
            return 0  # nothing at all may be asked for: a shard has no picture of its own
        return PARTIAL if self.labelled else InputError.exit_code

    def flush(self) -> None:
        with naming(self._target):
            self._out.flush()

    def _write(self, data: bytes) -> None:
        with naming(self._target):
            self._out.write(data)

    def _put_answer(self, name: str, answer: Answer) -> None:
        raise NotImplementedError

    def _put_failure(self, name: str, error: InputError) -> None:
        """Failures are on stderr; only some forms repeat them on standard output."""

    def _put_skipped(self) -> None:
        """So is what was skipped."""

    def _put_end(self) -> None:
        """Most forms need no last line."""


class TextPrinter(Printer):
    """One line a picture: its name, the label, how sure; alternatives where it is unsure."""

    def _put_answer(self, name: str, answer: Answer) -> None:
        shown = (
            answer.predictions if answer.doubtful or self._everything else answer.predictions[:1]
        )
        labels = ", ".join(f"{p.label} {p.probability:.1%}" for p in shown)
        line = printable(": ".join((name, *answer.doubts, labels)))
        self._write(line.encode(sys.stdout.encoding or "ascii", "backslashreplace") + b"\n")


class LabelPrinter(Printer):
    """The label alone; an empty line where there is none, or a doubtful one."""

    def _put_answer(self, name: str, answer: Answer) -> None:
        label = "" if answer.doubtful else printable(answer.label)
        self._write(label.encode(sys.stdout.encoding or "ascii", "backslashreplace") + b"\n")

    def _put_failure(self, name: str, error: InputError) -> None:
        self._put_skipped()

    def _put_skipped(self) -> None:
        self._write(b"\n")


class JsonPrinter(Printer):
    """One object a line and input, and a summary last; ASCII only."""

    lists_failures = True
    summarises = True

    def _put_answer(self, name: str, answer: Answer) -> None:
        self._put(**labelled(name, answer), **self._about)

    def _put_failure(self, name: str, error: InputError) -> None:
        self._put(**failed(name, error))

    def _put_end(self) -> None:
        counts = {"ok": self.labelled, "failed": self.failed, "skipped": self.skipped}
        summary = {**counts, "passed_over": self.passed_over.counts, "engine": self._engine}
        self._put(summary={**summary, "self_test": "passed" if self._self_tested else "not run"})

    def _put(self, **fields: object) -> None:
        self._write(json.dumps(fields).encode("ascii") + b"\n")


class CsvPrinter(Printer):
    """One row a prediction and one a failed picture, in UTF-8; undecodable file names as the bytes
    they are, text as `cells.cell` defuses it."""

    lists_failures = True

    def __init__(self, engine: str, **given: Any) -> None:
        super().__init__(engine, **given)
        doubts = ("unsure", "unfamiliar")
        self._put([*"path rank label index logit probability".split(), *doubts, "error", "message"])

    def _put_answer(self, name: str, answer: Answer) -> None:
        doubts = [str(each).lower() for each in (answer.unsure, answer.unfamiliar)]
        for place, p in enumerate(answer.predictions, start=1):
            self._put([name, place, p.label, p.index, p.logit, p.probability, *doubts, "", ""])

    def _put_failure(self, name: str, error: InputError) -> None:
        self._put([name, *[""] * 7, error.code, error.message])

    def _put(self, row: list[object]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerow(map(cell, row))
        self._write(text.getvalue().encode("utf-8", "surrogateescape"))


PRINTERS: dict[str, type[Printer]] = {
    "text": TextPrinter,
    "label": LabelPrinter,
    "json": JsonPrinter,
    "csv": CsvPrinter,
}


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(
        f"{count:,} {what}" for what, count in counts.items() if count or what == "labelled"
    )
