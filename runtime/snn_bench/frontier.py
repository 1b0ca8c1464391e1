"""Accuracy against time: how much faster a spiking network is than a dense one that is as accurate.

The frontier of a kind are its networks that no other is at least as fast and as accurate as. In
between, the logarithm of the time is interpolated along the accuracy: the dense side is given the
networks of the widths that were not trained. Beyond its ends nothing is claimed.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from snn_bench.results import Advantage, Network, Report, Row


@dataclass(frozen=True)
class Point:
    """A network in its fastest engine."""

    network: str
    contender: str
    accuracy: float
    milliseconds: float
    """An image: the median call over its batch."""
    quiet: float
    """The same of the fastest call with each picture."""


def points(report: Report, kind: Literal["snn", "dnn"], threads: int, batch: int) -> list[Point]:
    """The networks of one kind whose accuracy is known, in their fastest engines by the median."""
    found = []
    for network in report.networks:
        if network.kind == kind and network.accuracy is not None:
            rows = [row for row in report.rows if (row.threads, row.batch) == (threads, batch)]
            own = [row for row in rows if row.network == network.name and row.kind == kind]
            if own:
                found.append(_point(network, network.accuracy, min(own, key=_median)))
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
        dense = frontier(points(report, "dnn", threads, batch))
        for point in points(report, "snn", threads, batch) if dense else ():
            between = around(dense, point.accuracy)
            ratio = quiet = None
            if between:
                ratio = _at(between, point.accuracy, "milliseconds") / point.milliseconds
                quiet = _at(between, point.accuracy, "quiet") / point.quiet
            names = [each.network for each in between]
            found.append(
                Advantage(
                    point.network, point.contender, threads, batch, point.accuracy, names,
                    ratio, quiet,
                )
            )  # fmt: skip
    return found


def around(dense: Sequence[Point], accuracy: float) -> list[Point]:
    """The points of a frontier that an accuracy is between, or at; none beyond its ends."""
    for low, high in zip(dense, dense[1:], strict=False):
        if low.accuracy < accuracy < high.accuracy:
            return [low, high]
    return [point for point in dense if point.accuracy == accuracy]


def _at(
    between: Sequence[Point], accuracy: float, which: Literal["milliseconds", "quiet"]
) -> float:
    low, high = between[0], between[-1]
    if low is high:
        return float(getattr(low, which))
    share = (accuracy - low.accuracy) / (high.accuracy - low.accuracy)
    begin, end = (math.log(getattr(point, which)) for point in (low, high))
    return math.exp(begin + share * (end - begin))


def _median(row: Row) -> float:
    return row.latency.p50


def _point(network: Network, accuracy: float, row: Row) -> Point:
    latency, each = row.latency, 1e3 / row.batch
    return Point(network.name, row.contender, accuracy, latency.p50 * each, latency.quiet * each)
