"""training.png: what a run has reached so far."""

import io
import logging
from pathlib import Path
from typing import Any

from snn_runtime.errors import ResourceError
from snn_runtime.files import scratch_settings, write_atomic
from snn_train.folder import PLOT
from snn_train.state import Run

LOG = logging.getLogger(__name__)


def plot(run: Run) -> Path:
    """Write training.png: validation accuracy and firing rates over the epochs of all stages."""
    # Here, where it is needed, since matplotlib takes its time and looks for a home to write to.
    with scratch_settings("MPLCONFIGDIR"):
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot  # after the choice of a backend that needs no screen

    figure, (top, bottom) = pyplot.subplots(2, 1, figsize=(9, 7), sharex=True)
    epochs = range(1, len(run.records) + 1)
    top.plot(epochs, [100 * r.validation for r in run.records], marker=".", color="black")
    top.set_ylabel("validation accuracy, %")
    spiking = [(i, r) for i, r in zip(epochs, run.records, strict=True) if r.spike_rate]
    layers = list(run.records[0].rates) if run.records else []
    colours = matplotlib.colormaps["viridis"]
    for index, layer in enumerate(layers):
        values = [100 * r.rates[layer] for _, r in spiking]
        colour = colours(index / max(1, len(layers) - 1))
        bottom.plot([i for i, _ in spiking], values, color=colour, linewidth=1, label=layer)
    mean = [100 * (r.spike_rate or 0.0) for _, r in spiking]
    bottom.plot([i for i, _ in spiking], mean, color="red", linewidth=2, label="MAC-weighted")
    if run.spike_budget:
        bottom.axhline(100 * run.spike_budget.target, color="red", linestyle="--", label="wanted")
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
    for stage in dict.fromkeys(record.stage for record in run.records):
        for axis in axes:
            axis.axvline(start + 0.5, color="grey", linewidth=0.5, linestyle=":")
        axes[0].annotate(stage, (start + 0.6, 0.02), xycoords=("data", "axes fraction"), fontsize=9)
        start += sum(record.stage == stage for record in run.records)
