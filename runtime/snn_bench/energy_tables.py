"""What `snn-bench --energy` prints: the estimate, and what was measured or why nothing was."""

from collections.abc import Iterator, Sequence

from snn_bench.columns import aligned
from snn_bench.energy import COSTS, Estimate, Operations
from snn_bench.metering import Spent
from snn_bench.results import Energy, Report, Row

PRICED = (
    "precision",
    "pJ multiply-add",
    "pJ addition",
    "SNN µJ",
    "DNN µJ",
    "DNN / SNN",
    "less padding",
)
SPENT = (
    "threads",
    "batch",
    "contender",
    "meter",
    "mJ a picture",
    "least",
    "most",
    "above idle",
    "W",
    "idle W",
)
NOT_MEASURED = "not measured"


def describe(energy: Energy) -> Iterator[str]:
    """Lines for people."""
    yield from _estimate(energy.estimate)
    yield ""
    if energy.measured:
        yield "energy, measured: mJ a picture of everything behind the meter, and above idle"
        cells = [SPENT, *map(_cells, energy.measured)]
        yield from aligned(cells, ("contender", "meter"))
    else:
        yield f"energy, measured: {NOT_MEASURED}"
    for name, reason in energy.unmeasured.items():
        yield f"{name}: {NOT_MEASURED}: {reason}"


def columns(reports: Sequence[Report]) -> list[str]:
    """The names that a CSV has more, none where energy was not asked for."""
    found = [report.energy for report in reports if report.energy is not None]
    if not found:
        return []
    parts = dict.fromkeys(_part(spent) for energy in found for spent in energy.measured)
    measured = [name for part in parts for name in (f"{part} mj", f"{part} above_idle_mj")]
    return [*(f"estimate_{cost.precision}_uj" for cost in COSTS), "measured", *measured]


def record(energy: Energy, row: Row, *, estimated: bool) -> dict[str, object]:
    """What these columns hold for one contender, thread count and batch size; `estimated`: the
    estimate is of its network."""
    side = row.contender.split()[0]
    key = (row.contender, row.threads, row.batch)
    mine = [s for s in energy.measured if (s.contender, s.threads, s.batch) == key]
    values: dict[str, object] = {
        f"estimate_{priced.precision}_uj": getattr(priced, f"{side}_uj")
        for priced in (energy.estimate.priced if estimated else ())
    }
    values["measured"] = " ".join(dict.fromkeys(spent.meter for spent in mine)) or NOT_MEASURED
    for spent in mine:
        values[f"{_part(spent)} mj"] = 1e3 * spent.joules
        values[f"{_part(spent)} above_idle_mj"] = 1e3 * spent.above_idle
    return values


def _estimate(estimate: Estimate) -> Iterator[str]:
    yield f"energy, an estimate: operations of one picture times their price at {estimate.source}"
    yield f"SNN: {_counted(estimate.snn)}; DNN: {_counted(estimate.dnn)}"
    rows = [
        [
            priced.precision,
            f"{priced.mac_pj:g}",
            f"{priced.addition_pj:g}",
            f"{priced.snn_uj:.2f}",
            f"{priced.dnn_uj:.2f}",
            f"{priced.ratio:.1f} x",
            f"{priced.ratio_unpadded:.1f} x",
        ]
        for priced in estimate.priced
    ]
    yield from aligned([PRICED, *rows], ("precision",))
    wide = estimate.wide
    yield (
        f"8 bits do not hold such sums: with 32-bit additions ({wide.mac_pj:g} and "
        f"{wide.addition_pj:g} pJ) int8 takes {wide.snn_uj:.2f} and {wide.dnn_uj:.2f} µJ, "
        f"{wide.ratio:.1f} x"
    )
    yield (
        "not in it: moving weights, spikes and pictures, which on ordinary machines costs more "
        f"than arithmetic; nor {estimate.comparisons / 1e6:.2f} M comparisons in the SNN"
    )
    yield (
        f"less padding: {estimate.dnn.padding / estimate.dnn.macs:.1%} of the DNN's multiply-adds "
        "are with zeros around a map; published counts include them, spikes never cause any"
    )


def _counted(operations: Operations) -> str:
    return (
        f"{operations.macs / 1e6:.2f} M multiply-adds, {operations.additions / 1e6:.2f} M additions"
    )


def _cells(spent: Spent) -> list[str]:
    joules = (spent.joules, spent.joules_min, spent.joules_max, spent.above_idle)
    return [
        str(spent.threads),
        str(spent.batch),
        spent.contender,
        _part(spent),
        *(f"{1e3 * value:.3f}" for value in joules),
        f"{spent.watts:.2f}",
        f"{spent.idle_watts:.2f}",
    ]


def _part(spent: Spent) -> str:
    return f"{spent.meter} {spent.part}"
