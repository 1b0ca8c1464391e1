"""training.png: what a run has reached so far, over the epochs of all its stages.

loss         of the steps, without the penalty on spikes
accuracy     of the steps, on augmented pictures, and in validation
spikes       weighted by their multiply-adds, against what is wanted, and of each layer

Stages are shaded in turn, and a retry of one is a dashed line.
"""

import io
import logging
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from snn_runtime.errors import ResourceError
from snn_runtime.files import scratch_settings, write_atomic
from snn_runtime.text import printable
from snn_train.folder import PLOT
from snn_train.lettering import Lettering
from snn_train.records import EpochRecord
from snn_train.state import Run

LOG = logging.getLogger(__name__)

INK, PALE, RED = "#1b3a5b", "#7fa6cc", "#c0392b"
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.labelspacing": 0.3,
}
FEW = 40
"""Epochs of a run up to which each has a dot; of a longer one, those that are alone."""
EXPLODED = 20
"""Times the median loss, from where losses have a logarithmic axis."""
MOST_LAYERS = 10
"""Layers up to which each has a line in the legend; of more, a few of them."""
Value = Callable[[EpochRecord], float | None]


def plot(run: Run) -> Path:
    """Write training.png and return its path."""
    picture, path = io.BytesIO(), run.directory / PLOT
    # Here, where it is needed, since matplotlib takes its time and looks for a home to write to.
    with scratch_settings("MPLCONFIGDIR"):
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot  # after the choice of a backend that needs no screen

        lettered = Lettering()

    with pyplot.rc_context({**STYLE, **lettered.style}):
        figure = pyplot.figure(figsize=(10, 8), layout="constrained")
        _draw(figure, run, matplotlib.colormaps["viridis"])
        _entitle(figure, run, lettered)
        figure.savefig(picture, dpi=120)
        pyplot.close(figure)
    try:
        write_atomic(path, picture.getvalue())
    except ResourceError as error:  # what ends the run has more to say
        LOG.warning("%s", error.message)
    return path


def _draw(figure: Any, run: Run, colours: Any) -> None:
    loss, accuracy, spikes = axes = figure.subplots(3, 1, sharex=True, height_ratios=(2, 3, 3))
    _line(loss, run.records, lambda r: r.loss, color=INK)
    loss.set_ylabel("loss")
    losses = sorted(record.loss for record in run.records)
    if losses[-1] > EXPLODED * losses[len(losses) // 2]:
        loss.set_yscale("log")  # or all others would lie on the axis
    _line(accuracy, run.records, _percent("training"), color=PALE, label="training")
    _line(accuracy, run.records, _percent("validation"), color=INK, label="validation")
    accuracy.set_ylabel("accuracy, %")
    _mark_kept(accuracy, run)
    _draw_spikes(spikes, run, colours)
    spikes.set(xlabel="epoch", ylabel="spikes, %", ylim=(0, None))
    spikes.set_xlim(0.5, len(run.records) + 0.5)
    spikes.xaxis.get_major_locator().set_params(integer=True)
    for axis in axes:
        _mark_stages(axis, run.records)
    for name, (start, end) in _stages(run.records).items():
        place = ((start + end) / 2 + 0.5, 1.05)
        loss.text(*place, name, transform=loss.get_xaxis_transform(), ha="center", weight="bold")
    for axis in (accuracy, spikes):
        if axis.get_legend_handles_labels()[1]:
            axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.04))
    figure.align_ylabels(axes)


def _entitle(figure: Any, run: Run, lettered: Lettering) -> None:
    wide, data = f"width {run.recipe.width:g}", lettered(printable(run.experiment.data))
    title = f"{run.recipe.network} {wide}, recipe {run.recipe.name}, on {data}"
    figure.suptitle(title, x=0.01, ha="left", parse_math=False)  # a path may hold dollars


def _draw_spikes(axis: Any, run: Run, colours: Any) -> None:
    spiking = [record for record in run.records if record.spike_rate is not None]
    layers = list(spiking[0].rates) if spiking else []
    shown = {round(i * (len(layers) - 1) / (MOST_LAYERS - 1)) for i in range(MOST_LAYERS)}
    for index, layer in enumerate(layers):
        named = len(layers) <= MOST_LAYERS or index in shown
        colour = colours(0.9 * index / max(1, len(layers) - 1))
        label = layer if named else None
        _line(axis, run.records, _rate(layer), color=colour, linewidth=0.9, alpha=0.8, label=label)
    _line(axis, run.records, _percent("spike_rate"), color=RED, linewidth=2.2, label="weighted")
    _line(axis, run.records, _percent("target"), color=RED, linestyle="--", label="wanted")


def _line(axis: Any, records: Sequence[EpochRecord], value: Value, **style: Any) -> None:
    """Draw a value over the epochs, each attempt at a stage a line of its own."""
    dots = len(records) <= FEW and style.get("linestyle") is None
    numbered = enumerate(records, 1)
    for _, attempt in groupby(numbered, lambda each: (each[1].stage, each[1].attempt)):
        points = [(at, number) for at, r in attempt if (number := value(r)) is not None]
        if points:
            marker = "." if dots or len(points) == 1 else ""  # a line of one point is none
            axis.plot(*zip(*points, strict=True), marker=marker, **style)
            style["label"] = None  # once is enough


def _percent(name: str) -> Value:
    def value(record: EpochRecord) -> float | None:
        share = getattr(record, name)
        return None if share is None else 100 * share

    return value


def _rate(layer: str) -> Value:
    return lambda record: 100 * record.rates[layer] if record.spike_rate is not None else None


def _stages(records: Sequence[EpochRecord]) -> dict[str, tuple[int, int]]:
    """The first index of every stage, and the one behind its last."""
    names = [record.stage for record in records]
    return {n: (names.index(n), names.index(n) + names.count(n)) for n in dict.fromkeys(names)}


def _mark_stages(axis: Any, records: Sequence[EpochRecord]) -> None:
    for number, (start, end) in enumerate(_stages(records).values()):
        if number % 2:
            axis.axvspan(start + 0.5, end + 0.5, color="#f3f6f9", zorder=0)
        if start:
            axis.axvline(start + 0.5, color="#9a9a9a", linewidth=0.8)
    for at, (before, after) in enumerate(zip(records, records[1:], strict=False), 1):
        if before.stage == after.stage and before.attempt != after.attempt:
            axis.axvline(at + 0.5, color=RED, linewidth=0.9, linestyle=(0, (4, 3)))


def _mark_kept(axis: Any, run: Run) -> None:
    """A dot at the epoch whose state the last stage keeps, which the legend says. Of several tries
    it is the one whose accuracy is nearest: settling may have added to it."""
    last, number = run.records[-1].stage, run.best.epoch + 1
    tries = [(i, r) for i, r in enumerate(run.records, 1) if (r.stage, r.epoch) == (last, number)]
    if not tries:  # none is fit to be kept yet
        return
    at, kept = min(tries, key=lambda pair: abs(pair[1].validation - run.best.accuracy))
    share, label = 100 * kept.validation, f"kept of {last}: epoch {number}, {kept.validation:.1%}"
    axis.plot([at], [share], "o", color=INK, markersize=5, linestyle="", label=label)
