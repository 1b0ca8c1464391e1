"""The door: what is let in, whole and within bounds, and with which words the rest is refused."""

import bz2
import gzip
import lzma
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from snn_runtime import door
from snn_runtime.errors import InputError, ResourceError
from snn_runtime.files import check_target, write_atomic


def refused(act: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(InputError) as caught:
        act()
    return caught.value.code, caught.value.message


def test_a_file_is_read_whole_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert door.read(path, 3) == b"abc" and door.size(path, 3) == 3
    code, message = refused(lambda: door.read(path, 2, "--max-bytes"))
    assert (code, message) == ("too_many_bytes", "has 3 bytes, the limit is 2 (--max-bytes)")


def test_what_grows_while_it_is_read_is_not_read_on() -> None:
    with Path("/dev/zero").open("rb") as stream:
        assert refused(lambda: door.read_stream(stream, 10**6)) == (
            "too_many_bytes",
            "has more than 1,000,000 bytes, the limit is 1,000,000",
        )


def test_what_is_no_file_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object) -> int:
        raise AssertionError("opening may already do something to a device")

    monkeypatch.setattr(os, "open", opened)
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
    for path in ("/dev/zero", tmp_path / "pipe", tmp_path / "socket", tmp_path):
        assert refused(lambda path=path: door.read(path, 9))[0] == "not_a_regular_file"  # type: ignore[misc]
    assert refused(lambda: door.read(tmp_path / "none", 9)) == ("missing", "no such file")
    assert refused(lambda: door.read("a\0b", 9))[0] == "missing"


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_what_unpacks_is_bounded_too(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(pack(bytes(10**6)))
    with path.open("rb") as file:
        assert door.unpacked(file, 10**6) == bytes(10**6)
        file.seek(0)
        assert refused(lambda: door.unpacked(file, 10**6 - 1))[0] == "too_many_bytes"
    if pack is not bytes:
        path.write_bytes(path.read_bytes()[:-9])
        with path.open("rb") as file:
            assert refused(lambda: door.unpacked(file, 10**6))[0] == "unreadable"


def test_only_a_file_is_replaced(tmp_path: Path) -> None:
    """/dev/null of a root who named it as the file to write is a device still."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    for name in ("pipe", "null", ".", "none/file", "a\0b", 300 * "a"):
        with pytest.raises(ResourceError) as caught:
            write_atomic(tmp_path / name, b"")
        assert caught.value.code == "unwritable"
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "null").is_char_device()
    check_target(tmp_path / "new")
    write_atomic(tmp_path / "new", b"1")
    write_atomic(tmp_path / "new", b"2")
    assert (tmp_path / "new").read_bytes() == b"2"
