"""Who has no compiler, or one that fails, is told so in one line."""

import ctypes
from pathlib import Path

import pytest

from snn_runtime.errors import DeviceError
from snn_train.events import library as module
from snn_train.events.library import Shape, library
from snn_train.step import is_out_of_memory


@pytest.fixture(autouse=True)
def not_loaded_yet() -> None:
    library.cache_clear()


def test_a_compiler_that_is_not_here_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -m64")
    with pytest.raises(
        DeviceError, match="no C.. compiler .no-such-compiler -m64.*no-compile"
    ) as e:
        library()
    assert e.value.code == "cannot_compile"


def test_a_machine_without_any_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match=r"no C\+\+ compiler \(c\+\+, g\+\+, clang\+\+\)"):
        library()


def test_what_the_compiler_complains_of_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.cpp"
    broken.write_text("int main( {\n")
    monkeypatch.setattr(module, "SOURCE", broken)
    with pytest.raises(DeviceError, match="fails: .*broken.cpp:1.*error"):
        library()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("x.s: Assembler messages:\nx.s:3: Error: no such instruction: `vdpbf16ps'\n", "x.s:3: "),
        ("/usr/bin/ld: cannot find -lfoo\ncollect2: error: ld returned 1\n", "/usr/bin/ld: "),
        ("ld: x.o: in function `f':\nx.cpp: undefined reference to `g'\n", "x.cpp: undefined"),
        ("In file included from errors/a.h:3,\na.h:9:1: error: no type\n", "a.h:9:1: error"),
        ("\n  Killed\n", "Killed"),
        ("\n", "no reason given"),
    ],
)
def test_the_reason_is_the_line_that_gives_it(said: str, reason: str) -> None:
    assert module._first_error(said).startswith(reason)


def stand_in(folder: Path, script: str) -> str:
    """A compiler that is a shell script."""
    path = folder / "c++"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_the_compiler_speaks_english(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("CXX", stand_in(tmp_path, 'echo "error: in $LC_ALL" >&2; exit 1'))
    with pytest.raises(DeviceError, match="fails: error: in C; name a C.. compiler that works"):
        library()


def test_a_quote_that_does_not_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "g++ '-m64")
    with pytest.raises(DeviceError, match=r"CXX=g\+\+ '-m64: No closing quotation; name a") as e:
        library()
    assert e.value.code == "cannot_compile"


@pytest.mark.parametrize("script", ["exit 0", 'for last; do :; done; echo no library > "$last"'])
def test_a_library_that_cannot_be_loaded_may_be_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str
) -> None:
    """As in a folder from which nothing may be loaded: the compiler may be sound."""
    monkeypatch.setenv("CXX", stand_in(tmp_path, script))
    with pytest.raises(DeviceError, match="convolution.so: .*; name .* in TMPDIR a folder") as e:
        library()
    assert e.value.code == "cannot_compile"


def test_without_a_temporary_folder_the_compiler_is_not_blamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(**_: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr("tempfile.TemporaryDirectory", none)
    with pytest.raises(DeviceError, match="No usable temporary .*; name .* in TMPDIR a folder"):
        library()


def test_the_library_outlives_its_file() -> None:
    assert library() is library()
    assert library().snn_count(None, 0, 1, 1, 0) == 0


def test_where_memory_runs_out_the_step_is_told_so() -> None:
    """As by torch, so that the batch goes on in smaller parts. Nobody has 2^48 bytes."""
    large, rows = 2**15, (ctypes.c_float * (2**15 * 32))()
    for kernel, threads in ((1, 1), (1, 3), (large, 1), (large, 3)):  # many events, or many sums
        shape = ctypes.byref(Shape(1, large, large, large, 32, kernel, kernel, 1, 1, 0, 0, 1, 1))
        with pytest.raises(RuntimeError, match="1 pictures by events") as e:
            if kernel == 1:
                library().snn_currents(shape, None, rows, None, 1, 1, threads)
            else:
                library().snn_gradients(shape, None, None, None, 1, threads)
        assert is_out_of_memory(e.value)
