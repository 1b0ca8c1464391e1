"""Checkpoints: what was written comes back, and everything else is refused."""

import collections
import io
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from snn_runtime.errors import ModelError, ResourceError
from snn_train import checkpoint, torch_zip


def content() -> dict[str, Any]:
    torch.manual_seed(0)
    return {
        "numbers": [1, -2, 2.5, float("inf"), True, None],
        "text": "Straße",
        "nest": {"a": (1, 2), "b": {}, 3: []},
        "weights": {
            "conv": torch.randn(4, 3, 3, 3).contiguous(memory_format=torch.channels_last),
            "half": torch.randn(5).bfloat16(),
            "count": torch.tensor(7),
            "empty": torch.empty(0, 3),
        },
    }


def same(first: object, second: object) -> bool:
    if isinstance(first, torch.Tensor):
        return (
            isinstance(second, torch.Tensor)
            and first.dtype == second.dtype
            and torch.equal(first, second)
        )
    if isinstance(first, dict):
        return (
            isinstance(second, dict)
            and list(first) == list(second)
            and all(same(first[key], second[key]) for key in first)
        )
    return type(first) is type(second) and first == second


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "t1.pt"
    checkpoint.save(path, content())
    return path


def refused(path: Path, problem: str = "") -> None:
    with pytest.raises(ModelError) as caught:
        checkpoint.load(path)
    assert str(path) in caught.value.message and problem in caught.value.message
    assert "\n" not in caught.value.message


def test_what_was_saved_comes_back(saved: Path) -> None:
    loaded = checkpoint.load(saved)
    assert same(loaded, {"format": "iir-snn", "version": 1} | content())
    assert loaded["weights"]["conv"].is_contiguous(memory_format=torch.channels_last)


def test_a_flipped_bit_anywhere_is_noticed_unless_it_changes_nothing(saved: Path) -> None:
    whole = saved.read_bytes()
    expected = checkpoint.load(saved)
    rng = np.random.default_rng(1)
    noticed = 0
    for position in rng.permutation(len(whole))[:400]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        saved.write_bytes(damaged)
        try:
            loaded = checkpoint.load(saved)
        except ModelError as error:
            noticed += 1
            assert str(saved) in error.message
        else:  # a date, or the padding between the parts
            assert same(loaded, expected)
    assert noticed > 100


