"""The command `snn-infer`, from its arguments to its answers."""

import base64
import csv
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_inputs import pictures
from bad_inputs.pictures import encoded, exif, picture
from infer_command import RED, Command, finish, png, start
from PIL import Image as Picture

from snn_runtime import model_file as onnx_file
from snn_runtime.cells import cell
from snn_runtime.errors import UsageError
from snn_runtime.image.behind import ANOTHER_FOLLOWS
from snn_runtime.image.jpeg import NO_END
from snn_runtime.image.picture import SEVERAL_FRAMES
from snn_runtime.infer import cli as infer
from snn_runtime.infer import labelling
from snn_runtime.proof import golden

# Arguments


def test_arguments() -> None:
    args = infer.parse_args(["--top-k", "2", "--", "-cat.jpg", "-"])
    assert args.inputs == ["-cat.jpg", "-"]
    assert (args.model, args.backend, args.threads, args.top_k) == (None, "auto", None, 2)
    assert (args.max_pixels, args.max_bytes) == (50_000_000, 64 * 2**20)


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["--top-k", "0", "a"],
        ["--threads", "many", "a"],
        ["--max-pixels", "999999999", "a"],
        ["--format", "xml", "a"],
        ["--form", "json", "a"],
        ["", "a"],
        ["--annotate=", "a"],
    ],
)
def test_usage_errors_are_one_line_and_code_2(argv: Sequence[str], snn_infer: Command) -> None:
    with pytest.raises(UsageError):
        infer.parse_args(argv)
    outcome = snn_infer(*argv)
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1


def test_a_network_in_the_place_of_a_picture(model: Path) -> None:
    """The bundled network would label the pictures beside it."""
    with pytest.raises(UsageError, match=f"{model} is a network: --model {model}"):
        infer.run(infer.parse_args([str(model), "cat.jpg"]))
    assert infer.run(infer.parse_args(["--model", str(model), str(model)])) == 3
    assert infer.run(infer.parse_args(["gone.onnx"])) == 3


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        infer.parse_args([flag])
    assert caught.value.code in (0, None)
    said = capsys.readouterr().out
    assert "snn-infer" in said
    assert flag == "--version" or "exit codes" in said


# Forms of output


