"""Draw what the bundled network makes of a photograph: its spikes, layer by layer, and its label.

python docs/picture.py runtime/photos/cat.jpg docs/spikes.png
"""

import math
import sys
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image

import snn_runtime as snn

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402  # after the choice of a canvas

INK, SPIKE = "#22303c", "#d1495b"
LAYERS = ("conv1", "conv3", "conv4", "conv6", "conv7")
"""As many as can be seen at once."""


def mosaic(bits: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Maps of a population `[C, H, W]` side by side, in a square, a line between them: all, or 16
    where they are large enough to be recognised."""
    side = min(math.isqrt(len(bits)), 4 if bits.shape[1] > 8 else 99)
    channels, height, width = bits[: side * side].shape
    framed = np.zeros((channels, height + 1, width + 1), np.bool_)
    framed[:, :height, :width] = bits[: side * side]
    rows = framed.reshape(side, side, height + 1, width + 1).transpose(0, 2, 1, 3)
    return rows.reshape(side * (height + 1), side * (width + 1))[:-1, :-1]


def draw(photograph: Path, path: Path) -> None:
    """Write the picture; the same bytes for the same network and photograph."""
    model = snn.load(threads=1)
    spikes, answer = model.spikes(photograph), model.classify(photograph)
    figure, axes = plt.subplots(
        1, len(LAYERS) + 2, figsize=(12, 2.0), width_ratios=[1, *[1] * len(LAYERS), 0.9]
    )
    axes[0].imshow(snn.read_image(photograph, model), interpolation="nearest")
    axes[0].set_title("32×32 pixels", fontsize=9, color=INK)
    for axis, name in zip(axes[1:], LAYERS, strict=False):
        bits = spikes[name] != 0
        axis.imshow(mosaic(bits), cmap=matplotlib.colors.ListedColormap(["#f3f1ec", SPIKE]))
        axis.set_title(f"{name}: {bits.mean():.0%} fire", fontsize=9, color=INK)
    for axis in axes[:-1]:
        axis.set_xticks([])
        axis.set_yticks([])
        for spine in axis.spines.values():
            spine.set_color("#c9c4b8")
    top = answer.top(3)[::-1]
    axes[-1].barh([p.label for p in top], [p.probability for p in top], color=INK, height=0.6)
    axes[-1].set_xlim(0, 1)
    axes[-1].set_xticks([0, 1], ["0", "100 %"], fontsize=8)
    axes[-1].tick_params(axis="y", labelsize=9, length=0)
    for side in ("top", "right", "left"):
        axes[-1].spines[side].set_visible(False)
    axes[-1].set_title(f"{answer.label} {answer.probability:.1%}", fontsize=9, color=INK)
    axes[-1].set_box_aspect(1)
    figure.tight_layout(pad=0.4)
    figure.savefig(path, dpi=120, bbox_inches="tight", metadata={"Software": None})
    with Image.open(path) as drawn:
        small = drawn.convert("RGB").quantize(128)
    small.save(path, optimize=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
