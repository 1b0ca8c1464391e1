"""Check a fleet of boards: a line for each, and an exit code.

    python fleet.py board1 pi@board2 --command 'snn-doctor --json --model /srv/photos.onnx'
    python fleet.py reports/ --golden 1f3a        # what boards have put into a folder: NAME.json

A board that does not answer, or answers nonsense, is a line like the others. Ends with 0 if all are
well, else with 1. It needs nothing but Python; boards need snn-doctor, and ssh without a password.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from tempfile import TemporaryFile
from threading import Timer
from typing import Any

LARGEST = 2**20
"""Bytes of a report."""
AT_ONCE = 32
HEAD = ("board", "engine", "golden hash", "ms", "state")
WELL = "well"


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    board: str
    engine: str = "-"
    golden: str = "-"
    milliseconds: str = "-"
    """Median for one picture, by the fastest engine."""
    state: str = WELL


def row(board: str, text: bytes, golden: str, oldest: datetime) -> Row:
    """Read the report of a board.

    Args:
        golden: how the golden hash of the right network begins.
        oldest: reports from before are too old.
    """
    try:
        report = json.loads(text)
        found = report["model"]["golden"]
        best: dict[str, Any] = report["fastest"] or {"flags": None, "milliseconds": 0.0}
        named = {
            each["flags"]: f"{each['backend']}, {each['details']}" for each in report["engines"]
        }
        state = "; ".join(wrong(report, golden, oldest)) or WELL
        engine = named.get(best["flags"], "-")
        return Row(board, engine, found[:12], f"{best['milliseconds']:.3g}", state)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return Row(board, state="this is no report of snn-doctor")


def wrong(report: dict[str, Any], golden: str, oldest: datetime) -> Iterator[str]:
    """What a report says that should not be."""
    for engine in report["engines"]:
        if engine["self_test"] == "failed":
            yield f"self-test failed: {engine['flags']}"
    if report["fastest"] is None:
        yield "no engine works"
    if not report["model"]["golden"].startswith(golden):
        yield "another network"
    date = datetime.fromisoformat(report["date"])
    if date < oldest:
        yield f"of {date:%Y-%m-%d %H:%M}"
    if report["exit_code"] not in (0, 6, 9):
        yield f"exit code {report['exit_code']}"


def over_ssh(host: str, command: str, seconds: float, golden: str, oldest: datetime) -> Row:
    """Ask one board. Another exit code than 255, which is ssh's own, is in the report too."""
    words = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "--", host, command]
    with TemporaryFile() as complaints:
        with Popen(
            words, stdin=DEVNULL, stdout=PIPE, stderr=complaints, start_new_session=True
        ) as ssh:
            end = partial(_kill, ssh.pid)
            clock = Timer(seconds, end)
            clock.start()
            assert ssh.stdout is not None
            text = ssh.stdout.read(LARGEST)
            late = clock.finished.is_set()
            clock.cancel()
            if len(text) == LARGEST:  # the rest is not waited for
                end()
        complaints.seek(0)
        said = complaints.read(LARGEST).decode(errors="replace").splitlines()
    if late:
        return Row(host, state=f"no answer in {seconds:g} s")
    if not text.strip():
        return Row(host, state=f"no answer: {said[-1] if said else 'it printed nothing'}")
    return row(host, text, golden, oldest)


def _kill(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def rows(args: argparse.Namespace) -> Iterator[Row]:
    """Ask all boards, and read all reports, in the order of the command line."""
    oldest = datetime.now(timezone.utc) - timedelta(hours=args.max_age)
    ask = partial(over_ssh, command=args.command, seconds=args.timeout, golden=args.golden,
                  oldest=oldest)  # fmt: skip
    hosts = [source for source in args.sources if not Path(source).is_dir()]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = dict(zip(hosts, pool.map(ask, hosts), strict=True))
    for source in args.sources:
        if source in answers:
            yield answers[source]
            continue
        for path in sorted(Path(source).glob("*.json")):
            yield from_file(path, args.golden, oldest)


def from_file(path: Path, golden: str, oldest: datetime) -> Row:
    """Read a report that was dropped."""
    try:
        if not path.is_file():  # a queue would be waited for
            return Row(path.stem, state="no file")
        with path.open("rb") as file:
            return row(path.stem, file.read(LARGEST), golden, oldest)
    except OSError as error:
        return Row(path.stem, state=f"cannot be read: {error.strerror}")


def shown(text: str) -> str:
    """Text of a board without control characters, which could rewrite the table."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:80]


def main(argv: list[str] | None = None) -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("sources", nargs="+", metavar="BOARD|FOLDER", help="asked over ssh, or read")
    add("--command", default="snn-doctor --json", help="what a board runs (default: %(default)s)")
    add("--timeout", type=float, default=120.0, help="seconds a board (default: %(default)s)")
    add("--golden", default="", help="how the golden hash of the right network begins")
    add("--max-age", type=float, default=24.0, help="hours a report counts (default: %(default)s)")
    found = list(rows(parser.parse_args(argv)))
    table = [HEAD, *(tuple(map(shown, astuple(each))) for each in found)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())
    well = sum(each.state == WELL for each in found)
    print(f"{well} of {len(found)} are well")
    return int(well < len(found) or not found)


if __name__ == "__main__":
    sys.exit(main())
