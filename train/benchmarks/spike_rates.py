"""What a budget of spikes costs in accuracy: a run for every target, a table and a plot.

    python train/benchmarks/spike_rates.py FOLDER [--targets 0.12,0.08,0.05,0.03] [--seeds 0,1]
                                           [--regularisers synaptic,hoyer] [--jobs 2]
                                           [--plot plot.png] -- FLAGS OF train-snn

Every run lies in a folder of its own in FOLDER; one that is there is gone on with or, where it has
ended, only read. For each seed one more run is left to its natural rate.
"""

import argparse
import statistics
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from typing import Any

import matplotlib

from snn_train import checkpoint

COMMAND = [sys.executable, "-c", "import sys; from snn_train.cli import main; sys.exit(main())"]
NATURAL = "none"
COLOURS = {NATURAL: "black", "synaptic": "tab:blue", "hoyer": "tab:orange"}


@dataclass(frozen=True)
class Point:
    """One run, and what was asked of it."""

    regulariser: str
    """`none` where the rate was left to itself."""
    target: str
    seed: str

    @property
    def name(self) -> str:
        return "-".join(filter(None, (self.regulariser, self.target, self.seed)))

    def flags(self) -> list[str]:
        seed = ["--seed", self.seed]
        if self.regulariser == NATURAL:
            return seed
        return [*seed, "--spike-rate", self.target, "--regulariser", self.regulariser]


def train(point: Point, folder: Path, flags: list[str]) -> dict[str, Any]:
    """Return what the last stage of the point's run reached."""
    directory = folder / point.name
    arguments = ["--out", str(directory), *flags, *point.flags()]
    if (directory / "latest.pt").exists():
        arguments = ["--resume", str(directory)]
    threads = ["--threads", "1"]  # one result on every machine
    ended = subprocess.run(COMMAND + arguments + threads, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"{point.name}: {ended.stderr.strip()}")
    outcome: dict[str, Any] = checkpoint.load(directory / "latest.pt")["outcomes"][-1]
    print(f"{point.name}: {outcome['spike_rate']:.2%} spikes, {outcome['test']:.2%}", flush=True)
    return outcome


def table(results: list[tuple[Point, dict[str, Any]]]) -> str:
    """Rows in Markdown: the mean over the seeds, and lowest to highest."""
    lines = ["| regulariser | wanted | reached, validation | test accuracy |", "|---|---|---|---|"]
    for (regulariser, target), group in groupby(results, lambda r: (r[0].regulariser, r[0].target)):
        outcomes = [outcome for _, outcome in group]
        wanted = f"{100 * float(target):g} %" if target else "-"
        cells = (_spread([o[key] for o in outcomes]) for key in ("spike_rate", "test"))
        lines.append(f"| {regulariser} | {wanted} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(shares: list[float]) -> str:
    low, high = 100 * min(shares), 100 * max(shares)
    return f"{100 * statistics.fmean(shares):.2f} % ({low:.2f} to {high:.2f})"


def draw(results: list[tuple[Point, dict[str, Any]]], title: str, path: Path) -> None:
    """Test accuracy over the rate, a mark a run and a line through the means."""
    matplotlib.use("Agg")
    from matplotlib import pyplot  # after the choice of a backend that needs no screen

    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for regulariser, colour in COLOURS.items():
        mine = [r for r in results if r[0].regulariser == regulariser]
        if not mine:
            continue
        means = []
        for _, group in groupby(mine, lambda r: r[0].target):
            x, y = zip(*((100 * o["spike_rate"], 100 * o["test"]) for _, o in group), strict=True)
            axes.plot(x, y, ".", color=colour, alpha=0.5)
            means.append((statistics.fmean(x), statistics.fmean(y)))
        axes.plot(*zip(*means, strict=True), marker="o", color=colour, label=regulariser)
    axes.set(xlabel="MAC-weighted spike rate, %", ylabel="test accuracy, %", xlim=(0, None))
    axes.set_title("\n".join(textwrap.wrap(title, 90)), fontsize=9)
    axes.legend(title="regulariser")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--targets", default="0.12,0.08,0.05,0.03")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--regularisers", default="synaptic,hoyer")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--plot", type=Path, default=Path("spike-rates.png"))
    parser.add_argument("flags", nargs="+", metavar="FLAG")
    args = parser.parse_args()
    seeds = args.seeds.split(",")
    points = [Point(NATURAL, "", seed) for seed in seeds]
    wanted = product(args.regularisers.split(","), args.targets.split(","), seeds)
    points += [Point(*each) for each in wanted]
    with ThreadPoolExecutor(args.jobs) as pool:
        outcomes = list(pool.map(lambda point: train(point, args.folder, args.flags), points))
    results = list(zip(points, outcomes, strict=True))
    print(f"\n{table(results)}")
    draw(results, f"train-snn {' '.join(args.flags)}", args.plot)


if __name__ == "__main__":
    main()