def test_every_byte_of_every_tensor_is_protected(saved: Path) -> None:
    whole = saved.read_bytes()
    weights = content()["weights"]["conv"].permute(0, 2, 3, 1).numpy().tobytes()
    start = whole.index(weights)
    for position in range(start, start + len(weights), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        saved.write_bytes(damaged)
        refused(saved)


def test_a_truncated_file_is_refused_wherever_it_ends(saved: Path) -> None:
    whole = saved.read_bytes()
    for end in [*range(0, len(whole), 97), len(whole) - 1]:
        saved.write_bytes(whole[:end])
        refused(saved)


def test_bytes_of_zero_and_noise_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    for data, says in (
        (b"", "is empty"),
        (bytes(5000), "is no torch file"),
        (np.random.default_rng(0).bytes(5000), "is no torch file"),
        (b"PK\3\4" + bytes(60), "was cut short or overwritten; copy it again"),
    ):
        path.write_bytes(data)
        refused(path, says)
    refused(tmp_path / "none.pt", "no such file")
    refused(tmp_path, "is a folder and not a regular file")


class Canary:
    """A pickle of this makes a folder when it is opened carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_code_in_a_file_never_runs(tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "x.pt"
    torch.save({"format": "iir-snn", "version": 1, "x": Canary(canary)}, path)
    refused(path, "its entry 'x' is of posix.mkdir, which is never loaded")
    torch.save(Canary(canary), path)
    refused(path, "is a pickle of a whole posix.mkdir, which is never loaded")
    torch.save(Canary(canary), path, _use_new_zipfile_serialization=False)
    refused(path, "is in the format of torch before 1.6; name a checkpoint of train-snn")
    path.write_bytes(pickle.dumps(Canary(canary)))
    refused(path, "a bare pickle, which is never run")
    with tarfile.open(path, "w") as tar:  # how torch wrote before version 0.1.10
        for name in ("sys_info", "pickle", "storages", "tensors"):
            data = pickle.dumps(Canary(canary))
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    refused(path, "is in the format of torch before 1.6")
    assert not canary.exists()


def sealed(path: Path, value: dict[str, Any]) -> Path:
    """As a stranger would write it who knows how the checksum is made."""
    state = {"format": "iir-snn", "version": 1} | value
    try:
        digest = checkpoint._digest(state)
    except (TypeError, ValueError, RuntimeError):
        digest = "0" * 64
    torch.save(state | {"digest": digest}, path)
    return path


def endless() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"format": "onnx"}, "not a checkpoint of train-snn"),
        ({"version": 2}, "has format version 2, this program reads 1"),
        ({"version": "1"}, "has format version '1'"),
        ({"w": torch.eye(3).to_sparse()}, "sparse"),
        ({"w": torch.ones(1).expand(10**6, 10**6)}, "repeats a few numbers"),
        ({"w": torch.ones(2, 2, device="meta")}, "holds what no checkpoint holds"),
        ({"w": {1, 2}}, "holds what no checkpoint holds"),
        ({"w": torch.float32}, "holds what no checkpoint holds"),
        ({"w": 1j}, "holds what no checkpoint holds"),
        ({"w": endless()}, "holds what no checkpoint holds"),
    ],
)
def test_what_only_a_stranger_would_write_is_refused(
    tmp_path: Path, value: dict[str, Any], problem: str
) -> None:
    refused(sealed(tmp_path / "x.pt", value), problem)


def test_a_digest_of_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    for digest in (None, "", 7, "0" * 64):
        torch.save({"format": "iir-snn", "version": 1, "digest": digest}, path)
        refused(path, "does not match its checksum")
    foreign: list[object] = [[1], torch.ones(2), {"state_dict": {}}, collections.OrderedDict(a=1)]
    for other in foreign:
        torch.save(other, path)
        refused(path, "not a checkpoint of train-snn")


def rewritten(path: Path, change: Callable[[str, bytes], bytes], packed: int) -> None:
    with zipfile.ZipFile(path) as source:
        parts = [(name, source.read(name)) for name in source.namelist()]
    with zipfile.ZipFile(path, "w", packed) as target:
        for name, data in parts:
            target.writestr(name, change(name, data))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(saved: Path) -> None:
    def swell(name: str, data: bytes) -> bytes:
        return bytes(200 * 2**20) if name.endswith("data/0") else data

    rewritten(saved, swell, zipfile.ZIP_DEFLATED)
    assert saved.stat().st_size < 2**20
    refused(saved, "claims to unpack to 209,7")


def test_a_zip_that_claims_terabytes_is_refused(saved: Path) -> None:
    whole = bytearray(saved.read_bytes())
    entry = whole.index(b"PK\1\2")
    whole[entry + 24 : entry + 28] = b"\xf0\xff\xff\xff"  # its unpacked size
    saved.write_bytes(whole)
    refused(saved, "claims to unpack to 4,29")


def test_other_peoples_zips_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "no pickle in here")
    refused(path, "not one that torch wrote")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", b"no pickle either")
    refused(path)


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    saved: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    before = saved.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(ResourceError) as caught:
        checkpoint.save(saved, content() | {"more": 1})
    assert str(saved) in caught.value.message
    assert "No space left on device" in caught.value.message
    assert caught.value.exit_code == 7
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_folder_that_is_gone_is_a_resource_error(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="none/t1.pt: cannot write"):
        checkpoint.save(tmp_path / "none" / "t1.pt", content())


def test_a_list_of_members_that_fills_the_memory_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "many.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(100):
            archive.writestr(f"a/{number}", b"")
    monkeypatch.setattr(torch_zip, "LARGEST_DIRECTORY", 1000)
    refused(path, "lists members in 4,990 bytes, limit is 1,000")
    whole = path.read_bytes()  # as torch writes it: the size stands in a record before the end
    at = whole.rindex(b"PK\5\6")
    record = b"PK\6\6" + bytes(36) + (4990).to_bytes(8, "little") + bytes(8)
    locator = b"PK\6\7" + bytes(16)
    end = bytearray(whole[at:])
    end[12:16] = b"\xff" * 4
    path.write_bytes(whole[:at] + record + locator + end)
    refused(path, "lists members in 4,990 bytes, limit is 1,000")
