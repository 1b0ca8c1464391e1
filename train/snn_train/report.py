"""What `train-snn` shows of a run: a live line, a line an epoch, and the closing table."""

import json
import shlex
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from snn_train import mistakes
from snn_train.folder import CONFUSION, MISTAKES, PLOT
from snn_train.found import seen_from
from snn_train.mistakes import Confusion
from snn_train.pace import Pace
from snn_train.progress import Progress, epoch_line, pace_line
from snn_train.records import EpochRecord, StageOutcome
from snn_train.signals import Interruption
from snn_train.state import Run

REWRITE_EVERY = 0.2
"""Seconds."""


class Terminal(Progress):
    """Progress for people: a line an epoch on stdout, and on a terminal's stderr one that is
    rewritten. Where stdout is none, a long epoch has a line every two minutes too."""

    def __init__(self) -> None:
        self.rewritten = 0.0
        """When, on the monotonic clock."""
        self.run: Run | None = None
        """Once it has begun."""
        self.interruption: Interruption | None = None

    def files(self, items: Iterable[Path], title: str, total: int) -> Iterable[Path]:
        shown: Iterable[Path] = tqdm(
            items, title, total, leave=False, disable=not sys.stderr.isatty()
        )
        return shown

    def begin(self, run: Run) -> None:
        self.run = run
        # From here on a signal is answered after the step; before, it ends the command at once.
        again = _again(run) if run.team.leads else None
        self.interruption = Interruption(again=again, patient=run.team.size > 1)
        super().begin(run)

    def step(self, pace: Pace) -> None:
        if sys.stderr.isatty():
            self.rewrite(pace_line(pace))
        if pace.due and not sys.stdout.isatty():
            self.say(pace_line(pace))

    def rewrite(self, line: str) -> None:
        """Put a line in place of the last one, not more often than eyes can follow."""
        if not line or time.monotonic() - self.rewritten > REWRITE_EVERY:
            columns = shutil.get_terminal_size().columns
            print(f"\r{line[: columns - 1]}\x1b[K", end="", file=sys.stderr, flush=True)
            self.rewritten = time.monotonic()

    def say(self, line: str) -> None:
        """Print a line that stays."""
        if sys.stderr.isatty():
            self.rewrite("")
        print(line, flush=True)

    def epoch(self, record: EpochRecord) -> None:
        self.say(epoch_line(record))

    def note(self, text: str) -> None:
        self.say(f"  {text}")

    def reviewed(self, confusion: Confusion) -> None:
        self.say(f"\n{mistakes.table(confusion)}")

    def stop(self) -> bool:
        return self.interruption is not None and self.interruption()

    def stopped(self) -> int:
        """Show how to go on with a run that a signal stopped; returns an exit code."""
        if self.run and self.run.team.leads:
            self.note(f"stopped, everything is saved; to go on: {_again(self.run)}")
        return 128 + ((self.interruption and self.interruption.received) or 0)

    def failed(self, go_on: bool) -> None:
        """Show what the run had reached, and how to go on with it."""
        run = self.run
        if run and run.team.leads and (run.outcomes or run.records):
            last = f"\nto go on: {_again(run)}" if go_on else ""
            print(f"{table(run.outcomes)}{last}", file=sys.stderr)

    def end(self, run: Run) -> None:
        """Show what the run has reached, and what to do with it."""
        if not run.team.leads:
            return
        last = run.checkpoint(run.outcomes[-1].stage)
        drawn = [n for n in (PLOT, CONFUSION, MISTAKES) if (run.directory / n).exists()]
        print(f"\n{table(run.outcomes)}\n")
        if drawn:
            print(f"pictures in {run.directory}: {', '.join(drawn)}")
        steps = run.outcomes[-1].timesteps
        then = f"next: {_export(run, last)}"
        print(f"{last}  {then if steps == 1 else f'T={steps}; export-snn takes T=1 only'}")


class JsonLines(Terminal):
    """Progress for machines: one JSON object a line on stdout."""

    def step(self, pace: Pace) -> None:
        if sys.stderr.isatty():
            self.rewrite(pace_line(pace))
        if pace.due:
            self.object("step", {k: v for k, v in asdict(pace).items() if k != "due"})

    def object(self, event: str, content: dict[str, Any]) -> None:
        self.say(json.dumps({"event": event, **content}))

    def epoch(self, record: EpochRecord) -> None:
        self.object("epoch", record.to_dict())

    def note(self, text: str) -> None:
        self.object("note", {"text": text})

    def reviewed(self, confusion: Confusion) -> None:
        self.object("confusion", confusion.to_dict())

    def end(self, run: Run) -> None:
        if run.team.leads:
            self.object("end", {"stages": [outcome.to_dict() for outcome in run.outcomes]})


def _again(run: Run) -> str:
    return f"train-snn --resume {shlex.quote(str(run.directory))}"


def _export(run: Run, checkpoint: Path) -> str:
    """The command for here, with the pictures by which it measures and calibrates."""
    spec, here = run.experiment.data, str(Path.cwd())
    spec = seen_from(here, spec, run.found.folder if run.found else here)
    return shlex.join(["export-snn", str(checkpoint), "model.onnx", "--data", spec])


def table(outcomes: Sequence[StageOutcome]) -> str:
    """The closing table: a row a stage."""
    lines = [f"{'stage':<6}{'epochs':>7}{'validation':>12}{'test':>9}{'spikes':>9}{'seconds':>9}"]
    for row in outcomes:
        test = "-" if row.test is None else f"{row.test:.2%}"
        spikes = "-" if row.spike_rate is None else f"{row.spike_rate:.1%}"
        lines.append(
            f"{row.stage:<6}{row.epochs:>7}{row.validation:>12.2%}{test:>9}{spikes:>9}"
            f"{row.seconds:>9.0f}"
        )
    return "\n".join(lines)