def test_text(snn_infer: Command, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(RED)
    (tmp_path / "b.png").write_bytes(png("black"))
    outcome = snn_infer("--backend", "onnxruntime", "--threads", "1", tmp_path)
    assert outcome.code == 0
    assert outcome.err == "snn-infer: 2 labelled (onnxruntime, integer, 1 thread)\n"
    assert outcome.out.decode().splitlines() == [
        f"{tmp_path}/a.png: red 96.5%",
        f"{tmp_path}/b.png: unsure: red 33.3%, green 33.3%, blue 33.3%",
    ]
    assert b"a.png: red 96.5%, green 1.8%\n" in snn_infer("--top-k", "2", tmp_path).out


def test_json(snn_infer: Command, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png("blue"))
    (tmp_path / "b.png").write_bytes(b"")
    outcome = snn_infer("--format", "json", "--top-k", "1", tmp_path)
    assert outcome.code == 4
    good, bad = outcome.records
    assert good == {
        "path": f"{tmp_path}/a.png",
        "ok": True,
        "predictions": [
            {
                "label": "blue",
                "index": 2,
                "logit": 4.0,
                "probability": pytest.approx(0.96466, rel=1e-4),
            }
        ],
        "unsure": False,
        "unfamiliar": False,
        "warnings": [],
    }
    assert bad == {
        "path": f"{tmp_path}/b.png",
        "ok": False,
        "error": {"code": "empty_file", "message": "is empty, 0 bytes"},
    }
    assert "b.png: is empty, 0 bytes [empty_file]\n" in outcome.err
    summary = json.loads(outcome.out.splitlines()[-1])["summary"]
    assert {name: summary[name] for name in ("ok", "failed", "skipped")} == {
        "ok": 1,
        "failed": 1,
        "skipped": 0,
    }
    assert summary["engine"].endswith(" threads") or summary["engine"].endswith(" 1 thread")
    assert f" ({summary['engine']})\n" in outcome.err


def test_csv(snn_infer: Command, tmp_path: Path) -> None:
    odd = tmp_path / 'red, "green"\nand blue.png'
    odd.write_bytes(png("lime"))
    outcome = snn_infer("--format", "csv", "--top-k", "2", odd)
    rows = list(csv.DictReader(io.StringIO(outcome.out.decode(), newline="")))
    assert [(row["path"], row["rank"], row["label"]) for row in rows] == [
        (cell(str(odd)), "1", "green"),
        (cell(str(odd)), "2", "red"),
    ]


def test_csv_has_the_failed_files_and_obeys_none(
    snn_infer: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "=1+1\x1b[2J.png").write_bytes(b"")
    (tmp_path / "red.png").write_bytes(RED)
    monkeypatch.chdir(tmp_path)
    outcome = snn_infer("--format", "csv", "--top-k", "1", "=1+1\x1b[2J.png", "red.png")
    assert outcome.code == 4 and b"\x1b" not in outcome.out
    failed, labelled = csv.DictReader(io.StringIO(outcome.out.decode(), newline=""))
    assert failed["path"] == "'=1+1\\x1b[2J.png" and failed["label"] == failed["rank"] == ""
    assert (failed["error"], failed["message"]) == ("empty_file", "is empty, 0 bytes")
    assert (labelled["label"], labelled["error"], labelled["message"]) == ("red", "", "")


def test_an_answer_does_not_depend_on_the_company(snn_infer: Command, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for n in range(40):
        # Large ones are decoded by other threads, and must come back in their place.
        height, width = (120, 95) if n % 3 == 1 else (12, 9)
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        data = encoded(Picture.fromarray(pixels), "PNG")
        assert (len(data) >= labelling.LARGE) == (n % 3 == 1)
        (tmp_path / f"{n:02}.png").write_bytes(data)
    together = snn_infer("--format", "json", tmp_path).records
    assert [record["path"] for record in together] == sorted(map(str, tmp_path.iterdir()))
    for record in together[::4]:
        assert snn_infer("--format", "json", record["path"]).records == [record]


# A1 to A27 as the command meets them: one bad file among good ones

BAD: dict[str, tuple[bytes, str]] = {
    "A3 empty": (b"", "empty_file"),
    "A4 one byte": (b"\xff", "not_an_image"),
    "A5 HTML": (pictures.NOT_PICTURES["html"], "not_an_image"),
    "A7 half a JPEG": (encoded(picture(), "JPEG")[:500], "truncated"),
    "A9 half a PNG": (encoded(picture(), "PNG")[:90], "truncated"),
    "A11 huge": (pictures.claims(100_000, 100_000), "too_many_pixels"),
    "A12 large": (pictures.one_bit(13_000), "too_many_pixels"),
    "A14 text bomb": (pictures.text_bomb(), "corrupt"),
    "A15 one pixel": (png("red", 1), "bad_dimensions"),
    "A19 float": (encoded(Picture.new("F", (32, 24)), "TIFF"), "unsupported_mode"),
    "A24 HEIC": (pictures.UNSUPPORTED["HEIC"], "unsupported_format"),
    "A25 zip": (pictures.NOT_PICTURES["zip"], "not_an_image"),
}


@pytest.mark.parametrize("row", BAD)
def test_one_bad_picture_among_good_ones(row: str, snn_infer: Command, tmp_path: Path) -> None:
    data, code = BAD[row]
    for name, content in [("a.png", RED), ("bad.jpg", data), ("c.png", png("lime"))]:
        (tmp_path / name).write_bytes(content)
    outcome = snn_infer("--format", "json", tmp_path)
    assert outcome.code == 4
    assert outcome.codes == {"bad.jpg": code}
    assert [r["predictions"][0]["label"] for r in outcome.records if r["ok"]] == ["red", "green"]
    assert outcome.err.count("\n") == 2  # the error and the count
    assert snn_infer(tmp_path / "bad.jpg").code == 3


def test_nothing_there(snn_infer: Command, tmp_path: Path) -> None:
    assert snn_infer("--format", "json", tmp_path / "cat.jpg").codes == {"cat.jpg": "missing"}
    (tmp_path / "notes.txt").write_text("no picture")
    outcome = snn_infer(tmp_path)
    assert outcome.code == 3
    assert "no supported images" in outcome.err


def test_the_format_goes_by_content(snn_infer: Command, tmp_path: Path) -> None:
    (tmp_path / "png.jpg").write_bytes(RED)
    assert snn_infer(tmp_path).out.endswith(b"png.jpg: red 96.5%\n")


@pytest.mark.parametrize(
    ("data", "warning"),
    [
        (encoded(picture(), "JPEG")[:-2], NO_END),
        (pictures.frames("GIF"), SEVERAL_FRAMES),
        (encoded(picture(), "PNG", exif=exif(99)), "EXIF"),
    ],
)
def test_warnings_and_strict(data: bytes, warning: str, snn_infer: Command, tmp_path: Path) -> None:
    path = tmp_path / "odd.img"
    path.write_bytes(data)
    outcome = snn_infer("--format", "json", path)
    assert outcome.code == 0
    assert warning in outcome.records[0]["warnings"][0]
    assert warning in outcome.err
    strict = snn_infer("--format", "json", "--strict", path)
    assert strict.code == 3
    assert strict.codes == {"odd.img": "strict"}


def test_limits(snn_infer: Command, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(RED)
    assert "limit is 64 (--max" not in snn_infer("--max-pixels", "64", tmp_path).err
    (tmp_path / "a.png").write_bytes(png("red", 9))
    assert "the limit is 64 (--max-pixels)" in snn_infer("--max-pixels", "64", tmp_path).err
    assert "the limit is 50 (--max-bytes)" in snn_infer("--max-bytes", "50", tmp_path).err


def test_pipes_and_sockets_do_not_hang(model: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "c.png").write_bytes(RED)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "b.jpg"))
        process = start(model, "--format", "json", tmp_path, "/dev/zero", stdout=subprocess.PIPE)
        outcome = finish(process)
    assert outcome.code == 4
    assert outcome.codes == dict.fromkeys(["a.jpg", "b.jpg", "zero"], "not_a_regular_file")


def test_standard_input(
    snn_infer: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(png("blue"))
    (tmp_path / "piped").write_bytes(RED)
    with open(tmp_path / "piped") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        outcome = snn_infer("--format", "json", tmp_path / "a.png", "-", tmp_path / "a.png")
    assert [record["predictions"][0]["label"] for record in outcome.records] == [
        "blue",
        "red",
        "blue",
    ]
    assert outcome.records[1]["path"] == "-"


# A28, A31: files that cannot be read, or change meanwhile


@pytest.fixture
def on_open(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[Path], None]], None]:
    """Do something to a file just before it is opened."""
    real = os.open

    def install(name: str, act: Callable[[Path], None]) -> None:
        def opening(path: Any, *rest: Any, **named: Any) -> int:
            if str(path).endswith(name):
                act(Path(path))
            return real(path, *rest, **named)

        monkeypatch.setattr(os, "open", opening)

    return install


