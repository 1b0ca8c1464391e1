"""How much accuracy a network loses where its pictures were shrunk by another filter.

    python train/benchmarks/resampling.py t1.onnx imagefolder:photos [--scales 3,6.5] [--csv FILE]

Every test picture is enlarged (bicubic) and shrunk to its size again by each of Pillow's filters
and by OpenCV's default. The scales are none of those that `--augment resample` trains with.
"""

import argparse
import csv
from pathlib import Path

import torch
from torch import Tensor

from snn_runtime import load as load_model
from snn_train.data.data_set import load
from snn_train.data.resampling import FILTERS, applied, matrix

BATCH = 500


def resampled(images: Tensor, name: str, scale: float) -> Tensor:
    """Return uint8 images `(B, H, W, 3)`, enlarged by `scale` and shrunk by the filter."""
    down, across = (torch.tensor(matrix(n, name, scale)).float()[None] for n in images.shape[1:3])
    return applied(down, images, across)


def main() -> None:
    """Print a row for every filter, and write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("data", help="as train-snn takes it")
    parser.add_argument(
        "--scales", type=lambda s: [float(x) for x in s.split(",")], default=[3, 6.5]
    )
    parser.add_argument("--csv", type=Path)
    args = parser.parse_args()
    with load_model(args.model) as model:
        size = (model.graph.image.height, model.graph.image.width)
        data = load(args.data, lambda files, *_: files, size, model.graph.image.fit)
        labels, rows = data.test_labels.numpy(), []
        for name, scale in [("none", 1.0), *((n, s) for n in FILTERS for s in args.scales)]:
            right = 0
            for part in torch.split(torch.arange(len(labels)), BATCH):
                images = data.test_images[part]
                images = images if name == "none" else resampled(images, name, scale)
                right += int((model.logits(images.numpy()).argmax(1) == labels[part]).sum())
            rows.append((name, scale, round(right / len(labels), 4)))
            print(f"{name:8} {scale:4} {rows[-1][2]:.2%}", flush=True)
    if args.csv:
        with args.csv.open("w", newline="") as file:
            csv.writer(file).writerows([("filter", "scale", "accuracy"), *rows])


if __name__ == "__main__":
    main()
