"""How the engine gets into an installation: hook, flags, wheels, with and without a compiler."""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import event_build
from event_build import BuildError, Compiler

ROOT = Path(__file__).parents[4]
STUB = '#include "engine.h"\nextern "C" SNN_API int32_t snn_event_abi() { return SNN_EVENT_ABI; }\n'


def _compiler() -> Compiler | None:
    try:
        return event_build.find_compiler()
    except BuildError:
        return None


needs_compiler = pytest.mark.skipif(_compiler() is None, reason="no C++ compiler here")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder of C++ that compiles in a moment: enough to be loaded, not to run."""
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "engine.h").write_text((event_build.SOURCES / "engine.h").read_text())
    (folder / "engine.cpp").write_text(STUB)
    (folder / "kernels.cpp").write_text("int SNN_ISA = 0;\n")
    return folder


@pytest.fixture
def project(tmp_path: Path, sources: Path) -> Path:
    """A copy of what a wheel is made of, with the small sources in place of the engine's."""
    root = tmp_path / "project"
    for part in (
        "train/snn_train",
        "export/snn_export",
        "runtime/snn_runtime",
        "runtime/snn_bench",
        "runtime/share",
    ):
        unwanted = shutil.ignore_patterns("*.so", "*.stamp", "*.cpp", "__pycache__", "*.onnx")
        shutil.copytree(ROOT / part, root / part, ignore=unwanted)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, root)
    shutil.copy(ROOT / "runtime" / "event_build.py", root / "runtime")
    for path in sources.iterdir():
        shutil.copy(path, root / "runtime" / "snn_runtime" / "engines" / "event")
    return root