def deny(path: Path) -> None:
    raise PermissionError(13, "Permission denied")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (deny, "permission_denied"),
        (Path.unlink, "missing"),
        (cut, "truncated"),
        (become_folder, "not_a_regular_file"),
    ],
)
def test_files_that_change(
    act: Callable[[Path], None],
    code: str,
    on_open: Callable[[str, Callable[[Path], None]], None],
    snn_infer: Command,
    tmp_path: Path,
) -> None:
    for name in "abcd":
        (tmp_path / f"{name}.png").write_bytes(RED)
    on_open("c.png", act)
    outcome = snn_infer("--format", "json", tmp_path)
    assert outcome.code == 4
    assert outcome.codes == {"c.png": code}


@contextmanager
def unprivileged() -> Iterator[None]:
    """Be nobody for a while: no mode of a file stops root."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_unreadable_files_and_folders(
    model: Path, snn_infer: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # nobody may not come here from the root
    tmp_path.chmod(0o755)
    shutil.copy(model, "model")
    for name in ("a.png", "b.png"):
        Path(name).write_bytes(RED)
    Path("b.png").chmod(0)
    Path("secret").mkdir(mode=0)
    snn_infer("a.png")  # import now what nobody may not read
    Path("shut").mkdir(mode=0o555)
    with unprivileged():
        outcome = snn_infer("--model", "model", "--format", "json", ".")
        watched = snn_infer("--model", "model", "--watch", "secret")
        kept = [
            snn_infer("--model", "model", flag, f"shut{name}", "a.png")
            for flag, name in (("--explain", ""), ("--annotate", ""), ("--annotate", "/a.jpg"))
        ]
    Path("secret").chmod(0o700)
    assert (watched.code, watched.err.count("\n")) == (3, 1) and "secret: permission" in watched.err
    for each in kept:
        assert (each.code, each.out, each.err.count("\n")) == (7, b"", 1)
    assert outcome.code == 4
    assert outcome.codes == dict.fromkeys(["b.png", "secret"], "permission_denied")


# A29: names

NAMES = [
    b"caf\xe9.png",
    b"two\nlines.png",
    b"\xe2\x80\xaegnp.png",
    b"-rf.png",
    b"a b\t.png",
    b"[ab]*?.png",
    b"%s{0}$HOME.png",
    "é.png".encode(),
    "e\u0301.png".encode(),
    b"x" * 251 + b".png",
]


def test_odd_names_are_read_and_come_back_unchanged(snn_infer: Command, tmp_path: Path) -> None:
    for name in NAMES:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(RED)
    outcome = snn_infer("--format", "json", tmp_path)
    assert outcome.code == 0
    records = outcome.records
    assert {os.path.basename(os.fsencode(r["path"])) for r in records} == set(NAMES)
    (raw,) = [r for r in records if "path_b64" in r]
    assert base64.b64decode(raw["path_b64"]).endswith(b"caf\xe9.png")
    rows = csv.reader(
        io.StringIO(
            snn_infer("--format", "csv", "--top-k", "1", tmp_path).out.decode(
                errors="surrogateescape"
            ),
            newline="",
        )
    )
    cells = {os.fsencode(str(cell(os.fsdecode(name)))) for name in NAMES if name != b"-rf.png"}
    # A path is not its last part: no apostrophe stands in front of a name that is one of a folder.
    assert {os.path.basename(os.fsencode(row[0])) for row in rows} == {b"path", b"-rf.png", *cells}
    text = snn_infer(tmp_path).out
    assert text.count(b"\n") == len(NAMES)
    assert "\u202e" not in text.decode()


def test_names_on_the_command_line(
    snn_infer: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-cat.png", "[ab].png"):
        Path(name).write_bytes(RED)
    assert snn_infer("--", "-cat.png", "[ab].png").code == 0


# A30: links


def test_links(snn_infer: Command, tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    outside.mkdir()
    for path in (outside / "far.png", root / "sub" / "near.png"):
        path.write_bytes(RED)
    (root / "parent").symlink_to(root)
    (root / "sub" / "up").symlink_to("..")
    (root / "inside.png").symlink_to("sub/near.png")
    (root / "gone.png").symlink_to("nowhere.png")
    (root / "loop.png").symlink_to("loop.png")
    (root / "away.png").symlink_to(outside / "far.png")
    (root / "folder").symlink_to(outside)
    outcome = snn_infer("--format", "json", root)
    assert outcome.code == 4
    assert outcome.codes == {"gone.png": "missing", "loop.png": "missing"}
    names = [os.path.relpath(r["path"], root) for r in outcome.records if r["ok"]]
    assert names == ["inside.png", "sub/near.png"]
    assert outcome.err.count("leads outside the folder (--follow), skipped") == 2
    assert b'"skipped": 2' in outcome.out

    followed = snn_infer("--format", "json", "--follow", root)
    names = [os.path.relpath(r["path"], root) for r in followed.records if r["ok"]]
    assert names == ["away.png", "folder/far.png", "inside.png", "sub/near.png"]
    strict = snn_infer("--format", "json", "--strict", root)
    assert strict.codes.keys() == {"gone.png", "loop.png", "away.png", "folder"}


def test_what_is_passed_over_is_counted(snn_infer: Command, tmp_path: Path) -> None:
    (tmp_path / "@eaDir").mkdir()
    for name in ("a.png", ".hidden.png", "Thumbs.db", "@eaDir/a.png", "notes.txt"):
        (tmp_path / name).write_bytes(RED)
    outcome = snn_infer("--format", "json", tmp_path)
    assert outcome.code == 0 and len(outcome.records) == 1
    expected = {"hidden": 1, "left by a system": 2, "without an image suffix": 1}
    assert json.loads(outcome.out.splitlines()[-1])["summary"]["passed_over"] == expected
    said = "1 hidden (.hidden.png), 2 left by a system (@eaDir, …), 1 without an image suffix ("
    assert f"snn-infer: passed over: {said}" in outcome.err


@pytest.mark.parametrize("form", ["text", "json", "csv"])
def test_what_failed_among_many_is_told_at_the_end(
    snn_infer: Command, tmp_path: Path, form: str
) -> None:
    few, many = tmp_path / "few", tmp_path / "many"
    for folder, count in ((few, 1), (many, 20)):
        folder.mkdir()
        for name in ("bad.png", "worse.png"):
            (folder / name).write_bytes(b"no picture")
        for number in range(count):
            (folder / f"{number}.png").write_bytes(RED)
    outcome = snn_infer("--format", form, many, tmp_path / "gone.png")
    listed = "" if form != "text" else "; --format csv or json lists them"
    said = f"failed: 2 not_an_image ({many}/bad.png, …), 1 missing ({tmp_path}/gone.png){listed}"
    before_last, last = outcome.err.splitlines()[-2:]
    assert before_last == f"snn-infer: {said}" and "20 labelled, 3 failed (" in last
    assert "failed: " not in snn_infer("--format", form, few).err  # its lines are still seen


# A32, A33: many


def test_a_folder_of_a_thousand_with_two_bad_ones(snn_infer: Command, tmp_path: Path) -> None:
    for n in range(1000):
        (tmp_path / f"{n:04}.png").write_bytes(b"" if n in (3, 700) else RED)
    outcome = snn_infer("--format", "json", tmp_path)
    assert outcome.code == 4
    assert len(outcome.records) == 1000
    assert outcome.codes == dict.fromkeys(["0003.png", "0700.png"], "empty_file")
    assert outcome.err.splitlines()[-1].startswith("snn-infer: 998 labelled, 2 failed (")


def test_the_first_answer_comes_before_the_last_picture_is_read(
    model: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(RED)
    process = start(model, tmp_path / "a.png", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().endswith(b"a.png: red 96.5%\n")
    assert finish(process, RED).out == b"-: red 96.5%\n"


# A34: a hostile environment


def test_an_interrupt_ends_a_read_from_standard_input(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(RED)
    process = start(
        model, tmp_path / "a.png", "-", tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=5) == 130
    assert finish(process).err == "snn-infer: interrupted\n"


def test_an_interrupt_does_not_wait_for_the_decoder(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(RED)
    program = """
