"""CIFAR-10 as JPEG files, a folder a class: the photographs that measurements were made with.

    python train/benchmarks/photographs.py cifar-10-python.tar.gz cifar10-jpeg

`cifar10-jpeg/train/cat/0000.jpg` is the first cat of the archive. Pillow writes them with its own
settings, quality 75 and half the colours' rows and columns.
"""

import argparse
from pathlib import Path

from PIL import Image
from torch import Tensor

from snn_train.data.data_set import DataSet, load
from snn_train.data.on_disk import Images


def write(data: DataSet, folder: Path) -> None:
    """Write both parts of a data set into `folder`.

    Raises:
        FileExistsError: the folder is there already.
    """
    folder.mkdir(parents=True)
    _write_part(data.train_images, data.train_labels, data.labels, folder / "train")
    _write_part(data.test_images, data.test_labels, data.labels, folder / "test")


def _write_part(images: Images, labels: Tensor, names: tuple[str, ...], folder: Path) -> None:
    for index, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number, picture in enumerate(images[labels == index].numpy()):
            Image.fromarray(picture).save(folder / name / f"{number:04}.jpg")


def main() -> None:
    """Read the archive that CIFAR-10's authors publish, and write the folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("archive", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    write(load(f"cifar10:{args.archive}", lambda files, *_: files), args.folder)


if __name__ == "__main__":
    main()
