"""What `train-snn` shows of a run: a live line, a line an epoch, and the closing table."""

import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from snn_train.progress import Progress, epoch_line
from snn_train.records import EpochRecord, StageOutcome
from snn_train.signals import Interruption
from snn_train.state import Run


class Terminal(Progress):
    """Progress for people: a bar on a terminal's stderr, a line an epoch on stdout."""

    def __init__(self) -> None:
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
        self.interruption = Interruption(patient=run.team.size > 1)
        super().begin(run)

    def steps(self, items: Iterable[int], run: Run, total: int) -> Iterable[int]:
        at, stage = run.position, run.stage
        title = f"{stage.name} epoch {at.epoch + 1}/{stage.epochs}"
        shown: Iterable[int] = tqdm(
            items, title, total, initial=at.step, leave=False, disable=not sys.stderr.isatty()
        )
        return shown

    def epoch(self, record: EpochRecord) -> None:
        print(epoch_line(record), flush=True)

    def note(self, text: str) -> None:
        print(f"  {text}", flush=True)

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
        print(f"\n{table(run.outcomes)}\n")
        print(f"{last}  next: export-snn {shlex.quote(str(last))} model.onnx")


class JsonLines(Terminal):
    """Progress for machines: one JSON object a line on stdout."""

    def epoch(self, record: EpochRecord) -> None:
        print(json.dumps({"event": "epoch", **record.to_dict()}), flush=True)

    def note(self, text: str) -> None:
        print(json.dumps({"event": "note", "text": text}), flush=True)

    def end(self, run: Run) -> None:
        if run.team.leads:
            stages = [outcome.to_dict() for outcome in run.outcomes]
            print(json.dumps({"event": "end", "stages": stages}))


def _again(run: Run) -> str:
    return f"train-snn --resume {shlex.quote(str(run.directory))}"


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
