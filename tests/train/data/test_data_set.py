"""Data sets: what is read, and what is refused before an hour of training is spent on it."""

import gc
import gzip
import hashlib
import io
import os
import pickle
import socket
import struct
import sys
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from subprocess import run
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from bad_inputs.pictures import encoded, picture
from in_memory import in_memory
from PIL import Image

from snn_runtime import image
from snn_runtime.errors import InputError, UsageError
from snn_runtime.image import Fit
from snn_train.data import DataSet, archives, downloads, load
from snn_train.defaults import default_recipe
from snn_train.experiment import digest

CLASSES = ("ant", "bee", "cow")


def quiet(items: Iterable[Path], title: str, total: int) -> Iterable[Path]:
    return items


def read(spec: str, size: tuple[int, int] | None = None, fit: Fit = "crop") -> DataSet:
    return load(spec, quiet, size, fit)


def refused(spec: str, *expected: str) -> None:
    with pytest.raises(InputError) as caught:
        read(spec)
    assert caught.value.code == "bad_data"
    for part in expected:
        assert part in caught.value.message


# digits


def test_digits_are_the_scans_every_fifth_of_a_digit_held_out() -> None:
    data = read("digits")
    assert data.labels == tuple("0123456789")
    images = in_memory(data.train_images)
    assert images.shape[1:] == (8, 8, 3) and images.dtype == torch.uint8
    assert len(data.train_labels) + len(data.test_labels) == 1797
    share = torch.bincount(data.test_labels) / (
        torch.bincount(data.test_labels) + torch.bincount(data.train_labels)
    )
    assert bool(((share > 0.19) & (share < 0.21)).all())
    assert int(images.min()) == 0 and int(images.max()) == 255


def test_the_split_is_disjoint_complete_fair_and_depends_on_the_seed() -> None:
    data = read("digits")
    trained, held_out = data.split(0.1, seed=3)
    assert sorted([*trained.tolist(), *held_out.tolist()]) == list(range(len(data.train_labels)))
    counts = torch.bincount(data.train_labels[held_out])
    assert int(counts.min()) >= 14 and int(counts.max()) <= 15
    assert torch.equal(data.split(0.1, seed=3)[1], held_out)
    assert not torch.equal(data.split(0.1, seed=4)[1], held_out)
    few, most = data.split(0.9999, seed=3)
    assert sorted(data.train_labels[few].tolist()) == list(range(len(data.labels)))
    assert len(few) + len(most) == len(data.train_labels)


