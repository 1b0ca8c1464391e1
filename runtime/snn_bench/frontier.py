"""Accuracy against time: how much faster a spiking network is than a dense one that is as accurate.

The frontier of a kind are its networks that no other is at least as fast and as accurate as. In
between, the logarithm of the time is interpolated along the accuracy: the dense side is given the
networks of the widths that were not trained. Beyond its ends nothing is claimed.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from snn_bench.results import Advantage, Report

TIMES: tuple[Literal["p50", "quiet"], ...] = ("p50", "quiet")
"""Of a call; each has a frontier of its own."""


@dataclass(frozen=True)
class Point:
    """A network in its fastest engine."""

    network: str
    contender: str
    accuracy: float
    milliseconds: float
    """An image: a call over its batch."""


def points(
    report: Report,
    kind: Literal["snn", "dnn"],
    threads: int,
    batch: int,
    time: Literal["p50", "quiet"] = "p50",
) -> list[Point]:
    """The networks of one kind whose accuracy is known, in their fastest engines."""
    found = []
    for network in report.networks:
        if network.kind == kind and network.accuracy is not None:
            rows = [row for row in report.rows if (row.threads, row.batch) == (threads, batch)]
            own = [row for row in rows if row.network == network.name and row.kind == kind]
            if own:
                best = min(own, key=lambda row: float(getattr(row.latency, time)))
                each = 1e3 * getattr(best.latency, time) / batch
                found.append(Point(network.name, best.contender, network.accuracy, each))
    return found


def frontier(points: Iterable[Point]) -> list[Point]:
    """Those that no other beats, the fastest and least accurate first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.milliseconds, -p.accuracy)):
        if not best or point.accuracy > best[-1].accuracy:
            best.append(point)
    return best


def advantages(report: Report) -> list[Advantage]:
    """What every spiking network gains over the dense frontier, at each setting."""
    settings = dict.fromkeys((row.threads, row.batch) for row in report.rows)
    found = []
    for threads, batch in settings:
        dense, still = (frontier(points(report, "dnn", threads, batch, t)) for t in TIMES)
        ours, calm = (points(report, "snn", threads, batch, t) for t in TIMES)
        for point, quiet in zip(ours, calm, strict=True) if dense else ():
            between, ratio = _gain(dense, point)
            found.append(
                Advantage(
                    point.network, point.contender, threads, batch, point.accuracy, between,
                    ratio, _gain(still, quiet)[1],
                )
            )  # fmt: skip
    return found


def _gain(dense: Sequence[Point], point: Point) -> tuple[list[str], float | None]:
    """What a point is between on a dense frontier, and the time there at its accuracy ÷ its own."""
    between = around(dense, point.accuracy)
    ratio = _at(between, point.accuracy) / point.milliseconds if between else None
    return [each.network for each in between], ratio


def around(dense: Sequence[Point], accuracy: float) -> list[Point]:
    """The points of a frontier that an accuracy is between, or at; none beyond its ends."""
    for low, high in zip(dense, dense[1:], strict=False):
        if low.accuracy < accuracy < high.accuracy:
            return [low, high]
    return [point for point in dense if point.accuracy == accuracy]


def _at(between: Sequence[Point], accuracy: float) -> float:
    low, high = between[0], between[-1]
    if low is high:
        return low.milliseconds
    share = (accuracy - low.accuracy) / (high.accuracy - low.accuracy)
    begin, end = math.log(low.milliseconds), math.log(high.milliseconds)
    return math.exp(begin + share * (end - begin))
