"""What holds for every command, wherever it is started: streams, packages, environments."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
from pages import MAINS

from snn_runtime.errors import ResourceError
from snn_train.data.downloads import downloads_folder

ROOT = Path(__file__).parents[1]
PATHS = os.pathsep.join(str(ROOT / part) for part in ("train", "export", "runtime"))
PHOTO = ROOT / "runtime" / "photos" / "cat.jpg"
MAIN = """
import importlib, sys
program, module, *_ = sys.argv = sys.argv[1:]
del sys.argv[1]
sys.exit(importlib.import_module(module).main())
"""
WITHOUT = "torch sklearn matplotlib tqdm openvino"
BLOCKED = f"import sys; sys.modules.update(dict.fromkeys({WITHOUT!r}.split()))\n{MAIN}"
# Landlock (Linux 5.13), which needs no right: the process may neither write nor make any file.
READ_ONLY = f"""
import ctypes, os
libc, writing = ctypes.CDLL(None, use_errno=True), ctypes.c_uint64(0b1111111110010)
ruleset = libc.syscall(444, ctypes.byref(writing), 8, 0)
assert ruleset >= 0 and not libc.prctl(38, 1, 0, 0, 0) and not libc.syscall(446, ruleset, 0)
try:
    os.mkdir("made")
    raise SystemExit("this system is not read-only")
except PermissionError:
    pass
{MAIN}"""

TINY = ["--data", "digits", "--network", "vgg5", "--width", "0.1", "--timesteps", "1",
        "--epochs", "1,1", "--largest-drop", "1", "--threads", "1"]  # fmt: skip
QUICK = ["--duration", "0.05", "--rounds", "1", "--warm-up", "1", "--backends", "event,onnxruntime"]


def run(
    command: str,
    *arguments: object,
    program: str = MAIN,
    redirected: str = "",
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, its streams redirected as a shell would."""
    words = [sys.executable, "-c", program, command, MAINS[command], *map(str, arguments)]
    shell = ["/bin/sh", "-c", f'exec "$@" {redirected}', "sh"]
    return subprocess.run(
        [*shell, *words],
        env={"PYTHONPATH": PATHS, **({} if env is None else env)},
        capture_output=True,
        text=True,
        timeout=180,
        cwd=cwd,
    )


def refused(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    """Check that it ended with `code` and one line on stderr that holds the parts."""
    lines = done.stderr.splitlines()
    assert done.returncode == code, done
    assert len(lines) == 1 and all(part in lines[0] for part in parts), done


@pytest.mark.parametrize("command", MAINS)
def test_nothing_begins_where_answers_would_be_lost(command: str) -> None:
    done = run(command, "--version", redirected=">&-")
    refused(done, 7, f"{command}: error: standard output is closed", "[unwritable]")
    done = run(command, "--help", redirected=">/dev/full")
    refused(done, 7, "No space left on device")


def test_a_closed_input_or_error_stream_is_no_fault_of_ours() -> None:
    done = run("snn-infer", "-", redirected="<&-")
    assert done.returncode == 3 and "snn-infer: error: -: is closed [unreadable]" in done.stderr
    done = run("snn-infer", PHOTO, redirected="<&- 2>&-")
    assert done.returncode == 0 and done.stdout.endswith("cat.jpg: cat 99.8%\n")
    done = run("snn-infer", "missing.jpg", redirected="<&- 2>&- >&-")
    assert done.returncode == 7


@pytest.mark.parametrize("command", MAINS)
def test_help_needs_no_package_of_an_extra(command: str) -> None:
    done = run(command, "--help", program=BLOCKED)
    assert (done.returncode, done.stderr) == (0, "") and "exit codes:" in done.stdout


@pytest.mark.parametrize("command", MAINS)
def test_a_command_is_its_module_too(command: str) -> None:
    """For where the programs are not on the path. A module that did nothing would end with 0."""
    words = [sys.executable, "-m", MAINS[command], "--version"]
    env = {**os.environ, "PYTHONPATH": PATHS}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0 and done.stdout.startswith(f"{command} ")


@pytest.mark.parametrize(
    ("command", "arguments"),
    [("train-snn", ["--data", "digits"]), ("export-snn", ["t1.pt", "model.onnx"])],
)
def test_a_missing_package_is_named_with_the_line_to_type(
    command: str, arguments: list[str]
) -> None:
    done = run(command, *arguments, program=BLOCKED)
    refused(done, 6, "is not installed here: pip install 'iir-snn[train]' [missing_package]")


@pytest.mark.parametrize(
    ("command", "arguments", "package", "name"),
    [
        ("snn-infer", [PHOTO], "onnx", "onnx"),
        ("snn-infer", [PHOTO], "PIL", "pillow"),
        ("snn-infer", [PHOTO], "numpy", "numpy"),
        ("snn-doctor", [], "onnx", "onnx"),
        ("snn-bench", [], "numpy", "numpy"),
        ("snn-bench", ["--rounds", "1"], "PIL", "pillow"),
        ("train-snn", ["--data", "digits"], "PIL", "pillow"),
        ("export-snn", ["t1.pt", "model.onnx"], "onnx", "onnx"),
    ],
)
def test_a_broken_installation_is_one_line_too(
    command: str, arguments: list[object], package: str, name: str
) -> None:
    """What pip brings with us may be gone: taken away, or half of it overwritten."""
    program = f"import sys; sys.modules[{package!r}] = None\n{MAIN}"
    done = run(command, *arguments, program=program)
    refused(done, 6, f"{package} is not installed here: pip install --force-reinstall {name}")


def test_a_fresh_home_stays_empty(tmp_path: Path) -> None:
    """With nothing else in the environment, every command does its work and leaves its results."""
    home, place = tmp_path / "home", tmp_path / "place"
    home.mkdir()
    place.mkdir()
    env = {"HOME": str(home)}
    sweep = ["--topology", "vgg16", "--width", "0.05", "--rates", "10", "--plot", "sweep.png"]
    for command, arguments in (
        ("train-snn", [*TINY, "--out", "run"]),
        ("export-snn", ["run/t1.pt", "model.onnx"]),
        ("snn-infer", ["--model", "model.onnx", PHOTO]),
        ("snn-bench", [*QUICK, *sweep, "--against", "dnn", "--no-memory"]),
        ("snn-doctor", ["--model", "model.onnx"]),
    ):
        done = run(command, *arguments, env=env, cwd=place)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done
    assert (place / "run" / "training.png").is_file() and (place / "sweep.png").is_file()
    assert not [*home.rglob("*")]


def test_a_read_only_system_is_enough_for_answers(tmp_path: Path) -> None:
    def answer(command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        done = run(command, *arguments, program=READ_ONLY, cwd=tmp_path)
        assert "Traceback" not in done.stderr and done.returncode != 1, done
        return done

    for command in MAINS:
        assert answer(command, "--version").stdout == f"{command} 0.1.0\n"
    assert answer("snn-infer", PHOTO).returncode == 0
    assert answer("snn-bench", *QUICK).returncode == 7
    done = answer("train-snn", *TINY)
    assert done.returncode == 7 and "runs/digits: " in done.stderr


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(number: int) -> pwd.struct_passwd:
        raise KeyError(f"uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ResourceError, match="set HOME or XDG_CACHE_HOME, or .* as in mnist:DIR"):
        downloads_folder()