import hashlib, sys
from snn_runtime.infer import cli as infer, labelling
def decode(*_, **__):
    print("decoding", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # a call of C that takes many minutes
labelling.fitted = decode
sys.exit(infer.main())"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, "--model", model, tmp_path / "a.png"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"decoding\n"
    process.send_signal(signal.SIGINT)
    try:
        assert process.wait(timeout=20) == 130
    finally:
        process.kill()
    assert finish(process).err == "snn-infer: interrupted\n"


def test_a_second_png_on_standard_input_is_warned_of(model: Path) -> None:
    data = encoded(picture(), "PNG")
    for strict, code in (((), 0), (("--strict",), 3)):
        process = start(model, "-", *strict, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        outcome = finish(process, data + data)
        assert outcome.code == code
        assert ANOTHER_FOLLOWS in outcome.err
    process = start(model, "-", "--strict", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert finish(process, data).code == 0


@pytest.mark.parametrize("form", ["text", "json", "csv"])
def test_the_c_locale(form: str, model: Path, tmp_path: Path) -> None:
    for name in NAMES:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(RED)
    (tmp_path / "bad é.png").write_bytes(b"")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "TMPDIR": str(temporary)}
    environment["HOME"] = str(temporary)  # nothing may be left behind there either
    process = start(model, "--format", form, tmp_path, stdout=subprocess.PIPE, env=environment)
    outcome = finish(process)
    assert outcome.code == 4
    assert len(outcome.err.splitlines()) == 2
    assert list(temporary.iterdir()) == []


def test_a_closed_standard_output(model: Path, tmp_path: Path) -> None:
    for n in range(100):
        (tmp_path / f"{n}.png").write_bytes(RED)
    reading, writing = os.pipe()
    os.close(reading)
    process = start(model, "--format", "json", tmp_path, stdout=writing)
    os.close(writing)
    outcome = finish(process)
    assert outcome.code == 141
    assert outcome.err == ""


def test_a_full_disk(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(RED)
    with open("/dev/full", "wb") as full:
        outcome = finish(start(model, tmp_path, stdout=full))
    assert outcome.code == 7
    assert outcome.err == "snn-infer: error: standard output: No space left on device [resource]\n"


# Models


def test_self_test(snn_infer: Command, tmp_path: Path) -> None:
    outcome = snn_infer("--self-test", "--backend", "onnxruntime", "--threads", "2")
    assert (outcome.code, outcome.out) == (0, b"")
    assert outcome.err == "snn-infer: self-test passed (onnxruntime, integer, 2 threads)\n"
    (tmp_path / "a.png").write_bytes(RED)
    assert b"red" in snn_infer("--self-test", tmp_path).out


def test_an_engine_that_has_not_proved_itself_is_said(
    snn_infer: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(RED)
    (tmp_path / "b.png").write_bytes(b"")

    def ends(*arguments: str) -> tuple[str, str]:
        outcome = snn_infer("--format", "json", *arguments, tmp_path)
        summary = json.loads(outcome.out.splitlines()[-1])["summary"]
        return summary["self_test"], outcome.err.splitlines()[-1]

    proved, line = ends()
    assert proved == "passed" and "self-tested" not in line
    monkeypatch.setattr(golden, "CHEAP", 0)
    proved, line = ends()
    assert proved == "not run" and line.endswith("; not self-tested, see --self-test)")
    assert ends("--self-test")[0] == "passed"


def test_a_false_golden_hash_is_not_answered(
    model: Path, snn_infer: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(RED)
    false = tmp_path / "false.onnx"
    false.write_bytes(onnx_file.to_bytes(onnx_file.read(model), golden="0" * 64))
    outcome = snn_infer("--model", false, tmp_path / "a.png")
    assert (outcome.code, outcome.out) == (9, b"")
    assert outcome.err.startswith("snn-infer: error: the golden hash in the file belongs to other")
    assert outcome.err.endswith("export it again [golden_hash]\n")
    monkeypatch.setattr(golden, "CHEAP", 0)
    assert snn_infer("--model", false, tmp_path / "a.png").code == 0  # and it says so, see above
    assert snn_infer("--model", false, "--self-test", tmp_path / "a.png").code == 9


def test_bad_models_and_backends(snn_infer: Command, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(RED)
    # The last of two --model flags counts.
    for model_path, code in [(tmp_path / "none.onnx", 5), (tmp_path / "a.png", 5)]:
        outcome = snn_infer("--model", model_path, tmp_path)
        assert outcome.code == code
        assert outcome.err.count("\n") == 1
    assert snn_infer("--backend", "abacus", tmp_path).code == 2
