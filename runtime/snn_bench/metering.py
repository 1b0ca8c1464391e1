"""Joules a picture: turns of their own after the race, so that no reading disturbs a timing.

In every round each contender has a turn, and before them nobody: what the machine spends while this
process sleeps. The order changes from round to round. Each meter has rounds of its own, and a
contender goes on in each with the batch behind its last, as in the race.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from snn_bench.joules import Meter, Reading
from snn_bench.timing import Call

ROUNDS = 3


@dataclass(frozen=True)
class Spent:
    """What one part of one meter spent while a contender answered pictures."""

    contender: str
    threads: int
    batch: int
    meter: str
    part: str
    """`package`, `dram`, `GPU 0` or a rail's name."""
    pictures: int
    """Images labelled in all rounds."""
    joules: float
    """Joules an image: everything behind the meter, whatever caused it."""
    joules_min: float
    """Least and most joules an image among the rounds."""
    joules_max: float
    above_idle: float
    """Joules an image, less what the machine spends in the same time while nothing runs."""
    watts: float
    idle_watts: float


@dataclass(frozen=True)
class Turn:
    """One stretch of time under a meter."""

    calls: int
    seconds: float
    reading: Reading


def spend(
    meter: Meter, calls: Mapping[str, Call], duration: float, threads: int, batch: int
) -> list[Spent]:
    """Give each contender, by name, at least `duration` seconds over all rounds.

    Raises:
        Unknown: The meter could not be read.
    """
    seconds = max(meter.least, duration / ROUNDS)
    idle: list[Turn] = []
    turns: dict[str, list[Turn]] = {name: [] for name in calls}
    names, numbers = list(calls), dict.fromkeys(calls, 0)
    for number in range(ROUNDS):
        idle.append(_turn(meter, seconds))
        first = number % len(names)
        for name in names[first:] + names[:first]:
            turns[name].append(_turn(meter, seconds, calls[name], numbers[name]))
            numbers[name] += turns[name][-1].calls
    return [
        _spent(meter, name, part, turns[name], idle, threads=threads, batch=batch)
        for name in names
        for part in idle[0].reading
    ]


def _turn(meter: Meter, seconds: float, call: Call | None = None, first: int = 0) -> Turn:
    """Let a contender work from the `first` batch on, or sleep without one."""
    if call is not None:
        call(first - 1)  # not counted: the others have emptied the caches
    done = 0
    with meter.watch() as reading:
        start = time.perf_counter()
        if call is None:
            time.sleep(seconds)
        else:
            while time.perf_counter() - start < seconds:
                call(first + done)
                done += 1
        elapsed = time.perf_counter() - start
    return Turn(done, elapsed, reading)


def _spent(
    meter: Meter,
    name: str,
    part: str,
    turns: list[Turn],
    idle: list[Turn],
    *,
    threads: int,
    batch: int,
) -> Spent:
    pictures = batch * sum(turn.calls for turn in turns)
    seconds = sum(turn.seconds for turn in turns)
    joules = sum(turn.reading[part] for turn in turns)
    idle_watts = sum(turn.reading[part] for turn in idle) / sum(turn.seconds for turn in idle)
    rounds = [turn.reading[part] / (turn.calls * batch) for turn in turns]
    return Spent(
        name,
        threads,
        batch,
        meter.name,
        part,
        pictures,
        joules / pictures,
        min(rounds),
        max(rounds),
        (joules - idle_watts * seconds) / pictures,
        joules / seconds,
        idle_watts,
    )