@pytest.mark.parametrize(
    ("spec", "size", "message"),
    [
        ("imagenette", None, "--data imagenette: expected one of digits, imagefolder:DIR"),
        ("imagenet", None, "--data imagenet needs a folder: imagenet:DIR"),
        ("digits:/tmp", None, "--data digits:/tmp: expected"),
        ("", None, "expected one of"),
        ("imagefolder", None, "needs a folder"),
        ("imagefolder:", None, "needs a folder"),
        ("digits", (16, 16), "--image-size is for imagefolder"),
    ],
)
def test_data_nobody_knows_is_a_matter_of_usage(
    spec: str, size: tuple[int, int] | None, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read(spec, size)
    assert message in caught.value.message


# imagefolder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Thirty photographs to train on and six to test, wider than high, all different."""
    for part, count in (("train", 10), ("test", 2)):
        for label, name in enumerate(CLASSES):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                turned = picture(24, 32).rotate(36 * number + 10 * label + (part == "test"))
                form = ("PNG", "JPEG", "BMP")[number % 3]
                (folder / f"{number:02}.{form.lower()}").write_bytes(encoded(turned, form))
    return tmp_path


def files(folder: Path, part: str) -> list[Path]:
    return [path for name in CLASSES for path in sorted((folder / part / name).iterdir())]


@pytest.mark.parametrize(
    ("size", "fit"),
    [(None, "crop"), ((24, 32), "crop"), ((16, 16), "crop"), ((9, 40), "stretch")],
)
def test_a_folder_of_pictures_is_read_as_snn_infer_will_read_it(
    photos: Path, size: tuple[int, int] | None, fit: Fit
) -> None:
    (photos / "train" / ".cache").mkdir()  # what begins with a dot belongs to some program
    (photos / "train" / "ant" / ".DS_Store").write_bytes(b"x")
    data = read(f"imagefolder:{photos}", size, fit)
    (photos / "train" / "ant" / ".DS_Store").unlink()
    assert data.labels == CLASSES and data.fit == fit
    assert data.train_labels.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    assert data.test_labels.tolist() == [0, 0, 1, 1, 2, 2]
    height, width = size or (24, 32)
    for part, pixels in (("train", data.train_images), ("test", data.test_images)):
        paths = files(photos, part)
        assert len(paths) == len(pixels)
        for path, each in zip(paths, in_memory(pixels), strict=True):
            expected, _ = image.prepare(path, height, width, fit)
            assert np.array_equal(each.numpy(), expected)


@pytest.mark.parametrize(
    ("spoil", "names"),
    [
        (lambda root: (root / "train").rename(root / "trian"), ("train", "no such folder")),
        (lambda root: (root / "test").rename(root / "tset"), ("test", "no such folder")),
        (lambda root: (root / "test" / "cow").rename(root / "cow"), ("different classes: cow",)),
        (lambda root: (root / "train" / "dog").mkdir(), ("different classes: dog",)),
        (
            lambda root: [path.unlink() for path in (root / "train" / "bee").iterdir()],
            ("train/bee", "is empty"),
        ),
        (
            lambda root: [path.unlink() for path in (root / "test" / "bee").iterdir()],
            ("test/bee", "is empty"),
        ),
        (
            lambda root: (root / "train" / "bee" / "05.bmp").write_bytes(b"BM is no picture"),
            ("train/bee/05.bmp",),
        ),
        (
            lambda root: (root / "train" / "ant" / "00.png").write_bytes(b""),
            ("train/ant/00.png", "empty"),
        ),
        (
            lambda root: (root / "test" / "cow" / "notes.png").write_text("remember the milk"),
            ("test/cow/notes.png", "no image"),
        ),
        (
            lambda root: [path.unlink() for path in (root / "train" / "bee").glob("0[5-9]*")],
            ("25 training images for 3 classes",),
        ),
    ],
)
def test_a_folder_that_is_wrong_anywhere_is_refused_by_name(
    photos: Path, spoil: Callable[[Path], Any], names: tuple[str, ...]
) -> None:
    spoil(photos)
    refused(f"imagefolder:{photos}", str(photos), *names)


def test_a_truncated_picture_among_many_is_found(photos: Path) -> None:
    victim = photos / "train" / "cow" / "06.png"
    victim.write_bytes(victim.read_bytes()[:-40])
    refused(f"imagefolder:{photos}", str(victim))


def test_one_class_is_no_classification(tmp_path: Path) -> None:
    (tmp_path / "train" / "ant").mkdir(parents=True)
    refused(f"imagefolder:{tmp_path}", "has 1 class folders (ant), expected at least 2")


def test_narrow_pictures_get_shifts_that_fit(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name in CLASSES:
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(10):
                pixels = encoded(picture(96, 8).rotate(number), "PNG")
                (tmp_path / part / name / f"{number}.png").write_bytes(pixels)
    data = read(f"imagefolder:{tmp_path}")
    side = min(data.train_images.shape[1:3])
    assert side == 8 and default_recipe("iir-bn", data.name, side).augmentation.shift < 8


# CIFAR


def python2_pickle(content: dict[str, Any]) -> bytes:
    """As Python 2 wrote it: byte strings, lists, and an array of numpy's old module."""

    def string(text: bytes) -> bytes:
        return b"T" + struct.pack("<I", len(text)) + text

    def value(item: object) -> bytes:
        if isinstance(item, np.ndarray):
            shape = b"K%cM%s\x86" % (len(item), struct.pack("<H", item.shape[1]))
            return (
                b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\1b\x87R"
                + b"(K\1" + shape + b"cnumpy\ndtype\nU\2u1K\0K\1\x87R"
                + b"(K\3U\1|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89"
                + string(item.tobytes()) + b"tb"
            )  # fmt: skip
        if isinstance(item, list):
            return b"](" + b"".join(value(each) for each in item) + b"e"
        if isinstance(item, int):
            return b"J" + struct.pack("<i", item)
        assert isinstance(item, str)
        return string(item.encode())

    items = b"".join(string(key.encode()) + value(item) for key, item in content.items())
    return b"\x80\2}(" + items + b"u."


def batch(key: str, classes: int, count: int = 20, first: int = 0) -> dict[str, Any]:
    rows = np.random.default_rng(first).integers(0, 256, (count, 3072), np.uint8)
    labels = [(first + index) % classes for index in range(count)]
    return {"batch_label": "a batch", key: labels, "data": rows, "filenames": ["a.png"] * count}


def members(kind: str) -> dict[str, dict[str, Any]]:
    if kind == "cifar10":
        made = {f"data_batch_{i}": batch("labels", 10, first=i) for i in range(1, 6)}
        names = [f"class {i}" for i in range(10)]
        return made | {"test_batch": batch("labels", 10), "batches.meta": {"label_names": names}}
    return {"meta": {"fine_label_names": [f"class {i}" for i in range(100)]}}


FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}


def archive(path: Path, kind: str, contents: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]  # mode is any str
        for name, data in contents.items():
            member = tarfile.TarInfo(f"{FOLDERS[kind]}/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def pickled(kind: str) -> dict[str, bytes]:
    return {name: python2_pickle(content) for name, content in members(kind).items()}


@pytest.mark.parametrize("mode", ["w:gz", "w", "w:xz"])
def test_cifar10s_archive_is_read(tmp_path: Path, mode: str) -> None:
    path = archive(tmp_path / "cifar.tar.gz", "cifar10", pickled("cifar10"), mode)
    data = read(f"cifar10:{path}")
    assert data.labels == tuple(f"class {i}" for i in range(10))
    contents = members("cifar10")
    rows = np.concatenate([contents[f"data_batch_{i}"]["data"] for i in range(1, 6)])
    labels = [label for i in range(1, 6) for label in contents[f"data_batch_{i}"]["labels"]]
    assert data.train_labels.tolist() == labels
    assert data.test_labels.tolist() == contents["test_batch"]["labels"]
    for row, pixels in zip(rows, in_memory(data.train_images).numpy(), strict=True):
        for colour in range(3):  # a row is all red, then all green, then all blue
            plane = row[1024 * colour : 1024 * (colour + 1)].reshape(32, 32)
            assert np.array_equal(pixels[:, :, colour], plane)


def test_cifar10_becomes_a_folder_of_photographs(tmp_path: Path) -> None:
    path = archive(tmp_path / "cifar.tar.gz", "cifar10", pickled("cifar10"))
    script = Path(__file__).parents[3] / "train" / "benchmarks" / "photographs.py"
    run([sys.executable, str(script), str(path), str(tmp_path / "photographs")], check=True)
    given, found = read(f"cifar10:{path}"), read(f"imagefolder:{tmp_path / 'photographs'}")
    assert found.labels == given.labels
    for images, labels, folder in (
        (given.train_images, given.train_labels, "train"),
        (given.test_images, given.test_labels, "test"),
    ):
        for index, name in enumerate(given.labels):
            files = sorted((tmp_path / "photographs" / folder / name).iterdir())
            mine = in_memory(images)[labels == index].numpy()
            assert [file.name for file in files] == [f"{n:04}.jpg" for n in range(len(mine))]
            for file, pixels in zip(files, mine, strict=True):
                expected = io.BytesIO()
                Image.fromarray(pixels).save(expected, "JPEG", quality=75)
                assert file.read_bytes() == expected.getvalue()


def test_cifar100s_fine_labels_are_read(tmp_path: Path) -> None:
    # These are pickled by today's numpy.
    rows = np.random.default_rng(0).integers(0, 256, (1000, 3072), np.uint8)
    labels = [index % 100 for index in range(1000)]
    made = pickled("cifar100") | {
        part: pickle.dumps({b"fine_labels": labels, b"data": rows}, 2) for part in ("train", "test")
    }
    path = archive(tmp_path / "cifar.tar.gz", "cifar100", made)
    data = read(f"cifar100:{path}")
    assert len(data.labels) == 100 and data.test_labels.tolist() == labels
    blue = in_memory(data.train_images)[7, :, :, 2]
    assert np.array_equal(blue.flatten().numpy(), rows[7, 2048:])


class Canary:
    """A pickle of this runs a command when it is opened carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_hostile_pickle_is_refused_and_never_runs(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for data in (
        pickle.dumps(Canary(canary), 2),
        pickle.dumps({b"data": Canary(canary)}),
        b"cnumpy\nf2py\n.",
        b"cnumpy.core.multiarray\nfromfile\n(S'/etc/passwd'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
    ):
        contents = pickled("cifar10") | {"data_batch_3": data}
        path = archive(tmp_path / "cifar.tar.gz", "cifar10", contents)
        refused(f"cifar10:{path}", str(path), "data_batch_3 is corrupt (holds ")
    assert not canary.exists()


def without(contents: dict[str, bytes], name: str) -> dict[str, bytes]:
    return {key: data for key, data in contents.items() if key != name}


def faulty(**changed: object) -> dict[str, bytes]:
    return {"test_batch": python2_pickle(batch("labels", 10) | changed)}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda c: without(c, "data_batch_4"), "has no data_batch_4"),
        (lambda c: without(c, "batches.meta"), "has no batches.meta"),
        (lambda c: c | {"batches.meta": python2_pickle({})}, "no list of label_names"),
        (lambda c: c | {"batches.meta": python2_pickle({"label_names": [1]})}, "label_names"),
        (lambda c: c | {"test_batch": c["test_batch"][:-9]}, "test_batch is corrupt"),
        (lambda c: c | {"test_batch": b"K\1."}, "test_batch is corrupt (no dictionary)"),
        (lambda c: c | {"test_batch": python2_pickle({"labels": []})}, "no images of 32x32x3"),
        (
            lambda c: c | faulty(labels=[1] * 19),
            "test_batch has 20 images and 19 labels",
        ),
        (
            lambda c: c | {"test_batch": python2_pickle(batch("fine_labels", 10))},
            "test_batch holds no list of labels",
        ),
        (
            lambda c: c | faulty(labels=["x"] * 20),
            "test_batch holds no list of labels",
        ),
        (
            lambda c: c | faulty(labels=[-1] * 20),
            "test_batch holds no list of labels",
        ),
    ],
)
def test_a_cifar_archive_with_a_fault_is_refused_by_name(
    tmp_path: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]], problem: str
) -> None:
    path = archive(tmp_path / "cifar.tar.gz", "cifar10", change(pickled("cifar10")))
    refused(f"cifar10:{path}", str(path), problem)


@pytest.mark.parametrize(
    ("labels", "problem"),
    [([10] * 20, "a test label is not 0 to 9"), ([1] * 20, "class 'class 0' has no test image")],
)
def test_labels_that_do_not_fit_the_classes_are_refused(
    tmp_path: Path, labels: list[int], problem: str
) -> None:
    path = archive(tmp_path / "c", "cifar10", pickled("cifar10") | faulty(labels=labels))
    refused(f"cifar10:{path}", problem)


@pytest.mark.parametrize("mode", ["w:gz", "w", "w:xz", "w:bz2"])
def test_a_truncated_archive_is_refused_wherever_it_ends(tmp_path: Path, mode: str) -> None:
    path = archive(tmp_path / "cifar", "cifar10", pickled("cifar10"), mode)
    whole = path.read_bytes()
    for end in range(0, len(whole) * 9 // 10, len(whole) // 12):
        path.write_bytes(whole[:end])
        refused(f"cifar10:{path}", str(path))


def _gzipped_labels(folder: Path) -> tuple[Path, str]:
    write_idx(folder, idx_files(), packed=True)
    return folder / f"{LABELS}.gz", f"mnist:{folder}"


def _cifar(folder: Path, mode: str) -> tuple[Path, str]:
    path = archive(folder / "cifar", "cifar10", pickled("cifar10"), mode)
    return path, f"cifar10:{path}"


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2", "idx"])
def test_a_flipped_bit_in_an_archive_is_refused_or_changes_nothing(
    tmp_path: Path, mode: str
) -> None:
    """CIFAR's pictures are noise here, which gzip stores as it is: only the checksum tells."""
    path, spec = _gzipped_labels(tmp_path) if mode == "idx" else _cifar(tmp_path, mode)
    whole, expected = path.read_bytes(), digest(read(spec))
    rng = np.random.default_rng(0)
    refusals = 0
    for position in [*range(10), *rng.integers(10, len(whole), 20), len(whole) - 6]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            found = digest(read(spec))
        except InputError as error:
            refusals += 1
            assert str(path) in error.message or str(tmp_path) in error.message
        else:  # a date
            assert found == expected, position
    assert refusals >= 20


def test_a_missing_archive_is_refused_by_name(tmp_path: Path) -> None:
    refused(f"cifar100:{tmp_path}/none.tar.gz", "none.tar.gz: no such file")
    refused(f"cifar10:{tmp_path}", "is a folder and not a regular file")


# IDX


def idx(array: npt.NDArray[np.uint8], *, kind: int = 8) -> bytes:
    head = struct.pack(">BBBB", 0, 0, kind, array.ndim)
    return head + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def idx_files() -> dict[str, bytes]:
    rng = np.random.default_rng(1)
    parts = []
    for count in (150, 30):
        pixels = rng.integers(0, 256, (count, 28, 28), np.uint8)
        parts += [idx(pixels), idx((np.arange(count) % 10).astype(np.uint8))]
    return dict(zip(archives.IDX_FILES, parts, strict=True))


def write_idx(folder: Path, contents: dict[str, bytes], packed: bool = False) -> Path:
    for name, data in contents.items():
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(data) if packed else data)
    return folder


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_files_are_read_plain_and_gzipped(tmp_path: Path, name: str, packed: bool) -> None:
    contents = idx_files()
    data = read(f"{name}:{write_idx(tmp_path, contents, packed)}")
    assert data.labels[0] == {"mnist": "0", "fashion-mnist": "T-shirt/top"}[name]
    assert data.train_images.shape == (150, 28, 28, 3) and data.test_images.shape[0] == 30
    assert data.test_labels.tolist() == [index % 10 for index in range(30)]
    grey = np.frombuffer(contents[archives.IDX_FILES[0]][16:], np.uint8).reshape(150, 28, 28)
    for colour in range(3):
        assert np.array_equal(in_memory(data.train_images)[..., colour].numpy(), grey)


IMAGES, LABELS = archives.IDX_FILES[:2]


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        (IMAGES, b"", "is no IDX file"),
        (IMAGES, b"\0\0\x08", "is no IDX file"),
        (IMAGES, b"\0\0\x08\3" + bytes(5), "is no IDX file"),
        (IMAGES, b"\x89PNG" + bytes(100), "is no IDX file"),
        (IMAGES, idx(np.zeros((3, 8, 8), np.uint8), kind=9), "is no IDX file of bytes"),
        (IMAGES, idx(np.zeros((150, 28, 28), np.uint8))[:-1], "its header says (150, 28, 28)"),
        (IMAGES, b"\0\0\x08\3" + struct.pack(">3I", 2**31, 2**31, 4), "has 0 bytes of data"),
        (IMAGES, idx(np.zeros((149, 28, 28), np.uint8)), "do not match"),
        (IMAGES, idx(np.zeros((150, 28), np.uint8)), "do not match"),
        (LABELS, idx(np.zeros((150, 1), np.uint8)), "do not match"),
        (LABELS, idx(np.full(150, 10, np.uint8)), "a train label is not 0 to 9"),
        (LABELS, idx(np.zeros(150, np.uint8)), "class '1' has no train image"),
        (IMAGES, idx(np.zeros((150, 20, 28), np.uint8)), "train and test images differ in size"),
    ],
)
def test_idx_files_with_a_fault_are_refused(
    tmp_path: Path, name: str, data: bytes, problem: str
) -> None:
    refused(f"mnist:{write_idx(tmp_path, idx_files() | {name: data})}", problem)