def pack(root: Path, target: str = "wheel", **environment: str) -> tuple[int, str, list[Path]]:
    """Build as pip does. Returns the exit code, what was said, and what was made."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(root / "dist")]
    settings = {name: value for name, value in os.environ.items() if name != "SNN_EVENT_BUILD"}
    done = subprocess.run(
        command,
        cwd=root,
        env={**settings, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return done.returncode, done.stdout + done.stderr, sorted((root / "dist").glob("*"))


def members(wheel: Path) -> list[str]:
    return [name for name in zipfile.ZipFile(wheel).namelist() if "/event/" in name]


INSIDE = "snn_runtime/engines/event"
PYTHON = [f"{INSIDE}/{name}.py" for name in ("__init__", "backend", "library", "lowering")]
LIBRARY = f"{INSIDE}/{event_build.LIBRARY}"


@needs_compiler
def test_a_wheel_holds_the_library_and_no_source(project: Path) -> None:
    code, said, (wheel,) = pack(project, SNN_EVENT_BUILD="require")
    assert code == 0, said
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    assert wheel.name.endswith(f"-py3-none-{platform}.whl")
    assert sorted(members(wheel)) == sorted([*PYTHON, LIBRARY])
    described = zipfile.ZipFile(wheel).read("iir_snn-0.1.0.dist-info/WHEEL").decode()
    assert "Root-Is-Purelib: false" in described


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ({"CXX": "no-such-compiler"}, "CXX is no-such-compiler, which is not here"),
        ({"CXX": "g++ '-m64"}, "CXX is g++ '-m64, which no shell reads: No closing quotation"),
        ({"PATH": "/nowhere"}, "no C++ compiler (c++, g++, clang++, or name one in CXX)"),
        ({"CXX": "false"}, "false fails: exit code 1"),
        ({"SNN_EVENT_BUILD": "off"}, "SNN_EVENT_BUILD is off"),
    ],
)
def test_without_a_compiler_there_is_a_pure_wheel(
    setting: dict[str, str], why: str, project: Path
) -> None:
    code, said, (wheel,) = pack(project, **{"CXX": "", **setting})
    assert code == 0
    assert said.count(f"iir-snn: no event engine, ONNX Runtime instead: {why}\n") == 1
    assert wheel.name.endswith("-py3-none-any.whl")
    assert sorted(members(wheel)) == sorted(PYTHON)


def test_a_wheel_holds_what_shells_and_man_look_for(project: Path) -> None:
    _, _, (wheel,) = pack(project, SNN_EVENT_BUILD="off")
    parts = [name.partition(".data/data/") for name in zipfile.ZipFile(wheel).namelist()]
    files = [path for path in (ROOT / "runtime" / "share").rglob("*") if path.is_file()]
    held = {name for _, found, name in parts if found}
    assert held == {str(path.relative_to(ROOT / "runtime")) for path in files}
    assert "share/man/man1/snn-infer.1" in held


@needs_compiler
def test_code_that_does_not_compile(project: Path) -> None:
    (project / "runtime/snn_runtime/engines/event/engine.cpp").write_text(
        "int broken = nothing_here;\n"
    )
    code, said, (wheel,) = pack(project)
    assert code == 0
    assert "engine.cpp:1:14: error: " in said and "nothing_here" in said
    assert said.count("no event engine") == 1
    assert wheel.name.endswith("-any.whl")
    code, said, _ = pack(project, SNN_EVENT_BUILD="require")
    assert code != 0
    assert "nothing_here" in said and ", and SNN_EVENT_BUILD is require" in said


def test_settings_are_obeyed_or_refused(project: Path) -> None:
    code, said, made = pack(project, CXX="no-such-compiler", SNN_EVENT_BUILD="require")
    assert (code, made) == (1, [])
    assert "iir-snn: CXX is no-such-compiler, which is not here, and SNN_EVENT_BUILD is" in said
    code, said, made = pack(project, SNN_EVENT_BUILD="yes")
    assert (code, made) == (1, [])
    assert "SNN_EVENT_BUILD is 'yes', expected off, require or nothing" in said


@needs_compiler
def test_a_source_distribution_carries_all_that_a_build_needs(
    project: Path, tmp_path: Path
) -> None:
    event_build.build_in_place(project / "runtime/snn_runtime/engines/event")  # must stay behind
    code, said, (archive,) = pack(project, "sdist")
    assert code == 0, said
    shutil.unpack_archive(archive, tmp_path / "unpacked")
    (root,) = (tmp_path / "unpacked").iterdir()
    assert not list(root.rglob("*.so")) and not list(root.rglob("*.stamp"))
    code, said, (wheel,) = pack(root, SNN_EVENT_BUILD="require")
    assert code == 0, said
    assert LIBRARY in members(wheel)


@needs_compiler
def test_it_is_built_again_when_something_changed(sources: Path) -> None:
    library = event_build.build_in_place(sources)
    first = library.stat().st_mtime_ns
    assert event_build.build_in_place(sources).stat().st_mtime_ns == first
    kept = sources / "kept"
    first = event_build.build_in_place(sources, kept).stat().st_mtime_ns
    assert (kept / "engine.o").is_file()
    assert event_build.build_in_place(sources, kept).stat().st_mtime_ns == first
    (sources / "engine.h").write_text((sources / "engine.h").read_text() + "// changed\n")
    second = event_build.build_in_place(sources).stat().st_mtime_ns
    assert second != first
    library.unlink()
    assert event_build.build_in_place(sources).is_file()
    (sources / "engine.cpp").write_text("broken")
    with pytest.raises(BuildError, match="engine.cpp:1:1: error"):
        event_build.build_in_place(sources)
    assert not (sources / event_build.STAMP).exists()  # what is there now is of no known source
    event_build.remove(sources)
    assert not library.exists()


@needs_compiler
def test_a_library_that_does_not_load_is_not_installed(sources: Path, tmp_path: Path) -> None:
    compiler = event_build.find_compiler()
    (sources / "engine.cpp").write_text("int missing(); int value() { return missing(); }")
    with pytest.raises(BuildError, match="compiled but does not load"):
        event_build.build(tmp_path / "a.so", compiler, sources=sources)
    assert not (tmp_path / "a.so").exists()
    with pytest.raises(BuildError, match="no C.. sources in"):
        event_build.build(tmp_path / "a.so", compiler, sources=tmp_path)


@needs_compiler
def test_an_older_compiler_leaves_out_what_it_does_not_know(
    tmp_path: Path, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = _compiler()
    assert compiler is not None
    every = event_build.instruction_sets(compiler.machine)
    if len(every) == 1:
        pytest.skip("this processor has one instruction set")
    unknown = list(every)[-1]
    stand_in = tmp_path / "older"
    stand_in.write_text(
        f'#!/bin/sh\nfor flag; do [ "$flag" = {every[unknown][-1]} ] && exit 1; done\n'
        f'exec {shlex.join(compiler.command)} "$@"\n'
    )
    stand_in.chmod(0o755)
    monkeypatch.setenv("CXX", str(stand_in))
    older = event_build.find_compiler()
    assert older.lacks == (unknown,) and not compiler.lacks
    made = {unit.name for unit in event_build.units(older, sources)}
    assert made == {"engine", *(f"kernels_{name}" for name in every if name != unknown)}
    event_build.build(tmp_path / event_build.LIBRARY, older, sources=sources)
    assert event_build.digest(older, sources) != event_build.digest(compiler, sources)


def test_a_folder_that_cannot_be_written(tmp_path: Path, sources: Path) -> None:
    compiler = _compiler() or Compiler(("c++",), "x86_64", "")
    with pytest.raises(BuildError, match=r"/nowhere/.* cannot be written: No such file"):
        event_build.build(Path("/nowhere/a.so"), compiler, sources=sources)


def test_each_processor_has_its_instruction_sets() -> None:
    x86 = ["baseline", "avx2", "avxvnni", "avx512", "avx512vnni"]
    assert list(event_build.instruction_sets("x86_64")) == x86
    assert list(event_build.instruction_sets("aarch64")) == ["neon", "dotprod"]
    assert event_build.instruction_sets("riscv64") == {"baseline": ()}
    assert event_build.instruction_sets("x86_64")["baseline"] == ()
    assert "-ffp-contract=off" in event_build.FLAGS
    assert not [flag for flag in event_build.FLAGS if "fast-math" in flag or "march" in flag]


@needs_compiler
@pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm, of binutils")
def test_the_library_shows_its_interface_and_nothing_else() -> None:
    library = event_build.SOURCES / event_build.LIBRARY
    command = ["nm", "--dynamic", "--defined-only", str(library)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    shown = {line.split()[-1].partition("@")[0] for line in said.splitlines()}
    assert shown and all(name.startswith("snn_event_") for name in shown)
