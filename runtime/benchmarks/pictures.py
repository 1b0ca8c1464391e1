"""Pictures of what was measured: loads and their answers, killed decoders, servers side by side."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.generator import milliseconds
from snn_bench.plot import DPI, pyplot

BLUE, RED, GREY, GREEN = "tab:blue", "tab:red", "tab:grey", "tab:green"


@dataclass(frozen=True)
class Point:
    """One load: requests a second, and seconds that answers and refusals took."""

    offered: float
    answered: float
    """In time."""
    refused: float
    failed: float
    answers: list[float]
    refusals: list[float]


def draw_curve(points: Sequence[Point], capacities: tuple[float, float], path: Path) -> None:
    """Rates on the left, times on the right, both over the offered load."""
    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5.5), layout="constrained")
    offered = [point.offered for point in points]
    left.plot(offered, offered, ":", color=GREY, label="offered")
    kinds = (("answered in time", "answered", BLUE), ("refused (503)", "refused", RED))
    for label, name, colour in (*kinds, ("failed", "failed", "black")):
        rates = [getattr(point, name) for point in points]
        if name != "failed" or any(rates):
            left.plot(offered, rates, "o-", color=colour, markersize=4, label=label)
    left.set(xlabel="offered, requests a second", ylabel="requests a second")
    left.set_ylim(bottom=0)
    for kind, name, colour in (("answers", "answers", BLUE), ("refusals", "refusals", RED)):
        for part, style in ((50, "o-"), (99, "s--")):
            told = [(p.offered, milliseconds(getattr(p, name), part)) for p in points]
            pairs = [(rate, float(text)) for rate, text in told if text]
            if pairs:
                label = f"{kind}, {'median' if part == 50 else '99 %'}"
                right.plot(
                    *zip(*pairs, strict=True), style, color=colour, markersize=4, label=label
                )
    right.set(xlabel="offered, requests a second", ylabel="ms since it was due", yscale="log")
    right.axhline(50, color=GREY, linewidth=0.8, linestyle="-.", label="50 ms")
    for axis in (left, right):
        axis.axvspan(
            *sorted(capacities), color=GREEN, alpha=0.3, label="capacity, before and after"
        )
        axis.set_xlim(left=0)
        axis.yaxis.set_major_formatter("{x:g}")
        axis.grid(visible=True, which="both", alpha=0.3)
        axis.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3)
    _save(plt, figure, path)


def draw_kills(points: Sequence[tuple[float, float]], kills: Sequence[float], path: Path) -> None:
    """The latency of each request, over when it was due."""
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(9, 4), layout="constrained")
    times, taken = [due for due, _ in points], [1000 * each for _, each in points]
    axis.plot(times, taken, ".", color=BLUE, markersize=2, label="an answered request")
    for kill in kills:
        label = "a decoder is killed" if kill == kills[0] else None
        axis.axvline(kill, color=RED, linewidth=1, label=label)
    axis.set(xlabel="due after, s", ylabel="ms since it was due", yscale="log")
    axis.yaxis.set_major_formatter("{x:g}")
    _finish(axis)
    _save(plt, figure, path)


def draw_rates(rates: dict[tuple[int, str], list[float]], path: Path) -> None:
    """Medians as bars, with the least and the most of all rounds."""
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    counts = list(dict.fromkeys(count for count, _ in rates))
    names = list(dict.fromkeys(name for _, name in rates))
    width = 0.8 / len(names)
    for place, name in enumerate(sorted(names, key=len)):
        each = [rates[count, name] for count in counts]
        middle = [statistics.median(values) for values in each]
        low = [m - min(values) for m, values in zip(middle, each, strict=True)]
        high = [max(values) - m for m, values in zip(middle, each, strict=True)]
        at = [number + (place - (len(names) - 1) / 2) * width for number in range(len(counts))]
        bars = axis.bar(at, middle, width, yerr=(low, high), capsize=3, label=name)
        axis.bar_label(bars, fmt="%.0f", label_type="center", fontsize="small")
    axis.set_xticks(range(len(counts)), [f"{count} client{'s' * (count > 1)}" for count in counts])
    axis.set(xlabel="clients that each wait for their answer", ylabel="requests a second")
    _finish(axis)
    _save(plt, figure, path)


def _finish(axis: Any) -> None:
    axis.grid(visible=True, which="both", alpha=0.3)
    axis.legend(fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)


def _save(plt: Any, figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=DPI)
    plt.close(figure)