def test_an_empty_test_set_is_refused(tmp_path: Path) -> None:
    empty = {
        archives.IDX_FILES[2]: idx(np.zeros((0, 28, 28), np.uint8)),
        archives.IDX_FILES[3]: idx(np.zeros(0, np.uint8)),
    }
    refused(f"mnist:{write_idx(tmp_path, idx_files() | empty)}", "class '0' has no test image")


def test_small_pictures_are_refused(tmp_path: Path) -> None:
    contents = idx_files()
    for name, count in ((IMAGES, 150), (archives.IDX_FILES[2], 30)):
        contents[name] = idx(np.zeros((count, 7, 9), np.uint8))
    refused(f"mnist:{write_idx(tmp_path, contents)}", "images are 7x9, at least 8x8")


def test_what_unpacks_without_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "LARGEST", 2**20)
    write_idx(tmp_path, idx_files(), packed=True)
    zeros = tmp_path / f"{LABELS}.gz"
    zeros.write_bytes(gzip.compress(bytes(2**20 + 1)))
    refused(f"mnist:{tmp_path}", str(zeros), "more than 1,048,576 bytes", "(unpacked)")
    path = tmp_path / "some.tar"
    for member, count in ((sparse(2**20 + 1), 1), (tarfile.TarInfo().tobuf(), 65)):
        path.write_bytes(member * count + bytes(1024))
        refused(f"cifar10:{path}", f"{path}: holds more than CIFAR's python version")


