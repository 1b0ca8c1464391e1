"""What `snn-bench` prints: for people, for programs, for spreadsheets."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from snn_bench import energy_tables
from snn_bench.columns import aligned
from snn_bench.results import METHOD, Benchmark, Comparison, Report, Row
from snn_runtime.cells import cell
from snn_runtime.text import printable

MEGABYTE = 1e6
ENOUGH = 10
"""Calls with each batch of pictures, from which quiet times can be compared."""
COLUMNS = (
    "network rate measured_rate contender threads batch variant p50_ms quiet_ms p90_ms p99_ms "
    "mean_ms calls calls_a_batch images_per_s peak_mb activation_mb load_s limit_share peak_share "
    "accuracy against ratio ratio_p10 ratio_p90 ratio_min ratio_max ratio_quiet"
).split()
HEADINGS = ("threads", "batch", "contender", "p50 ms", "quiet ms", "p90 ms", "p99 ms", "images/s")
EXTRA: dict[str, tuple[str, Callable[[float], str]]] = {
    "peak MB": ("peak_bytes", lambda value: f"{value / MEGABYTE:.0f}"),
    "activ. MB": ("activation_bytes", lambda value: f"{value / MEGABYTE:.1f}"),
    "load s": ("load_seconds", lambda value: f"{value:.3f}"),
    "of limit": ("limit_share", lambda value: f"{value:.0%}"),
    "of peak": ("peak_share", lambda value: f"{value:.0%}"),
}
"""Columns that are there if any row has them: the field, and how it is shown."""


def as_json(benchmark: Benchmark) -> str:
    """One object with everything; ASCII only."""
    value = {
        "machine": asdict(benchmark.machine),
        "protocol": asdict(benchmark.protocol),
        "method": METHOD,
        "reports": [_plain(report) for report in benchmark.reports],
    }
    return json.dumps(value) + "\n"


def as_csv(benchmark: Benchmark) -> str:
    """A line for each contender, thread count and batch size; ratios are to the best dense twin."""
    text = io.StringIO()
    columns = [*COLUMNS, *energy_tables.columns(benchmark.reports)]
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for report in benchmark.reports:
        for row in report.rows:
            writer.writerow({name: cell(value) for name, value in _record(report, row).items()})
    return text.getvalue()


def as_table(benchmark: Benchmark) -> str:
    """A table a network and rate, with what follows from it in sentences."""
    lines = [benchmark.machine.describe()]
    if benchmark.reports:
        lines += _pinned(benchmark.reports[0])
    for report in benchmark.reports:
        sections = [_header(report), _table(report.rows), _findings(report), _energy(report)]
        for section in map(list, sections):
            lines += ["", *section] if section else []
    return "\n".join(map(printable, lines)) + "\n"


def best_ratio(report: Report, row: Row) -> Comparison | None:
    """The comparison of a row's contender with the fastest dense twin, if it was in the race."""
    key = (row.contender, row.threads, row.batch)
    for item in report.comparisons:
        if item.best_twin and (item.contender, item.threads, item.batch) == key:
            return item
    return None


def accuracies(report: Report) -> dict[str, float | None]:
    """By network; a dense twin has none."""
    return {network.name: network.accuracy for network in report.networks}


def _plain(report: Report) -> dict[str, Any]:
    rows = [asdict(row) | {"images_per_s": row.images_per_second} for row in report.rows]
    return asdict(report) | {"mean_rate": report.mean_rate, "rows": rows}


def _record(report: Report, row: Row) -> dict[str, object]:
    latency, own = row.latency, row.network == report.network
    twin = own and row.kind == "dnn"
    record: dict[str, object] = {
        "network": row.network,
        "rate": report.rate if own else None,
        "measured_rate": round(report.mean_rate, 6) if own else None,
        "contender": row.contender,
        "threads": row.threads,
        "batch": row.batch,
        "variant": row.variant,
        **{f"{name}_ms": 1e3 * getattr(latency, name) for name in ("p50", "quiet", "p90", "p99")},
        "mean_ms": 1e3 * latency.mean,
        "calls": latency.calls,
        "calls_a_batch": latency.calls_a_batch,
        "images_per_s": row.images_per_second,
        "peak_mb": None if row.peak_bytes is None else row.peak_bytes / MEGABYTE,
        "activation_mb": None if row.activation_bytes is None else row.activation_bytes / MEGABYTE,
        "load_s": row.load_seconds,
        "limit_share": row.limit_share,
        "peak_share": row.peak_share,
        "accuracy": None if twin else accuracies(report)[row.network],
    }
    comparison = best_ratio(report, row)
    if comparison is not None:
        spread = comparison.ratio
        record |= {"against": comparison.against, "ratio": spread.median}
        record |= {f"ratio_{k}": getattr(spread, k) for k in ("p10", "p90", "min", "max", "quiet")}
    if report.energy is not None:
        record |= energy_tables.record(report.energy, row, estimated=own)
    return record


