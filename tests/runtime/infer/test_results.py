"""A file of answers that is continued: nothing is done twice, nothing lost, nothing spoilt."""

import fcntl
import json
import os
import re
import resource
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from infer_command import RED, Command, colours, png, start

from snn_runtime.calibration import Calibration
from snn_runtime.errors import InputError
from snn_runtime.infer.results import Results
from snn_runtime.infer.sources import Source
from snn_runtime.model_file import write


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for n in range(40):
        (folder / f"{n:02}.png").write_bytes(png(("red", "lime", "blue")[n % 3]))
    return folder


MODEL = "0123456789abcdef"


def plain(path: Path) -> bytes:
    """The file, with answers that do not name their model."""
    return re.sub(rb', "model": "[0-9a-f]{16}"', b"", path.read_bytes())


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_is_done_is_not_done_again(snn_infer: Command, photos: Path, tmp_path: Path) -> None:
    whole = snn_infer("--format", "json", photos).out
    file = tmp_path / "answers.jsonl"
    outcome = snn_infer("--resume", file, photos)
    assert (outcome.code, outcome.out) == (0, b"") and plain(file) == whole
    (photos / "99.png").write_bytes(RED)
    (photos / "00.png").write_bytes(b"spoilt, and never read again")
    assert snn_infer("--resume", file, photos).code == 0
    records = lines(file)
    assert [os.path.basename(r["path"]) for r in records[40:-1]] == ["99.png"]
    assert records[-1]["summary"]["ok"] == 41 and sum("summary" in r for r in records) == 1


@pytest.mark.parametrize("kept", [0.0, 0.37, 0.5, 0.99])
def test_a_torn_line_is_written_again(
    kept: float, snn_infer: Command, photos: Path, tmp_path: Path
) -> None:
    file = tmp_path / "answers.jsonl"
    whole = snn_infer("--format", "json", photos).out
    file.write_bytes(whole[: int(kept * len(whole))])
    outcome = snn_infer("--resume", file, photos)
    assert outcome.code == 0 and plain(file) == whole


def test_wherever_a_file_is_torn(snn_infer: Command, photos: Path, tmp_path: Path) -> None:
    some = [photos / f"{n:02}.png" for n in range(4)]
    whole = snn_infer("--format", "json", *some).out
    file = tmp_path / "answers.jsonl"
    ends = [0]
    for line in whole.splitlines(keepends=True):
        ends.append(ends[-1] + len(line))
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        results = Results(file, MODEL)
        results.close()
        expected = max(end for end in ends[:-1] if end <= length)
        assert file.read_bytes() == whole[:expected]
        assert results.labelled == ends.index(expected)


def test_a_killed_run_goes_on(
    model: Path, snn_infer: Command, photos: Path, tmp_path: Path
) -> None:
    file = tmp_path / "answers.jsonl"
    words = ("--resume", file, photos, "--files-from", "-")  # which nobody writes
    process = start(model, *words, stdin=subprocess.PIPE)
    while not file.exists() or len(file.read_bytes().splitlines()) < 40:
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert snn_infer("--resume", file, photos).code == 0
    assert plain(file) == snn_infer("--format", "json", photos).out


def test_what_failed_is_tried_again(snn_infer: Command, tmp_path: Path) -> None:
    file, photo = tmp_path / "answers.jsonl", tmp_path / "a.png"
    photo.write_bytes(b"")
    assert snn_infer("--resume", file, photo).code == 3
    photo.write_bytes(RED)
    assert snn_infer("--resume", file, photo).code == 0
    first, second, end = lines(file)
    assert (first["ok"], second["ok"]) == (False, True)
    assert (end["summary"]["ok"], end["summary"]["failed"]) == (1, 0)


