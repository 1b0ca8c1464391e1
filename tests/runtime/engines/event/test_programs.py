"""Programs that `make` compiled before the tests are run only if nothing changed since."""

from pathlib import Path

import event_programs
import pytest

from event_build import Compiler


def test_what_is_kept_is_of_these_sources(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own, kept, here = (tmp_path / name for name in ("own", "kept", "here"))
    for folder in (own, here):
        folder.mkdir()

    def build(folder: Path, compiler: Compiler) -> list[Path]:
        (folder / "program").write_text("compiled")
        return [folder / "program"]

    monkeypatch.setattr(event_programs, "DRIVER", own / "driver.cpp")
    monkeypatch.setattr(event_programs, "PROGRAMS_KEPT", kept)
    monkeypatch.setattr(event_programs, "PROGRAMS", {"name": build})
    assert event_programs.programs("name", here, compiler) == [here / "program"]
    event_programs.keep()
    assert event_programs.programs("name", here, compiler) == [kept / "name" / "program"]
    (kept / "name" / "program").write_text("kept")
    event_programs.keep()
    assert (kept / "name" / "program").read_text() == "kept"
    (own / "driver.cpp").write_text("// changed\n")
    assert event_programs.programs("name", here, compiler) == [here / "program"]
    event_programs.keep()
    assert (kept / "name" / "program").read_text() == "compiled"
