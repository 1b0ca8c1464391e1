"""Files that are whole or not there, and whose leftovers go without anything else."""

import os
import stat
from pathlib import Path

import pytest

from snn_runtime.errors import ResourceError
from snn_runtime.files import MARK, SUFFIX, sweep_temporary, write_atomic


def test_what_is_written_is_there_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a"
    for data in (b"first", b"second"):
        write_atomic(target, data)
        assert target.read_bytes() == data
    mask = os.umask(0o027)
    try:
        write_atomic(target, b"third")
        assert stat.S_IMODE(target.stat().st_mode) == 0o640
        write_atomic(target, b"fourth", private=True)
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        write_atomic(target, b"fifth", like=target)
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        write_atomic(target, b"sixth", like=tmp_path / "none")
        assert stat.S_IMODE(target.stat().st_mode) == 0o640
    finally:
        os.umask(mask)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_name_as_long_as_names_can_be(tmp_path: Path) -> None:
    target = tmp_path / ("n" * os.pathconf(tmp_path, "PC_NAME_MAX"))
    write_atomic(target, b"all of it")
    assert target.read_bytes() == b"all of it"


def test_what_cannot_be_written_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    (target / "with").mkdir(parents=True)
    with pytest.raises(ResourceError, match="folder: is no regular file, and is not replaced"):
        write_atomic(target, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_only_our_leftovers_are_swept(tmp_path: Path) -> None:
    mine = [".notes.tmp", ".latest.pt.a1b2c3d4.tmp", "iir-snn-a.tmp", f"{MARK}a", "a.tmp", ".tmp"]
    for name in mine:
        (tmp_path / name).write_text("mine")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    (tmp_path / f"{MARK}link{SUFFIX}").symlink_to(elsewhere)
    (tmp_path / f"{MARK}folder{SUFFIX}").mkdir()
    (tmp_path / f"{MARK}a1b2c3d4{SUFFIX}").write_text("half a fi")
    before = {path.name for path in tmp_path.iterdir()}
    sweep_temporary(tmp_path)
    assert before - {path.name for path in tmp_path.iterdir()} == {f"{MARK}a1b2c3d4{SUFFIX}"}
    assert elsewhere.read_text() == "mine"


def test_a_killed_writer_leaves_what_is_swept(tmp_path: Path) -> None:
    """The name that is written is the name that is looked for."""
    child = os.fork()
    if not child:
        os.fsync = lambda _: os._exit(9)  # type: ignore[assignment]
        write_atomic(tmp_path / "model.onnx", b"half")
    os.waitpid(child, 0)
    assert [path.name[: len(MARK)] for path in tmp_path.iterdir()] == [MARK]
    sweep_temporary(tmp_path)
    assert not list(tmp_path.iterdir())
