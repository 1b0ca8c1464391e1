"""The engine on processors that are not here: 64-bit ARM, and x86 before AVX-512 and before AVX."""

import shutil
import subprocess
from pathlib import Path

import pytest
from event_cases import write_cases
from event_programs import build_driver, build_kernel_tests

import event_build
from event_build import Compiler

FAST = ("-O2",)
ARM = ("aarch64-linux-gnu-g++", "qemu-aarch64-static")
X86 = "qemu-x86_64-static"
PROCESSORS = {"Nehalem": "baseline", "Haswell": "avx2 baseline"}
"""What QEMU plays, and what the engine must offer there."""


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_cases(tmp_path_factory.mktemp("cases"), wide=6, small=6)


def needed(*programs: str) -> None:
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)} (make test-aarch64 says what to install)")


def check(emulator: list[str], driver: Path, cases: list[Path], instruction_sets: str) -> None:
    done = subprocess.run(
        [*emulator, driver, *cases], capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == f"{len(cases)} cases, instruction sets: {instruction_sets}\n"


def test_aarch64(tmp_path: Path, cases: list[Path]) -> None:
    needed(*ARM)
    compiler = Compiler((ARM[0],), "aarch64", "")
    driver = build_driver(tmp_path, compiler, (*FAST, "-static"))
    check([ARM[1], "-cpu", "max"], driver, cases, "dotprod neon")
    check([ARM[1], "-cpu", "cortex-a53"], driver, cases[:6], "neon")


@pytest.mark.parametrize("test", ["simd_test", "kernels_test"])
def test_kernels_of_aarch64(test: str, tmp_path: Path) -> None:
    needed(*ARM)
    compiler = Compiler((ARM[0],), "aarch64", "")
    flags = {
        name: (*own, "-static") for name, own in event_build.instruction_sets("aarch64").items()
    }
    for program in build_kernel_tests(test, tmp_path, compiler, flags):
        done = subprocess.run(
            [ARM[1], "-cpu", "max", program],
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="module")
def driver(compiler: Compiler, tmp_path_factory: pytest.TempPathFactory) -> Path:
    needed(X86)
    if compiler.machine != "x86_64":
        pytest.skip(f"the compiler here makes programs for {compiler.machine}")
    return build_driver(tmp_path_factory.mktemp("x86"), compiler)


@pytest.mark.parametrize("processor", PROCESSORS)
def test_older_x86(processor: str, driver: Path, cases: list[Path]) -> None:
    """An instruction the processor lacks ends the program."""
    check([X86, "-cpu", processor], driver, cases, PROCESSORS[processor])