def _header(report: Report) -> Iterator[str]:
    rates = report.rates.values()
    asked = "" if report.rate is None else f" at {report.rate:.3g}"
    yield (
        f"{report.network}{asked}: {report.parameters / 1e6:.1f} M parameters; spikes entering the "
        f"layers {report.mean_rate:.2%} ({min(rates):.2%} to {max(rates):.2%}) "
        f"on {report.images} pictures"
    )
    arithmetic = report.activation_bytes / MEGABYTE
    yield f"values of a picture that are needed at once, in float32: {arithmetic:.1f} MB"
    total = sum(layer.row_bytes for layer in report.traffic)
    macs = sum(layer.image_macs for layer in report.traffic)
    limit = (
        f"at the measured cache bandwidth {report.limit_ns / 1e6:.3f} ms"
        if (report.limit_ns is not None)
        else f"cache bandwidth {report.bandwidth}"
    )
    yield (
        f"weight rows that its spikes make necessary: {total / 1e6:.2f} MB a picture; {limit}; "
        f"multiply-adds with the picture itself, apart: {macs / 1e6:.1f} M"
    )


def _pinned(report: Report) -> Iterator[str]:
    pinned = (
        f"threads {threads} on core{'s' * (len(cores) > 1)} {', '.join(map(str, cores))}"
        for threads, cores in report.cores.items()
    )
    peak = report.peak
    rate = peak.instructions
    if peak.multiply_adds_per_ns is not None:
        rate = f"{peak.multiply_adds_per_ns:.0f} G multiply-adds a second ({peak.instructions})"
    yield f"pinned: {'; '.join(pinned)}; peak of a core with 8-bit integers: {rate}"


def _table(rows: list[Row]) -> Iterator[str]:
    extra = [
        name
        for name, (field, _) in EXTRA.items()
        if any(getattr(row, field) is not None for row in rows)
    ]
    cells = [[*HEADINGS, *extra], *(_cells(row, extra) for row in rows)]
    return aligned(cells, ("contender",))


def _cells(row: Row, extra: list[str]) -> list[str]:
    latency = row.latency
    seconds = (latency.p50, latency.quiet, latency.p90, latency.p99)
    times = [f"{1e3 * value:.3f}" for value in seconds]
    shown = [str(row.threads), str(row.batch), row.contender, *times]
    shown.append(f"{row.images_per_second:.1f}")
    for name in extra:
        field, show = EXTRA[name]
        value = getattr(row, field)
        shown.append("" if value is None else show(value))
    return shown


def _findings(report: Report) -> Iterator[str]:
    for item in report.comparisons:
        if item.best_twin or item.best_of_file:
            spread = item.ratio
            other = f"the best dense twin, {item.against}" if item.best_twin else item.against
            yield (
                f"{item.contender}, threads {item.threads}, batch {item.batch}: "
                f"{spread.median:.2f} x as fast as {other} "
                f"({spread.p10:.2f} to {spread.p90:.2f} in eight of ten rounds, "
                f"quiet {spread.quiet:.2f})"
            )
    yield from _equal_accuracy(report)
    yield from _scaling(report.rows)
    yield from _few_calls(report.rows)
    for name, reason in report.unavailable.items():
        yield f"{name}: not available: {reason}"


def _equal_accuracy(report: Report) -> Iterator[str]:
    counts = {network.test_images or 0 for network in report.networks if network.accuracy}
    for item in report.equal_accuracy:
        file = "" if item.contender.endswith(item.network) else f" on {item.network}"
        about = (
            f"at {item.accuracy:.2%} right, {item.contender}{file}, threads {item.threads}, "
            f"batch {item.batch}: "
        )
        quiet = "unknown" if item.quiet is None else f"{item.quiet:.2f}"
        if item.ratio is None:
            yield f"{about}no ratio, beyond the accuracies of the dense networks"
        else:
            yield (
                f"{about}{item.ratio:.2f} x as fast as a dense network of equal accuracy "
                f"({' and '.join(item.between)}; quiet {quiet})"
            )
    if report.equal_accuracy and len(counts) > 1:
        yield f"warning: accuracies are of {' and '.join(map(str, sorted(counts)))} test pictures"


def _few_calls(rows: list[Row]) -> Iterator[str]:
    """A warning where quiet times favour those that are called more often."""
    fewest = min(rows, key=lambda row: row.latency.calls_a_batch)
    times = fewest.latency.calls_a_batch
    if times < ENOUGH:
        yield (
            f"warning: {fewest.contender}, threads {fewest.threads}, batch {fewest.batch}: "
            f"{times:.1f} calls with each batch of pictures; quiet times of fewer than {ENOUGH} "
            "are too long beside those of more: give a longer --duration, or --images with fewer"
        )


def _energy(report: Report) -> Iterator[str]:
    if report.energy is not None:
        yield from energy_tables.describe(report.energy)


def _scaling(rows: list[Row]) -> Iterator[str]:
    """Each thread count against the first."""
    first: dict[tuple[str, int], Row] = {}
    for row in rows:
        base = first.setdefault((row.contender, row.batch), row)
        if base is not row:
            gain = base.latency.p50 / row.latency.p50
            yield (
                f"{row.contender}, batch {row.batch}: threads {row.threads} {gain:.2f} x as fast "
                f"as threads {base.threads}"
            )
