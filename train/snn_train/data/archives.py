"""The official archives of CIFAR, MNIST and Fashion-MNIST, read safely."""

import io
import math
import pickle
import struct
import tarfile
import warnings
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snn_runtime import door
from snn_runtime.errors import InputError
from snn_train.data.downloads import download, downloads_folder

CIFAR_URL = "https://www.cs.toronto.edu/~kriz/"
MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
CIFAR_MD5 = {
    "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
    "cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85",
}
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte",
             "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")  # fmt: skip
MNIST_MD5 = ("f68b3c2dcbeaaa9fbdd348bbdeb94873", "d53e105ee54ea40749a09fcbcd1e9432",
             "9fb629c4189551a2d022fa330f9573f3", "ec29112dd5afa0611ce80d1b7f02629c")  # fmt: skip
FASHION_MD5 = ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", "25c81989df183df01b3e8a0aad5dffbe",
               "bef4ecab320f06d8554ea6380940ec79", "bb300cfdad3c16e7a12a480ee83cd310")  # fmt: skip
FASHION_LABELS = ("T-shirt/top", "trouser", "pullover", "dress", "coat",
                  "sandal", "shirt", "sneaker", "bag", "ankle boot")  # fmt: skip

LARGEST = 512 * 2**20
"""Bytes of a file, packed and unpacked; CIFAR's have 186 million."""
MOST_MEMBERS = 64
"""CIFAR's archives hold eight and three files."""


@dataclass(frozen=True)
class Archive:
    """A data set as it was published, images as uint8 RGB `(N, H, W, 3)`, labels as int64."""

    labels: tuple[str, ...]
    train_images: npt.NDArray[np.uint8]
    train_labels: npt.NDArray[np.int64]
    test_images: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.int64]


def cifar10(path: Path | None) -> Archive:
    """CIFAR-10 from the archive at `path`, or downloaded."""
    tar = _CifarTar(_cifar_archive(path, "cifar-10-python.tar.gz"), "cifar-10-batches-py")
    train = [tar.batch(f"data_batch_{i}", b"labels") for i in range(1, 6)]
    images = np.concatenate([batch[0] for batch in train])
    labels = np.concatenate([batch[1] for batch in train])
    names = tar.names("batches.meta", b"label_names")
    return Archive(names, images, labels, *tar.batch("test_batch", b"labels"))


def cifar100(path: Path | None) -> Archive:
    """CIFAR-100 with its 100 fine labels, from the archive at `path`, or downloaded."""
    tar = _CifarTar(_cifar_archive(path, "cifar-100-python.tar.gz"), "cifar-100-python")
    train, test = tar.batch("train", b"fine_labels"), tar.batch("test", b"fine_labels")
    return Archive(tar.names("meta", b"fine_label_names"), *train, *test)


def mnist(folder: Path | None) -> Archive:
    """MNIST from the IDX files in `folder`, plain or gzipped, or downloaded."""
    return _idx(folder, tuple(str(d) for d in range(10)), MNIST_URL, MNIST_MD5, "mnist")


def fashion_mnist(folder: Path | None) -> Archive:
    """Fashion-MNIST from the IDX files in `folder`, plain or gzipped, or downloaded."""
    return _idx(folder, FASHION_LABELS, FASHION_URL, FASHION_MD5, "fashion-mnist")


# CIFAR is a tar of pickles.


class _ArraysOnly(pickle.Unpickler):
    """Unpickles containers and numpy arrays; a pickle that names anything else is refused."""

    _ALLOWED = {("_reconstruct",), ("ndarray",), ("dtype",)}

    def find_class(self, module: str, name: str) -> Any:
        if module == "_codecs" and name == "encode":  # how Python 2 strings travel
            return super().find_class(module, name)
        if module.split(".")[0] == "numpy" and (name,) in self._ALLOWED:
            if name == "_reconstruct":  # its module moved in numpy 2
                return np.ndarray.__reduce__(np.empty(0))[0]
            return getattr(np, name)
        raise pickle.UnpicklingError(f"holds {module}.{name}")


def _cifar_archive(path: Path | None, name: str) -> Path:
    return path or download(CIFAR_URL + name, downloads_folder() / name, CIFAR_MD5[name])


