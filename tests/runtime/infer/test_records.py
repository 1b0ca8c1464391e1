"""Rows for other engines are the lines of the command, failed pictures and odd names included."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bad_inputs.pictures import encoded, frames, picture, text_bomb
from infer_command import Command, png

import snn_runtime as snn
from snn_runtime.errors import DeviceError, InputError
from snn_runtime.infer import buckets
from snn_runtime.infer.records import records
from snn_runtime.infer.results import Results
from snn_runtime.infer.sources import LEADS_OUTSIDE

Rows = list[dict[str, Any]]
JPEG = encoded(picture(), "JPEG")
FILES = {
    "a.png": png("red"),
    "deep/b.jpg": JPEG,
    "deep/c.jpg": JPEG[: len(JPEG) // 2],
    "deep/empty.png": b"",
    "flipped.png": png("lime")[:40] + b"?" + png("lime")[41:],
    "frames.gif": frames("GIF"),
    "html.jpg": b"<!doctype html>",
    "large.png": text_bomb(),
    "noise.webp": b"RIFF\0\0\0\0WEBP" + bytes(64),
    os.fsdecode(b"\xff\xfe.png"): png("blue"),
    ".hidden.png": png("red"),
    "__MACOSX/a.png": png("red"),
    "notes.txt": b"no picture's name",
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    return folder


@pytest.fixture
def fsspec() -> Any:
    return pytest.importorskip("fsspec", reason="fsspec is not here: torch brings it")


@pytest.fixture
def bucket(fsspec: Any) -> Iterator[str]:
    """What `photos` holds and a bucket can hold, in memory."""
    files = fsspec.filesystem("memory")
    for name, data in FILES.items():
        files.pipe(f"/bucket/photos/{name}", data)
    yield "memory://bucket/photos"
    files.rm("/bucket", recursive=True)


def labelled(model: Path, place: str) -> Rows:
    """What an engine would have: found here, and labelled elsewhere, three pictures at once."""
    network, found = snn.load(model), buckets.find(place)
    parts = [found[start : start + 3] for start in range(0, len(found), 3)]
    rows = [row for part in parts for row in records(network, part, buckets.read)]
    return list(map(json.loads, map(json.dumps, rows)))


def test_rows_of_a_folder(
    snn_infer: Command, model: Path, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (photos / "outside.png").symlink_to(__file__)
    outcome = snn_infer("--format", "json", photos)
    assert labelled(model, str(photos)) == outcome.records
    assert outcome.codes.keys() == {
        *("c.jpg", "empty.png", "flipped.png", "html.jpg", "noise.webp", "pipe.jpg", "gone.jpg"),
        "large.png",
    }
    assert [each.getMessage() for each in caplog.records] == [
        f"{photos / 'outside.png'}: {LEADS_OUTSIDE}, skipped"
    ]


def test_rows_of_a_bucket(snn_infer: Command, model: Path, photos: Path, bucket: str) -> None:
    rows = labelled(model, bucket)
    there = {row["path"].replace("memory:///bucket", str(photos.parent)): row for row in rows}
    for record in snn_infer("--format", "json", photos).records:
        if not record["path"].endswith(("pipe.jpg", "gone.jpg")):
            assert {**there.pop(record["path"]), "path": None, "path_b64": None} == {
                **record,
                "path": None,
                "path_b64": None,
            }
    assert there == {}


def test_what_is_no_bucket(fsspec: Any) -> None:
    with pytest.raises(InputError, match="nowhere: no supported images") as refused:
        buckets.find("memory://nowhere")
    assert refused.value.code == "no_images"
    with pytest.raises(InputError, match="cannot be read: ValueError: Protocol not known") as bad:
        buckets.find("nobody://bucket")
    assert bad.value.code == "unreadable"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FileNotFoundError("bucket/a.png"), "missing"),
        (PermissionError("Forbidden"), "permission_denied"),
        (OSError("the connection was reset"), "unreadable"),
        (RuntimeError("of a package that fsspec uses"), "unreadable"),
    ],
)
def test_a_picture_that_cannot_be_fetched(
    error: Exception,
    code: str,
    model: Path,
    bucket: str,
    fsspec: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = buckets.find(bucket)[:1]

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(fsspec, "open", fails)
    (row,) = records(snn.load(model), found, buckets.read)
    assert not row["ok"] and json.loads(json.dumps(row))["error"]["code"] == code


def test_a_package_that_is_missing(fsspec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "url_to_fs", fails)
    with pytest.raises(DeviceError, match="^s3://bucket: Install s3fs to access S3") as refused:
        buckets.find("s3://bucket")
    assert refused.value.code == "missing_package"


def test_snn_infer_goes_on_with_rows_of_another_engine(
    snn_infer: Command, model: Path, photos: Path, tmp_path: Path
) -> None:
    shutil.rmtree(photos / "deep")
    whole = snn_infer("--format", "json", photos).out.splitlines(keepends=True)
    answers = tmp_path / "answers.jsonl"
    answers.write_bytes(b"".join(whole[:1]))
    results = Results(answers, "")
    found = results.without_done(iter(buckets.find(str(photos))))
    rows = records(snn.load(model), [source for source in found if source], buckets.read)
    results.file.writelines(json.dumps(row).encode() + b"\n" for row in rows)
    results.close()
    assert answers.read_bytes() == b"".join(whole[:-1])
    assert snn_infer("--resume", answers, photos).code == 4
