"""Every program in examples/ runs, and does what its first lines say."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch.distributed.run import get_args_parser

import snn_runtime
from snn_train.flags import parse_args as train_args

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PHOTOS = ROOT / "runtime" / "photos"
COMMANDS = {
    "train-snn": "snn_train.cli",
    "export-snn": "snn_export.cli",
    "snn-infer": "snn_runtime.infer.cli",
    "snn-doctor": "snn_runtime.doctor.cli",
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder, beside which the commands lie that an installation has."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, module in COMMANDS.items():
        (folder / name).write_text(
            f'#!{sys.executable}\nimport sys\nsys.argv[0] = "{name}"\n'
            f"from {module} import main\nsys.exit(main())\n"
        )
        (folder / name).chmod(0o755)
    (folder / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (folder / "python3").chmod(0o755)
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def started(place: Path, name: str, *arguments: object) -> subprocess.Popen[bytes]:
    program = [sys.executable] if name.endswith(".py") else ["/bin/sh"]
    paths = os.pathsep.join(str(ROOT / part) for part in ("train", "export", "runtime"))
    return subprocess.Popen(
        [*program, str(EXAMPLES / name), *map(str, arguments)],
        cwd=place,
        env={**os.environ, "PATH": f"{place.parent / 'bin'}:/usr/bin:/bin", "PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def example(place: Path, name: str, *arguments: object, given: bytes = b"", code: int = 0) -> str:
    """Run an example in the folder; return what it prints."""
    process = started(place, name, *arguments)
    out, err = process.communicate(given, timeout=300)
    assert process.returncode == code, err.decode()
    return out.decode()


def test_all_of_them_are_tried() -> None:
    tried = set(re.findall(r'example\(place, "([\w.]+)"', Path(__file__).read_text()))
    programs = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")}
    assert tried == programs


def test_frames_of_a_camera(place: Path) -> None:
    frames = [np.asarray(Image.open(PHOTOS / f"{name}.jpg").convert("RGB").resize((320, 240)))
              for name in ("cat", "cat", "dog")]  # fmt: skip
    film = b"".join(np.ascontiguousarray(frame[..., ::-1]).tobytes() for frame in frames)
    said = example(place, "camera.py", 320, 240, given=film + b"half a frame").splitlines()
    assert [line.split()[:3] for line in said] == [["frame", "0:", "cat"], ["frame", "2:", "dog"]]
    shutil.copyfile(Path(snn_runtime.__path__[0]) / "models" / "default.onnx", place / "mine.onnx")
    again = example(place, "camera.py", 320, 240, place / "mine.onnx", given=film)
    assert again.splitlines() == said


def test_a_folder_to_a_table(place: Path) -> None:
    shutil.copytree(PHOTOS, place / "photos", ignore=shutil.ignore_patterns("*.md"))
    (place / "photos" / "broken.jpg").write_bytes(b"no picture")
    example(place, "folder_to_csv.py", "photos", "answers.csv")
    with (place / "answers.csv").open(newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert rows["cat.jpg"]["label"] == "cat" and len(rows) == 4
    assert rows["broken.jpg"]["label"] == "" and rows["broken.jpg"]["remarks"] == "not_an_image"


def test_a_batch_job(place: Path) -> None:
    incoming = place / "incoming"
    incoming.mkdir()
    shutil.copy(PHOTOS / "cat.jpg", incoming)
    (incoming / "a broken one.jpg").write_bytes(b"no picture")
    example(place, "batch_job.sh", "incoming", "answers.jsonl", "refused")
    records = [json.loads(line) for line in (place / "answers.jsonl").read_text().splitlines()]
    assert [record.get("ok") for record in records] == [False, True, None]
    assert os.listdir(incoming) == ["cat.jpg"]
    assert os.listdir(place / "refused") == ["a broken one.jpg"]
    shutil.rmtree(incoming)
    example(place, "batch_job.sh", "incoming", "answers.jsonl", "refused")  # nothing there: 3


def test_a_batch_job_on_a_machine_that_cannot(place: Path) -> None:
    """Nothing is moved where the pictures are not to blame."""
    (place / "incoming").mkdir()
    (place / "incoming" / "a.jpg").write_bytes(b"no picture")
    (place.parent / "bin" / "snn-infer").write_text("#!/bin/sh\nexit 6\n")
    example(place, "batch_job.sh", "incoming", "answers.jsonl", "refused", code=6)
    assert os.listdir(place / "incoming") == ["a.jpg"] and os.listdir(place) == ["incoming"]


def test_digits(place: Path) -> None:
    flags = "--width 0.1 --timesteps 1 --epochs 1 --largest-drop 1 --threads 1".split()
    said = example(place, "digits.sh", *flags)
    assert "\nproven: checker passed" in said
    assert re.search(r"^a-0\.png: (unsure: )?\d \d", said, re.MULTILINE)


def test_a_network_of_snntorch(place: Path) -> None:
    said = example(place, "import_snntorch.py", 2)
    assert "against snntorch itself" in said
    (right,) = re.findall(r"^([\d.]+)% of 397 scans that it never saw$", said, re.MULTILINE)
    assert float(right) > 60


# Engines that share the work among machines. They are large, so `make test` brings none of them;
# tests/runtime/infer/test_records.py has what makes their rows.

ray = pytest.mark.skipif(not find_spec("ray"), reason="Ray is not here: pip install 'ray[data]'")
spark = pytest.mark.skipif(
    not (find_spec("pyspark") and shutil.which("java")),
    reason="Spark is not here: pip install 'pyspark[sql]', and Java 17",
)


@pytest.fixture
def many(place: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """300 pictures in the folder `many`, some of them damaged; what snn-infer says of them."""
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "--master local[2,4] pyspark-shell")
    (place / "many").mkdir()
    for n in range(297):
        shutil.copy(
            PHOTOS / f"{('cat', 'dog', 'moose')[n % 3]}.jpg", place / "many" / f"{n:03}.jpg"
        )
    (place / "many" / "empty.jpg").write_bytes(b"")
    (place / "many" / "half.jpg").write_bytes((PHOTOS / "cat.jpg").read_bytes()[:999])
    (place / "many" / os.fsdecode(b"\xff.jpg")).write_bytes(b"no picture")
    (place / "many" / "notes.txt").write_text("of no picture's name")
    command = [str(place.parent / "bin" / "snn-infer"), "--format", "json", str(place / "many")]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 4
    return by_path(map(json.loads, done.stdout.splitlines()[:-1]))


def by_path(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: str(row.get("path_b64") or row["path"]))


def lines(place: Path) -> list[dict[str, Any]]:
    """The rows, without the model that each answer names."""
    rows = list(map(json.loads, (place / "answers.jsonl").read_text().splitlines()))
    assert len({row.pop("model") for row in rows if row["ok"]}) == 1
    return by_path(rows)


def parquet(place: Path) -> list[dict[str, Any]]:
    """The rows, as JSON would have them: no keys without values."""
    from pyarrow.parquet import read_table

    rows = read_table(place / "answers").to_pylist()
    return by_path({key: v for key, v in row.items() if v is not None} for row in rows)


def utf_8(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As Parquet can hold them."""
    return [{**row, "path": row["path"].replace("\udcff", "?")} for row in rows]