def sparse(size: int) -> bytes:
    """The header of a member of so many zeros, none of which is there (GNU's sparse format)."""
    header = bytearray(tarfile.TarInfo("data_batch_1").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[483:495] = b"%011o\0" % size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def test_a_missing_or_damaged_idx_file_is_refused_by_name(tmp_path: Path) -> None:
    write_idx(tmp_path, idx_files(), packed=True)
    victim = tmp_path / f"{LABELS}.gz"
    for damage in (victim.read_bytes()[:-5], b"\x1f\x8b\x08\0" + bytes(40)):
        victim.write_bytes(damage)
        refused(f"mnist:{tmp_path}", str(victim), "is corrupt")
    victim.write_bytes(b"no gzip")
    refused(f"mnist:{tmp_path}", str(victim), "is no IDX file")
    victim.unlink()
    refused(f"mnist:{tmp_path}", str(tmp_path), f"has neither {LABELS} nor {LABELS}.gz")


# download

CONTENT = bytes(range(256)) * 3000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Host(BaseHTTPRequestHandler):
    """Gives CONTENT, or fails as the path says."""

    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/missing":
            self.send_error(404)
        elif self.path == "/garbage":
            self.wfile.write(b"220 this is a mail server\r\n")
        else:
            self.send_response(200)
            length = len(CONTENT) if self.path != "/short" else len(CONTENT) + 5000
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def host() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Host)
    Host.asked.clear()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_is_kept_and_not_made_twice(host: str, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "file"
    for _ in range(2):
        assert downloads.download(f"{host}/file", path, MD5) == path
        assert path.read_bytes() == CONTENT
    assert Host.asked == ["/file"]
    assert list(path.parent.iterdir()) == [path]


def test_a_kept_download_is_compared_with_its_checksum_every_time(
    host: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    downloads.download(f"{host}/file", path, MD5)
    damaged = bytearray(CONTENT)
    damaged[12345] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=f"expected {MD5}; delete it, and it is downloaded again"):
        downloads.download(f"{host}/file", path, MD5)
    path.unlink()
    downloads.download(f"{host}/file", path, MD5)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("page", "md5", "problem"),
    [
        ("file", "0" * 32, f"checksum is {MD5}, expected {'0' * 32}"),
        ("missing", MD5, "cannot be downloaded"),
        ("garbage", MD5, "cannot be downloaded"),
    ],
)
# urllib leaves the socket of a host that speaks another protocol to the collector, which then
# warns; better here than in whatever test comes next.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_wrong_answer_is_refused_and_not_kept(
    host: str, tmp_path: Path, page: str, md5: str, problem: str
) -> None:
    with pytest.raises(InputError) as caught:
        downloads.download(f"{host}/{page}", tmp_path / "file", md5)
    assert problem in caught.value.message and f"{host}/{page}" in caught.value.message
    assert list(tmp_path.iterdir()) == []
    del caught
    gc.collect()


def test_an_answer_cut_short_is_refused_or_complete(host: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        downloads.download(f"{host}/short", tmp_path / "file", "0" * 32)
    assert list(tmp_path.iterdir()) == []


def test_a_host_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with socket.socket() as probe:  # a port that was free a moment ago
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(InputError, match=f"127.0.0.1:{port}.*cannot be downloaded"):
        downloads.download(f"http://127.0.0.1:{port}/file", tmp_path / "file", MD5)


def test_downloads_go_to_the_cache_folder(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(archives, "CIFAR_URL", f"{host}/")
    refused("cifar10", f"{host}/cifar-10-python.tar.gz", "checksum")
    path = archive(tmp_path / "made", "cifar10", pickled("cifar10"))
    (tmp_path / "iir-snn").mkdir(exist_ok=True)
    made = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setitem(archives.CIFAR_MD5, "cifar-10-python.tar.gz", made)
    path.rename(tmp_path / "iir-snn" / "cifar-10-python.tar.gz")
    assert len(read("cifar10").train_labels) == 100
    assert Host.asked == ["/cifar-10-python.tar.gz"]
