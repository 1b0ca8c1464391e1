"""What a run shows: a live line, a line an epoch, a plot, and the closing table."""

import io
import json
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from snn_runtime.errors import ResourceError
from snn_runtime.files import scratch_settings, write_atomic
from snn_train.folder import PLOT
from snn_train.run import Run

LOG = logging.getLogger(__name__)


class Terminal:
    """Progress for people: a bar on a terminal's stderr, a line an epoch on stdout."""

    def steps(self, items: Iterable[int], run: Run, total: int) -> Iterable[int]:
        at, stage = run.position, run.stage
        title = f"{stage.name} epoch {at.epoch + 1}/{stage.epochs}"
        shown: Iterable[int] = tqdm(
            items, title, total, initial=at.step, leave=False, disable=not sys.stderr.isatty()
        )
        return shown

    def epoch(self, record: dict[str, Any]) -> None:
        print(epoch_line(record), flush=True)

    def note(self, text: str) -> None:
        print(f"  {text}", flush=True)

    def files(self, items: Iterable[Path], title: str, total: int) -> Iterable[Path]:
        shown: Iterable[Path] = tqdm(
            items, title, total, leave=False, disable=not sys.stderr.isatty()
        )
        return shown


class JsonLines(Terminal):
    """Progress for machines: one JSON object a line on stdout."""

    def epoch(self, record: dict[str, Any]) -> None:
        print(json.dumps({"event": "epoch", **record}), flush=True)

    def note(self, text: str) -> None:
        print(json.dumps({"event": "note", "text": text}), flush=True)


class Silent(Terminal):
    """Progress of a process that others speak for."""

    def steps(self, items: Iterable[int], run: Run, total: int) -> Iterable[int]:
        return items

    def epoch(self, record: dict[str, Any]) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def files(self, items: Iterable[Path], title: str, total: int) -> Iterable[Path]:
        return items


def epoch_line(record: dict[str, Any]) -> str:
    """One line for an epoch, with every layer's firing rate in per cent."""
    line = (
        f"{record['stage']:>4} {record['epoch']:>3}/{record['epochs']:<3} "
        f"loss {record['loss']:.4f}  validation {record['validation']:.2%}  "
        f"{record['images_per_second']:,.0f} images/s"
    )
    if record["spike_rate"] is None:
        return line
    rates = " ".join(f"{100 * rate:.0f}" for rate in record["rates"].values())
    asked = ""
    if "strength" in record:
        asked = f" for {record['target']:.1%} at strength {record['strength']:.3g}"
    return f"{line}  spikes {record['spike_rate']:.1%}{asked} (% a layer: {rates})"


def table(outcomes: list[dict[str, Any]]) -> str:
    """The closing table: a row a stage."""
    lines = [f"{'stage':<6}{'epochs':>7}{'validation':>12}{'test':>9}{'spikes':>9}{'seconds':>9}"]
    for row in outcomes:
        test = "-" if row["test"] is None else f"{row['test']:.2%}"
        spikes = "-" if row["spike_rate"] is None else f"{row['spike_rate']:.1%}"
        lines.append(
            f"{row['stage']:<6}{row['epochs']:>7}{row['validation']:>12.2%}{test:>9}{spikes:>9}"
            f"{row['seconds']:>9.0f}"
        )
    return "\n".join(lines)


def plot(run: Run) -> Path:
    """Write training.png: validation accuracy and firing rates over the epochs of all stages."""
    # Here, where it is needed, since matplotlib takes its time and looks for a home to write to.
    with scratch_settings("MPLCONFIGDIR"):
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot  # after the choice of a backend that needs no screen

    figure, (top, bottom) = pyplot.subplots(2, 1, figsize=(9, 7), sharex=True)
    epochs = range(1, len(run.records) + 1)
    top.plot(epochs, [100 * r["validation"] for r in run.records], marker=".", color="black")
    top.set_ylabel("validation accuracy, %")
    spiking = [(i, r) for i, r in zip(epochs, run.records, strict=True) if r["spike_rate"]]
    layers = list(run.records[0]["rates"]) if run.records else []
    colours = matplotlib.colormaps["viridis"]
    for index, layer in enumerate(layers):
        values = [100 * r["rates"][layer] for _, r in spiking]
        colour = colours(index / max(1, len(layers) - 1))
        bottom.plot([i for i, _ in spiking], values, color=colour, linewidth=1, label=layer)
    mean = [100 * r["spike_rate"] for _, r in spiking]
    bottom.plot([i for i, _ in spiking], mean, color="red", linewidth=2, label="MAC-weighted")
    if run.control:
        bottom.axhline(100 * run.control.target, color="red", linestyle="--", label="wanted")
    bottom.set(xlabel="epoch", ylabel="firing rate, %", ylim=(0, None))
    bottom.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _mark_stages(run, (top, bottom))
    title = f"{run.experiment.architecture.network} on {run.experiment.data}"
    figure.suptitle(title, parse_math=False)  # a path may hold dollars
    figure.tight_layout()
    path, picture = run.directory / PLOT, io.BytesIO()
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)
    try:
        write_atomic(path, picture.getvalue())
    except ResourceError as error:  # what ends the run has more to say
        LOG.warning("%s", error.message)
    return path


def _mark_stages(run: Run, axes: tuple[Any, Any]) -> None:
    start = 0
    for stage in dict.fromkeys(record["stage"] for record in run.records):
        for axis in axes:
            axis.axvline(start + 0.5, color="grey", linewidth=0.5, linestyle=":")
        axes[0].annotate(stage, (start + 0.6, 0.02), xycoords=("data", "axes fraction"), fontsize=9)
        start += sum(record["stage"] == stage for record in run.records)
