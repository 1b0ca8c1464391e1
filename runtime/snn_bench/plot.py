"""Time against the rate of the spikes, a panel a network; or accuracy against time, of files."""

import io
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from snn_bench.frontier import Point, frontier, points
from snn_bench.results import Report
from snn_runtime.errors import UsageError
from snn_runtime.files import check_target, scratch_settings, write_atomic
from snn_runtime.text import printable

KINDS: tuple[tuple[Literal["snn", "dnn"], str, str, int], ...] = (
    ("snn", "spiking networks", "-", -1),
    ("dnn", "dense INT8 networks", "--", 1),
)
"""Of networks: the legend's words, the line, and on which side of a point its name stands: left and
a little above, or right and a little below."""
GAP, LINES = 5, 30
"""From a point to its name, in points of type; and lines of type in a panel."""
PANEL = (5.0, 4.0)
"""Inches."""
DPI = 150


def pyplot() -> ModuleType:
    """The module, drawing to memory.

    Raises:
        UsageError: `no_matplotlib`: it is not installed.
    """
    try:
        with scratch_settings("MPLCONFIGDIR"):
            import matplotlib

            matplotlib.use("agg")
            from matplotlib import pyplot as module
    except ImportError as error:
        raise UsageError(
            "no_matplotlib", "--plot needs matplotlib; pip install 'iir-snn[bench]'"
        ) from error
    return module


def check(path: Path) -> None:
    """Refuse what `draw` could not write to, before there is anything to draw.

    Raises:
        UsageError: `no_matplotlib`, or `bad_plot`.
        ResourceError: `unwritable`.
    """
    check_target(path)
    known = pyplot().figure().canvas.get_supported_filetypes()
    pyplot().close("all")
    if (path.suffix[1:].lower() or "png") not in known:
        raise UsageError("bad_plot", f"--plot {path}: its suffix is none of {', '.join(known)}")


def draw(reports: Sequence[Report], path: Path, machine: str) -> None:
    """Write a picture of the first thread count and batch size of every report to `path`.

    Of reports with files it is accuracy against time, of others time against rate.

    Raises:
        UsageError: `no_matplotlib`, or `bad_plot`: a suffix that matplotlib cannot write.
        ResourceError: `unwritable`.
    """
    plt = pyplot()
    panel = _frontiers if any(len(report.networks) > 1 for report in reports) else _sweep
    networks = list(dict.fromkeys(report.network for report in reports))
    width, height = PANEL
    figure, axes = plt.subplots(
        1,
        len(networks),
        figsize=(width * len(networks), height),
        squeeze=False,
        layout="constrained",
    )
    for axis, network in zip(axes[0], networks, strict=True):
        panel(axis, [report for report in reports if report.network == network])
        axis.grid(visible=True, which="both", alpha=0.3)
    figure.suptitle(machine, fontsize="x-small", wrap=True)
    handles = axes[0][0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2 * len(networks), fontsize="small")
    data = io.BytesIO()
    try:
        figure.savefig(data, format=path.suffix.lstrip(".") or "png", dpi=DPI)
    except ValueError as error:
        raise UsageError("bad_plot", f"--plot {path}: {error}") from error
    finally:
        plt.close(figure)
    write_atomic(path, data.getvalue())


def _sweep(axis: Any, reports: Sequence[Report]) -> None:
    for name, curve in curves(reports).items():
        style = "o-" if name.startswith("snn") else "s--"
        axis.plot(*zip(*curve, strict=True), style, markersize=4, label=printable(name))
    row = reports[0].rows[0]
    time = f"ms, batch {row.batch}, threads {row.threads} (p50)"
    title = printable(reports[0].network)
    axis.set(title=title, xlabel="spikes that enter a layer, %", ylabel=time, yscale="log")


def _frontiers(axis: Any, reports: Sequence[Report]) -> None:
    """All networks of known accuracy; those of each frontier with a line and their names."""
    from matplotlib.ticker import LogLocator, NullFormatter  # here: an extra, as in `pyplot`

    first, edges = reports[0].rows[0], dict[int, list[Point]]()
    for kind, what, style, side in KINDS:
        found = points(reports[0], kind, first.threads, first.batch)
        edge = edges[side] = frontier(found)
        x, y = [p.milliseconds for p in edge], [100 * p.accuracy for p in edge]
        (line,) = axis.plot(x, y, style, marker="o", markersize=4, label=what)
        passed = [p for p in found if p not in edge]
        x, y = [p.milliseconds for p in passed], [100 * p.accuracy for p in passed]
        axis.plot(x, y, "o", markersize=4, color=line.get_color(), alpha=0.4)
    time = f"ms a picture, batch {first.batch}, threads {first.threads} (p50)"
    axis.set(xlabel=time, ylabel="accuracy, %", xscale="log")
    axis.margins(x=0.2)  # for the names
    for side, edge in edges.items():
        _name(axis, edge, side)
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())


def _name(axis: Any, edge: Sequence[Point], side: int) -> None:
    """Write the names of a frontier's points beside them, no name over another."""
    low, high = axis.get_ylim()
    line = (high - low) / LINES
    last = low - line
    for point in sorted(edge, key=lambda each: each.accuracy):
        at = (point.milliseconds, 100 * point.accuracy)
        last = max(at[1] - side * line / 2, last + line)
        name, place = printable(Path(point.network).stem), (side * GAP, last)
        how = {"textcoords": ("offset points", "data"), "ha": "left" if side > 0 else "right"}
        axis.annotate(name, at, place, fontsize="xx-small", va="center", **how)


def curves(reports: Sequence[Report]) -> dict[str, list[tuple[float, float]]]:
    """(rate in %, p50 in ms) by contender, and the physical limit where it was measured."""
    found: dict[str, list[tuple[float, float]]] = {}
    for report in reports:
        rate = 100 * report.mean_rate
        first = report.rows[0]
        for row in report.rows:
            if (row.threads, row.batch) == (first.threads, first.batch):
                found.setdefault(row.contender, []).append((rate, 1e3 * row.latency.p50))
        if report.limit_ns is not None:
            limit = report.limit_ns / 1e6 * first.batch / len(report.cores[first.threads])
            found.setdefault("snn, physical limit", []).append((rate, limit))
    return {name: sorted(points) for name, points in found.items()}