class _CifarTar:
    """What one of CIFAR's archives holds, by name."""

    def __init__(self, path: Path, folder: str) -> None:
        self.path = path
        try:
            # Unpacked first, so that no header in it can ask for more than there is.
            with tarfile.open(fileobj=io.BytesIO(_unpacked(path)), mode="r:") as archive:
                members = [*islice(archive, MOST_MEMBERS + 1)]
                claimed = sum(member.size for member in members)  # of a sparse one any number
                if len(members) > MOST_MEMBERS or claimed > LARGEST:
                    raise _bad(path, "holds more than CIFAR's python version")
                self.members = {
                    member.name.removeprefix(f"{folder}/"): file.read()
                    for member in members
                    if member.isfile() and (file := archive.extractfile(member))
                }
        except (OSError, EOFError, ValueError, tarfile.TarError) as error:
            if isinstance(error, InputError):
                raise
            raise _bad(path, f"is not a readable archive ({error})") from error

    def names(self, name: str, key: bytes) -> tuple[str, ...]:
        names = self._unpickled(name).get(key)
        if not isinstance(names, list) or not all(isinstance(each, bytes) for each in names):
            raise _bad(self.path, f"{name} holds no list of {key.decode()}")
        return tuple(each.decode("utf-8", "replace") for each in names)

    def batch(
        self, name: str, label_key: bytes
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        content = self._unpickled(name)
        data, labels = content.get(b"data"), content.get(label_key)
        if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3072,):
            raise _bad(self.path, f"{name} holds no images of 32x32x3")
        if not isinstance(labels, list) or not all(each in range(100) for each in labels):
            raise _bad(self.path, f"{name} holds no list of {label_key.decode()}")
        if len(labels) != len(data):
            raise _bad(self.path, f"{name} has {len(data)} images and {len(labels)} labels")
        images = data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(images), np.array(labels, np.int64)

    def _unpickled(self, name: str) -> dict[bytes, Any]:
        if name not in self.members:
            raise _bad(self.path, f"has no {name} in it, expected CIFAR's python version")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # numpy's, about its own pickles of 2009
                content = _ArraysOnly(io.BytesIO(self.members[name]), encoding="bytes").load()
        except Exception as error:  # a damaged pickle can raise anything
            raise _bad(self.path, f"{name} is corrupt ({error})") from error
        if not isinstance(content, dict):
            raise _bad(self.path, f"{name} is corrupt (no dictionary)")
        return content


# MNIST and Fashion-MNIST are IDX files.


def _idx(
    folder: Path | None, labels: tuple[str, ...], url: str, md5: tuple[str, ...], name: str
) -> Archive:
    arrays = []
    for file, checksum in zip(IDX_FILES, md5, strict=True):
        if folder is None:
            path = downloads_folder() / name / f"{file}.gz"
            arrays.append(_idx_array(download(f"{url}{file}.gz", path, checksum)))
        else:
            place = next((p for p in (folder / file, folder / f"{file}.gz") if p.exists()), None)
            if place is None:
                if not folder.is_dir():
                    raise _bad(folder, f"is no folder, expected one that holds {file}.gz")
                raise _bad(folder, f"has neither {file} nor {file}.gz: its files belong there")
            arrays.append(_idx_array(place))
    for images, marks in (arrays[:2], arrays[2:]):
        if images.ndim != 3 or marks.ndim != 1 or len(images) != len(marks):
            raise _bad(folder or downloads_folder() / name, "images and labels do not match")
    train, test = (np.repeat(images[..., None], 3, axis=3) for images in arrays[::2])
    return Archive(labels, train, arrays[1].astype(np.int64), test, arrays[3].astype(np.int64))


def _idx_array(path: Path) -> npt.NDArray[np.uint8]:
    """Magic 0 0 8 rank, then the sizes as big-endian 32-bit numbers, then the bytes."""
    data = _unpacked(path)
    rank = data[3] if len(data) > 3 else 0
    if data[:3] != b"\0\0\x08" or not 1 <= rank <= 3 or len(data) < 4 + 4 * rank:
        raise _bad(path, "is no IDX file of bytes")
    shape = struct.unpack_from(f">{rank}I", data, 4)
    body = np.frombuffer(data, np.uint8, offset=4 + 4 * rank)
    if len(body) != math.prod(shape):
        raise _bad(path, f"has {len(body):,} bytes of data, its header says {shape}")
    return body.reshape(shape)


def _unpacked(path: Path) -> bytes:
    """What a file that may be anybody's holds, of a size that its data set can have.

    Raises:
        InputError: `bad_data`.
    """
    try:
        with door.open_file(path, LARGEST) as file:
            return door.unpacked(file, LARGEST)
    except InputError as error:
        raise _bad(path, error.message) from error


def _bad(path: Path, problem: str) -> InputError:
    return InputError("bad_data", f"{path}: {problem}")