def below(process: int) -> dict[int, str]:
    """All processes that it has started, and those have; each with its command line."""
    parents, commands = dict[int, int](), dict[int, str]()
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            pid = int(path.name)
            parents[pid] = int(
                (path / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
            )
            commands[pid] = (path / "cmdline").read_text(errors="replace").replace("\0", " ")
    family = {process}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return {pid: commands.get(pid, "") for pid in family - {process}}


def kill_a_worker(process: subprocess.Popen[bytes], command: str, begun: Path) -> None:
    """Kill a worker of an engine, once there is something in a file."""
    while process.poll() is None:
        workers = [pid for pid, line in below(process.pid).items() if command in line]
        if workers and begun.exists() and begun.stat().st_size:
            os.kill(max(workers), signal.SIGKILL)
            return
        time.sleep(0.01)
    raise AssertionError(f"it ended before {command} was seen")


@ray
def test_ray(place: Path, many: list[dict[str, Any]]) -> None:
    example(place, "ray_label.py", "many", "answers.jsonl", code=4)
    assert lines(place) == many
    whole = (place / "answers.jsonl").read_bytes()
    (place / "answers.jsonl").write_bytes(whole[: len(whole) // 2])  # torn in a line, most likely
    example(place, "ray_label.py", "many", "answers.jsonl", "--workers", 2, code=4)
    done = [row for row in lines(place) if row["ok"]]
    assert done == [row for row in many if row["ok"]]


@ray
def test_ray_loses_a_worker(place: Path, many: list[dict[str, Any]]) -> None:
    answers = place / "answers.jsonl"
    process = started(place, "ray_label.py", "many", "answers.jsonl", "--batch", 1)
    kill_a_worker(process, "ray::MapWorker", answers)
    killed = len(answers.read_bytes().splitlines())
    assert process.communicate(timeout=300) and process.returncode == 4
    assert 0 < killed < len(many) and lines(place) == many


@spark
def test_spark(place: Path, many: list[dict[str, Any]]) -> None:
    half = place / "half"
    (place / "many").rename(half)
    (place / "many").mkdir()
    for path in sorted(half.iterdir())[::2]:
        path.rename(place / "many" / path.name)
    example(place, "spark_label.py", "many", "answers", "--slice", 100, code=4)
    assert 0 < len(parquet(place)) < len(many)
    for path in half.iterdir():
        path.rename(place / "many" / path.name)
    example(place, "spark_label.py", "many", "answers", code=4)
    assert parquet(place) == utf_8(many)


@spark
def test_spark_loses_a_worker(place: Path, many: list[dict[str, Any]]) -> None:
    process = started(place, "spark_label.py", "many", "answers")
    kill_a_worker(process, "pyspark.daemon", place / "many" / "000.jpg")
    assert process.communicate(timeout=300) and process.returncode == 4
    assert parquet(place) == utf_8(many)


def command(place: Path, name: str, script: str) -> None:
    """Put a command beside those that an installation has."""
    (place.parent / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
    (place.parent / "bin" / name).chmod(0o755)


def test_training_on_a_cluster(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each machine gets the same words, which torchrun and train-snn understand."""
    command(place, "scontrol", '[ "$*" = "show hostnames n[7-8]" ] && echo n7 && echo n8')
    command(place, "srun", 'for machine in 1 2; do "$@" || exit; done')
    command(
        place, "torchrun", 'test "$TORCH_DISABLE_SHARE_RDZV_TCP_STORE" = 1 && echo "$@" >> started'
    )
    for name, value in {"NODELIST": "n[7-8]", "NUM_NODES": "2", "ID": "4711"}.items():
        monkeypatch.setenv(f"SLURM_JOB_{name}", value)
    flags = ["--data", "digits", "--out", "runs/night"]
    example(place, "slurm_train.sh", *flags)
    first, second = (line.split() for line in (place / "started").read_text().splitlines())
    assert first == second
    asked = get_args_parser().parse_args(first)
    assert (asked.nnodes, asked.nproc_per_node, asked.max_restarts) == ("2", "1", 3)
    assert (asked.rdzv_backend, asked.rdzv_endpoint, asked.rdzv_id) == ("c10d", "n7:29400", "4711")
    assert asked.no_python and asked.training_script == "train-snn"
    assert asked.training_script_args == flags
    assert train_args(flags).out == Path("runs/night")


SSH = """
[ "$1 $2 $3 $4 $5" = "-o BatchMode=yes -o ConnectTimeout=10 --" ] || exit 9
case $6 in
  good) sh -c "$7" | tee good.json ;;
  down) echo "ssh: connect to host down port 22: No route to host" >&2; exit 255 ;;
  confused) echo hello ;;
  torn) head -c 900 good.json ;;
  loud) yes ;;
  silent) sleep 600 ;;
