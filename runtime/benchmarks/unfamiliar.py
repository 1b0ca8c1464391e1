"""How a calibrated model file tells pictures of none of its classes: a table as CSV.

    python runtime/benchmarks/unfamiliar.py model.onnx PHOTOGRAPHS      of the classes, never learnt

A score is higher for pictures of the classes. `passed` is the share of a kind that passes where
95 % of the photographs do. scikit-learn's scans and two photographs of it are used.
"""

import argparse
import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from snn_runtime.image.folder import walk
from snn_runtime.model import Model, load

Images: TypeAlias = npt.NDArray[np.uint8]
Numbers: TypeAlias = npt.NDArray[np.float64]
COUNT = 500
"""Pictures of a kind."""
RNG = np.random.default_rng(0)


def kinds(size: tuple[int, int], photographs: Images) -> dict[str, Images]:
    """Pictures that show none of the classes, each `[N, H, W, 3]`."""
    from sklearn.datasets import load_digits, load_sample_images

    shape = (COUNT, *size, 3)
    rows, columns = np.mgrid[: size[0], : size[1]]
    noise = RNG.integers(0, 256, shape)

    def patterned(waves: Callable[[], Numbers]) -> Numbers:
        """Two colours, mixed by what `waves` draws from 0 to 1."""
        drawn = []
        for _ in range(COUNT):
            one, other = RNG.integers(0, 256, (2, 3))
            drawn.append(one + (other - one) * waves()[..., None])
        return np.stack(drawn)

    def slope() -> Numbers:
        angle = RNG.uniform(0, 2 * np.pi)
        along = np.cos(angle) * rows + np.sin(angle) * columns
        return np.asarray((along - along.min()) / np.ptp(along))

    def cells() -> Numbers:
        side, *start = RNG.integers(1, 9, 3)
        return np.asarray(((rows + start[0]) // side + (columns + start[1]) // side) % 2.0)

    scans = np.rint(load_digits().images[:COUNT] * 255 / 16)
    scenes = [np.asarray(scene) for scene in load_sample_images().images]
    made = {
        "uniform noise": noise,
        "gaussian noise": RNG.normal(128, 50, shape).clip(0, 255),
        "smooth noise": _resized([part[:6, :6] for part in noise], size),
        "flat colours": np.broadcast_to(RNG.integers(0, 256, (COUNT, 1, 1, 3)), shape),
        "gradients": patterned(slope),
        "checkerboards": patterned(cells),
        "stripes": patterned(lambda: (1 + np.sin(RNG.uniform(5, 40) * slope())) / 2),
        "scanned digits": _resized([np.repeat(scan[..., None], 3, 2) for scan in scans], size),
        "cuttings of two photographs": _resized(
            [_cutting(scenes[i % 2]) for i in range(COUNT)], size
        ),
        "photographs, negative": 255 - photographs[:COUNT],
        "photographs, upside down": photographs[:COUNT, ::-1],
    }
    return {name: np.asarray(images, np.uint8) for name, images in made.items()}


def _cutting(scene: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    side = int(RNG.integers(48, 400))
    top, left = (int(RNG.integers(0, length - side)) for length in scene.shape[:2])
    return scene[top : top + side, left : left + side]


def _resized(images: list[npt.NDArray[np.generic]], size: tuple[int, int]) -> Images:
    turned = (size[1], size[0])
    return np.stack(
        [np.asarray(Image.fromarray(np.uint8(image)).resize(turned, 3)) for image in images]
    )


def scores(model: Model, images: Images) -> dict[str, Numbers]:
    """What could tell them, each `[N]`: from the logits, and from the spikes."""
    known = model.graph.calibration.familiarity
    assert known is not None, "the file is not calibrated"
    logits, distances = model.observe(images)
    assert distances is not None
    z = logits.astype(np.float64)
    most = z.max(1)
    _, counts = model.backend.count(images)
    ends = np.cumsum(list(model.graph.channels.values()))[:-1]
    far = {}
    rates = []
    for (name, mean, deviation), seen in zip(
        known.usual, np.split(counts, ends, axis=1), strict=True
    ):
        far[name] = (np.abs(seen - np.array(mean)) / np.array(deviation)).mean(1)
        rates.append(np.abs(np.log((seen.sum(1) + 1) / (sum(mean) + 1))))
    return {
        "probability": model.graph.calibration.probabilities(logits).max(1),
        "maximum logit": most,
        "energy": most + np.log(np.exp(z - most[:, None]).sum(1)),
        "firing rates of the populations": -np.mean(rates, axis=0),
        "channels of the last population": -far[known.usual[-1][0]],
        "channels of all populations": -distances,
    }


def auroc(known: Numbers, others: Numbers) -> float:
    """How often one of the known ones scores higher than one of the others."""
    less = np.searchsorted(np.sort(others), known, "left")
    equal = np.searchsorted(np.sort(others), known, "right") - less
    return float((less + equal / 2).mean() / len(others))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("photographs", type=Path)
    args = parser.parse_args()
    model = load(args.model, threads=1)
    paths = [entry.path for entry in walk(str(args.photographs)) if not entry.passed]
    chosen = RNG.permutation(len(paths))[: 4 * COUNT]
    photographs = np.stack([model.prepare(paths[i])[0] for i in chosen])
    usual = scores(model, photographs)
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(
        ["kind", "sure", *(f"{name}: {what}" for name in usual for what in ("AUROC", "passed"))]
    )
    size = photographs.shape[1:3]
    for kind, images in kinds((size[0], size[1]), photographs).items():
        found = scores(model, images)
        row = [f"{(found['probability'] >= 0.5).mean():.3f}"]
        for name, values in usual.items():
            row.append(f"{auroc(values, found[name]):.3f}")
            row.append(f"{(found[name] >= np.quantile(values, 0.05)).mean():.3f}")
        out.writerow([kind, *row])


if __name__ == "__main__":
    main()
