"""Each vector operation and each kernel against scalar code, on every instruction set here.

Compiled with -O1, which spares half the time. What -O3 makes of the kernels is tested with graphs.
"""

import shutil
import subprocess
from pathlib import Path

import pytest
from event_cases import DRIVER, build_kernel_tests

import event_build
from event_build import SOURCES, BuildError, Compiler
from snn_runtime.engines.event.library import instruction_sets

GENERIC: dict[str, tuple[str, ...]] = {"generic": ("-U__SSE2__", "-U__ARM_NEON")}
"""Hides the vector instructions that every processor of a kind has."""
VNNI = ("-include", str(DRIVER.with_name("emulated_vnni.h")))


@pytest.fixture(scope="module")
def compiler() -> Compiler:
    try:
        return event_build.find_compiler()
    except BuildError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def flags(compiler: Compiler) -> dict[str, tuple[str, ...]]:
    """Of the instruction sets that run here; AVX-VNNI is played on AVX2."""
    every = event_build.instruction_sets(compiler.machine)
    here = {name: every[name] for name in instruction_sets()}
    return {"avxvnni": (*every["avx2"], *VNNI)} | here if "avx2" in here else here


def failure(program: Path) -> str:
    done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=300)
    return f"{program.name}: {done.stderr}" if done.returncode else ""


def test_every_vector_operation(
    compiler: Compiler, flags: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    programs = build_kernel_tests("simd_test", tmp_path, compiler, flags | GENERIC)
    assert "".join(map(failure, programs)) == ""


def test_every_kernel(
    compiler: Compiler, flags: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    programs = build_kernel_tests("kernels_test", tmp_path, compiler, flags)
    assert "".join(map(failure, programs)) == ""


def test_operations_for_other_processors_compile(compiler: Compiler) -> None:
    for name, flags in event_build.instruction_sets(compiler.machine).items():
        if name in instruction_sets():
            continue
        language = (*event_build.FLAGS, *flags, f"-DSNN_ISA={name}", f"-I{SOURCES}")
        test = str(DRIVER.with_name("simd_test.cpp"))
        event_build.run([*compiler.command, *language, "-Werror", "-fsyntax-only", test])


def test_one_wrong_lane_is_noticed(
    compiler: Compiler, flags: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    """Sums of 4-bit weights in which one quarter of the lanes loses its lowest bit."""
    sources = tmp_path / "sources"
    shutil.copytree(SOURCES, sources, ignore=shutil.ignore_patterns("*.so", "*.stamp", "*.py"))
    header = sources / "simd-inl.h"
    right, wrong = "h1 = s & 0xff00,", "h1 = s & 0xfe00,"
    assert header.read_text().count(right) == 1
    header.write_text(header.read_text().replace(right, wrong))
    last = dict([list(flags.items())[-1]])
    (program,) = build_kernel_tests("simd_test", tmp_path, compiler, last, sources=sources)
    assert ": Accumulator4 [" in failure(program)
