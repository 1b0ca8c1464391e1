"""Who has no compiler, or one that fails, is told so in one line."""

from pathlib import Path

import pytest

from snn_runtime.errors import DeviceError
from snn_train.events import library as module
from snn_train.events.library import library


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