def test_a_name_that_comes_again_is_another_picture(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text('{"path": "a", "ok": true}\n' * 2)
    results = Results(file, MODEL)
    sources = [Source("a"), None, Source("b"), Source("a"), Source("a")]
    left = list(results.without_done(iter(sources)))
    results.close()
    assert left == [None, Source("b"), Source("a")] and results.labelled == 2


def test_standard_input_has_no_names_to_leave_out_by(
    snn_infer: Command, photos: Path, tmp_path: Path
) -> None:
    file = tmp_path / "answers.jsonl"
    for words in (["-"], [photos, "-"]):
        outcome = snn_infer("--resume", file, *words)
        assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, b"", 1)
        assert "--resume leaves out pictures by their names, and those of stand" in outcome.err
        assert "--format json - >> FILE [usage]" in outcome.err and not file.exists()


def test_another_model_is_refused(snn_infer: Command, photos: Path, tmp_path: Path) -> None:
    """Also one that only its calibration tells apart."""
    file, other = tmp_path / "answers.jsonl", tmp_path / "other.onnx"
    assert snn_infer("--resume", file, photos / "00.png").code == 0
    before = file.read_bytes()
    write(replace(colours(), calibration=Calibration(temperature=2.0)), other)
    outcome = snn_infer("--model", other, "--resume", file, photos)
    assert outcome.code == 3 and "the answer in line 1 is of model " in outcome.err
    assert outcome.err.count("\n") == 1 and "[other_model]" in outcome.err
    assert file.read_bytes() == before


def test_answers_that_name_no_model_are_warned_of(
    snn_infer: Command, photos: Path, tmp_path: Path
) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_bytes(snn_infer("--format", "json", photos / "00.png", photos / "01.png").out)
    outcome = snn_infer("--resume", file, photos)
    assert outcome.code == 0
    assert outcome.err == f"{file}: 2 answers do not say which model gave them\n"
    named = ["model" in line for line in lines(file)]
    assert named == [False, False, *[True] * 38, False]


def test_a_full_disk_is_named(snn_infer: Command, photos: Path, tmp_path: Path) -> None:
    """And what is there is gone on with."""
    file = tmp_path / "answers.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    heeded = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        outcome = snn_infer("--resume", file, photos)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, heeded)
    assert (outcome.code, outcome.err) == (
        7,
        f"snn-infer: error: {file}: File too large [resource]\n",
    )
    assert snn_infer("--resume", file, photos).code == 0
    assert plain(file) == snn_infer("--format", "json", photos).out


@pytest.mark.parametrize(
    "content",
    [
        *(
            RED,
            b"notes\n",
            b"notes",
            b'{"path": "a"}\n',
            b"[1]\n",
            b'["summary"]\n',
            b'"summary"\n',
        ),
        *(b'{"path": ["a"], "ok": true}\n', b'{"path": "a", "ok": 1}\n', b'{"path": "a", "n": [1'),
        b'{"title": "of Monday", "summary": "three cats came"}\n',
        b'{"summary": {"ok": 1, "failed": 0}, "title": "of Monday"}\n',
        *(b'{"summary": "three cats"}\n', b'{"summary": {"ok": true, "failed": 0}}\n'),
        *(b'{"summary": {"title": "of Mon', b'{"path": "a", "note": 1}', b"[" * 100_000 + b"\n"),
    ],
)
def test_no_other_file_is_spoilt(content: bytes, snn_infer: Command, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(InputError, match="line 1 is no answer"):
        Results(file, MODEL)
    outcome = snn_infer("--resume", file, tmp_path / "other.png")
    assert (outcome.code, outcome.err.count("\n")) == (3, 1) and "[bad_results]" in outcome.err
    assert file.read_bytes() == content


def test_files_that_cannot_be_continued(snn_infer: Command, tmp_path: Path) -> None:
    file, photo = tmp_path / "answers.jsonl", tmp_path / "a.png"
    photo.write_bytes(RED)
    with open(file, "wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        outcome = snn_infer("--resume", file, photo)
    assert outcome.code == 75 and "another process writes this file [locked]" in outcome.err
    for path in (tmp_path, tmp_path / "none" / "file"):
        outcome = snn_infer("--resume", path, photo)
        assert (outcome.code, outcome.err.count("\n")) == (7, 1)
    outcome = snn_infer("--resume", "/dev/full", photo)
    assert (outcome.code, outcome.err.count("\n")) == (7, 1)