esac
"""


def states(table: str) -> dict[str, str]:
    """The last column of a table, by the first."""
    head, *lines, _ = table.splitlines()
    start = head.index("state")
    return {line.split()[0]: line[start:] for line in lines}


def test_a_fleet_over_ssh(place: Path) -> None:
    """Each board is a line, whatever it answers; the one that is well ran the real command."""
    command(place, "ssh", SSH)
    table = example(place, "fleet.py", "good")
    report = json.loads((place / "good.json").read_text())
    golden, milliseconds = report["model"]["golden"], report["fastest"]["milliseconds"]
    engine = next(e for e in report["engines"] if e["flags"] == report["fastest"]["flags"])
    line = f"good {engine['backend']}, {engine['details']} {golden[:12]} {milliseconds:.3g} well"
    assert table.splitlines()[1].split() == line.split()
    boards = ("down", "confused", "torn", "loud", "nobody")
    said = example(place, "fleet.py", *boards, code=1)
    nonsense = "this is no report of snn-doctor"
    assert states(said) == {
        "down": "no answer: ssh: connect to host down port 22: No route to host",
        "confused": nonsense,
        "torn": nonsense,
        "loud": nonsense,
        "nobody": "no answer: it printed nothing",
    }
    assert said.endswith("\n0 of 5 are well\n")
    silent = example(place, "fleet.py", "silent", "--timeout", 0.2, code=1)
    assert states(silent) == {"silent": "no answer in 0.2 s"}


def test_a_fleet_that_drops_its_reports(place: Path) -> None:
    now = datetime.now(timezone.utc)
    engine = {"backend": "event", "details": "neon, 4 threads", "flags": "--backend event",
              "self_test": "passed"}  # fmt: skip
    good: dict[str, Any] = {
        "date": now.isoformat(timespec="seconds"),
        "model": {"golden": "ab" * 32},
        "engines": [engine],
        "fastest": {"flags": "--backend event", "milliseconds": 1.25},
        "exit_code": 0,
    }
    dropped = {
        "good": good,
        "lies": good
        | {"engines": [engine | {"self_test": "failed"}], "fastest": None, "exit_code": 9},
        "bare": good | {"engines": [], "fastest": None, "exit_code": 6},
        "other": good | {"model": {"golden": "cd" * 32}},
        "old": good | {"date": "2026-01-02T03:04:05+00:00"},
        "rude": good | {"engines": [engine | {"details": "\x1b[2J\nwell"}]},
        "list": [good],
        "deep": None,
    }
    (place / "reports").mkdir()
    for name, report in dropped.items():
        text = "[" * 10**5 if name == "deep" else json.dumps(report)
        (place / "reports" / f"{name}.json").write_text(text)
    (place / "reports" / "folder.json").mkdir()
    (place / "reports" / "gone.json").symlink_to("nowhere")
    os.mkfifo(place / "reports" / "queue.json")
    said = example(place, "fleet.py", "reports", "--golden", "abab", code=1)
    assert states(said) == {
        "bare": "no engine works",
        "deep": "this is no report of snn-doctor",
        "folder": "no file",
        "gone": "no file",
        "good": "well",
        "lies": "self-test failed: --backend event; no engine works",
        "list": "this is no report of snn-doctor",
        "old": "of 2026-01-02 03:04",
        "other": "another network",
        "queue": "no file",
        "rude": "well",
    }
    assert "event, neon, 4 threads" in said and "1.25" in said and "\x1b" not in said
    (place / "empty").mkdir()
    example(place, "fleet.py", "empty", code=1)
