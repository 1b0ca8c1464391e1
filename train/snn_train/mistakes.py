"""What the finished network takes for what: a confusion matrix, and its worst mistakes to look at.

Both are of the test pictures, by the last stage's network. A mistake is the worse, the surer the
network is of it: pictures with a wrong label come first, and tell their owner so.
"""

import io
import logging
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from snn_runtime.errors import ResourceError
from snn_runtime.files import scratch_settings, write_atomic
from snn_runtime.text import printable
from snn_train.data import DataSet
from snn_train.folder import CONFUSION, MISTAKES
from snn_train.lettering import Lettering
from snn_train.state import Run

LOG = logging.getLogger(__name__)

SHOWN, ACROSS = 20, 5
"""Pictures on the contact sheet, and in a row of it."""
LINE, SHARE = 100, 15
"""Characters of a line of the printed matrix, and of the share at its end. Of one that does not fit
its largest entries beside the diagonal are printed instead."""
NAMED = 10
"""How many of these."""
WRITTEN, LABELLED = 30, 120
"""Classes whose numbers are written into the picture of the matrix, and whose names beside it."""


@dataclass(frozen=True)
class Confusion:
    """What was answered to pictures of what."""

    labels: tuple[str, ...]
    counts: Tensor
    """int64 `(C, C)`: pictures of class i, a row, that were taken for class j."""

    def to_dict(self) -> dict[str, Any]:
        return {"labels": list(self.labels), "counts": self.counts.tolist()}

    def pairs(self) -> list[tuple[int, str, str]]:
        """(pictures, true, answered) of what is taken for something else, the most common first."""
        wrong = self.counts - torch.diag(self.counts.diagonal())
        order = wrong.flatten().sort(descending=True, stable=True).indices.tolist()
        named = (divmod(index, len(self.labels)) for index in order)
        found = [(int(wrong[i, j]), self.labels[i], self.labels[j]) for i, j in named]
        return [each for each in found if each[0]]


def review(run: Run, data: DataSet, logits: Tensor) -> Confusion:
    """Look at the finished run's answers to the test pictures; write confusion.png and, where
    there are mistakes, mistakes.png.

    Args:
        logits: the answers, float32 `(N, classes)`.
    """
    classes = len(data.labels)
    counts = torch.bincount(data.test_labels * classes + logits.argmax(1), minlength=classes**2)
    confusion = Confusion(data.labels, counts.view(classes, classes))
    worst = worst_of(logits, data.test_labels)
    # Here, where it is needed, since matplotlib takes its time and looks for a home to write to.
    with scratch_settings("MPLCONFIGDIR"):
        import matplotlib

        matplotlib.use("Agg")
        lettered = Lettering()
        with matplotlib.rc_context(lettered.style):
            _write(run, CONFUSION, _matrix(confusion, lettered))
            if worst:
                _write(run, MISTAKES, _sheet(data, logits, worst, lettered))
    return confusion


def worst_of(logits: Tensor, labels: Tensor) -> list[int]:
    """The numbers of at most `SHOWN` pictures that are answered wrongly, the surest first."""
    wrong = (logits.argmax(1) != labels).nonzero()[:, 0]
    sure = logits[wrong].softmax(1).amax(1)
    order = sure.sort(descending=True, stable=True).indices[:SHOWN]
    return [int(number) for number in wrong[order]]


def table(confusion: Confusion) -> str:
    """The matrix as text, or where that is too wide what is confused most often."""
    rows = confusion.counts.tolist()
    first = max(map(len, confusion.labels)) + 2
    room = max(3, min(12, (LINE - SHARE - first) // len(rows) - 2))
    names = [label[:room] for label in confusion.labels]
    wide = max(map(len, [*names, f"{int(confusion.counts.max()):,}"])) + 2
    if first + len(rows) * wide + SHARE > LINE:
        common = confusion.pairs()[:NAMED]
        return "\n".join(
            ["most often confused:", *(f"{n:>6,} {a} taken for {b}" for n, a, b in common)]
        )
    lines = [f"{'is':<{first}}" + "".join(f"{name:>{wide}}" for name in names)]
    for number, (name, row) in enumerate(zip(confusion.labels, rows, strict=True)):
        share = row[number] / max(1, sum(row))
        lines.append(
            f"{name:<{first}}" + "".join(f"{n:>{wide},}" for n in row) + f"{share:>9.1%} right"
        )
    return "\n".join(lines)


def _matrix(confusion: Confusion, lettered: Lettering) -> Any:
    """A figure of the matrix: shares of the rows as shades, numbers written into them."""
    from matplotlib.figure import Figure

    classes, counts = len(confusion.labels), confusion.counts
    right = int(counts.diagonal().sum()) / max(1, int(counts.sum()))
    side = min(14.0, 3.5 + 0.45 * classes)
    figure = Figure((side, side), dpi=110, layout="constrained")
    axis = figure.subplots()
    shares = (counts / counts.sum(1, keepdim=True).clamp(min=1)).numpy()
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axis.set(xlabel="answered", ylabel="is")
    axis.set_title(f"{int(counts.sum()):,} test pictures, {right:.1%} right", fontsize=10)
    marks = range(classes)
    if classes <= LABELLED:
        style: Any = {"fontsize": min(10.0, 600 / classes), "parse_math": False}
        names = [lettered(label[:24]) for label in confusion.labels]
        axis.set_xticks(marks, names, rotation=90, **style)
        axis.set_yticks(marks, names, **style)
    if classes <= WRITTEN:
        for i in marks:
            for j in marks:
                colour = "white" if shares[i, j] > 0.5 else "black"
                axis.text(j, i, f"{counts[i, j]:,}", ha="center", va="center", color=colour)
    return figure


def _sheet(data: DataSet, logits: Tensor, worst: list[int], lettered: Lettering) -> Any:
    """A figure of the worst mistakes: what it is, what was answered and how surely, which file."""
    from matplotlib.figure import Figure

    across, down = min(ACROSS, len(worst)), math.ceil(len(worst) / ACROSS)
    figure = Figure((2.4 * across, 2.9 * down), dpi=100, layout="constrained")
    axes = figure.subplots(down, across, squeeze=False)
    pixels = data.test_images[torch.tensor(worst)].cpu().numpy()
    for place, axis in enumerate(axes.flat):
        axis.set_axis_off()
        if place < len(worst):
            number = worst[place]
            answer, sure = int(logits[number].argmax()), float(logits[number].softmax(0).amax())
            truth = data.labels[int(data.test_labels[number])]
            answered = f"→ {data.labels[answer][:20]} {sure:.0%}"
            lines = (truth[:24], answered, _name(data, number))
            axis.imshow(pixels[place])
            axis.set_title("\n".join(map(lettered, lines)), fontsize=8, parse_math=False)
    return figure


def _name(data: DataSet, number: int) -> str:
    name = printable(data.test_names[number]) if data.test_names else f"test picture {number}"
    return name if len(name) <= 34 else f"…{name[-33:]}"


def _write(run: Run, name: str, figure: Any) -> None:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", bbox_inches="tight", pad_inches=0.1)
    try:
        write_atomic(run.directory / name, picture.getvalue())
    except ResourceError as error:  # the network itself is safe
        LOG.warning("%s", error.message)
