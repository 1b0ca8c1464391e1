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


def test_the_library_outlives_its_file() -> None:
    assert library() is library()
    assert library().snn_count(None, 0, 1, 1, 0) == 0


@pytest.mark.parametrize("threads", [1, 3])
def test_where_memory_runs_out_the_step_is_told_so(threads: int) -> None:
    """As by torch, so that the batch goes on in smaller parts. Nobody has 2^48 bytes."""
    large, rows = 2**15, (ctypes.c_float * (2**15 * 32))()
    for kernel in (1, large):  # many events, or many sums of gradients
        shape = Shape(1, large, large, large, 32, kernel, kernel, 1, 1, 0, 0, 1, 1)
        with pytest.raises(RuntimeError, match="1 pictures by events") as e:
            if kernel == 1:
                library().snn_currents(ctypes.byref(shape), None, rows, None, 1, 1, threads)
            else:
                library().snn_gradients(ctypes.byref(shape), None, None, None, 1, threads)
        assert is_out_of_memory(e.value)
