"""Each vector operation and each kernel against scalar code, on every instruction set here.

Compiled with -O1, which spares half the time. What -O3 makes of the kernels is tested with graphs.
"""

import shutil
import subprocess
from pathlib import Path

import pytest
from event_programs import DRIVER, build_kernel_tests, kernel_flags, programs

import event_build
from event_build import SOURCES, Compiler
from snn_runtime.engines.event.library import instruction_sets


def failure(program: Path) -> str:
    done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=300)
    return f"{program.name}: {done.stderr}" if done.returncode else ""


@pytest.mark.parametrize("name", ["operations", "kernels"])
def test_every_vector_operation_and_every_kernel(
    name: str, compiler: Compiler, tmp_path: Path
) -> None:
    assert "".join(map(failure, programs(name, tmp_path, compiler))) == ""


def test_operations_for_other_processors_compile(compiler: Compiler) -> None:
    for name, flags in event_build.instruction_sets(compiler.machine).items():
        if name in instruction_sets():
            continue
        language = (*event_build.FLAGS, *flags, f"-DSNN_ISA={name}", f"-I{SOURCES}")
        test = str(DRIVER.with_name("simd_test.cpp"))
        event_build.run([*compiler.command, *language, "-Werror", "-fsyntax-only", test])


def test_one_wrong_lane_is_noticed(compiler: Compiler, tmp_path: Path) -> None:
    """Sums of 4-bit weights in which one quarter of the lanes loses its lowest bit."""
    sources = tmp_path / "sources"
    shutil.copytree(SOURCES, sources, ignore=shutil.ignore_patterns("*.so", "*.stamp", "*.py"))
    header = sources / "simd-inl.h"
    right = "sums[4 * v + 3] = upper_bytes(high - offsets)"
    wrong = "sums[4 * v + 3] = upper_bytes((high - offsets) & 0xfe)"
    assert header.read_text().count(right) == 1
    header.write_text(header.read_text().replace(right, wrong))
    last = dict([list(kernel_flags(compiler).items())[-1]])
    (program,) = build_kernel_tests("simd_test", tmp_path, compiler, last, sources=sources)
    assert ": Accumulator4 [" in failure(program)
