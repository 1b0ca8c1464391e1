"""Files of torch: what is damaged, or more than tensors, is told by name."""

import argparse
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from snn_runtime.errors import ModelError
from snn_train import torch_zip


def refused(path: Path, problem: str) -> None:
    with pytest.raises(ModelError) as caught:
        torch_zip.read(path, "do this")
    message = caught.value.message
    assert message.startswith(f"{path}: ") and problem in message
    assert message.isprintable(), "a terminal would obey it"


def members(path: Path) -> dict[str, tuple[int, int]]:
    """Where the bytes of every member begin, and how many they are."""
    with zipfile.ZipFile(path) as archive:
        places = {}
        for entry in archive.infolist():
            with archive.open(entry):
                pass
            with path.open("rb") as file:
                file.seek(entry.header_offset + 26)
                name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
            places[entry.filename] = (entry.header_offset + 30 + name + extra, entry.file_size)
    return places


def test_every_member_is_compared_with_its_checksum(tmp_path: Path) -> None:
    """torch compares none of them: each of these loads, and most hold other numbers."""
    path = tmp_path / "x.pt"
    torch.save({"w": torch.arange(5.0), "n": {"v": torch.ones(3, dtype=torch.int64)}}, path)
    whole = path.read_bytes()
    rng = random.Random(0)
    for name, (start, size) in members(path).items():
        for place in {start, start + size - 1, start + rng.randrange(size)}:
            data = bytearray(whole)
            data[place] ^= 1 << rng.randrange(8)
            path.write_bytes(data)
            refused(path, f"is damaged: {name!r} does not match its checksum; copy it again")
    path.write_bytes(whole)
    assert torch_zip.read(path, "")["w"].tolist() == [0, 1, 2, 3, 4]


def test_a_file_without_checksums_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"w": torch.ones(2)}, path)
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16), (b"PK\x07\x08", 4)):
        place = data.find(signature)
        while place >= 0:  # as torch leaves them with set_crc32_options(False)
            data[place + offset : place + offset + 4] = bytes(4)
            place = data.find(signature, place + 4)
    path.write_bytes(data)
    assert torch.load(path, weights_only=True)["w"].tolist() == [1, 1]
    refused(path, "write it again without torch.serialization.set_crc32_options(False)")


def test_members_of_one_name_are_refused(tmp_path: Path) -> None:
    """zipfile reads the last of them, torch another."""
    path = tmp_path / "x.pt"
    torch.save({"w": torch.ones(2)}, path)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("x/data/0", bytes(8))
    refused(path, "two of its members have the same name")


def whole_module(path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), path)


def script(path: Path) -> None:
    whole_module(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x/constants.pkl", b"torch.jit.save writes this and a program")


def entry(value: object) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        torch.save({"state_dict": {"w": torch.ones(2)}, "odd": value, "last": 1}, path)

    return save


@pytest.mark.parametrize(
    ("save", "says"),
    [
        (entry(np.float64(0.5)), "multiarray.scalar, which is never"),
        (entry(np.float64(0.5)), "make it a number with .item(), or do this"),
        (entry(np.arange(3)), "multiarray._reconstruct"),
        (entry(argparse.Namespace(lr=1)), "'odd' is of argparse.Namespace, which is never loaded"),
        (entry(torch.nn.Linear(1, 1)), "'odd' is of torch.nn.modules.linear.Linear"),
        (whole_module, "is a pickle of a whole torch.nn.modules.linear.Linear, which is never"),
        (script, "is a TorchScript program, expected tensors; do this"),
    ],
)
def test_what_is_more_than_tensors_is_named(
    tmp_path: Path, save: Callable[[Path], Any], says: str
) -> None:
    save(tmp_path / "x.pt")
    refused(tmp_path / "x.pt", says)
