"""The engine without Python, in the sanitizers: no byte too far, no race, no undefined sum."""

import os
import subprocess
from pathlib import Path

import pytest
from event_cases import write_cases
from event_programs import programs

from event_build import Compiler

MUTANTS = 3000
SETTINGS = {
    # More memory than there is must be refused as on any machine, and not end the program.
    "ASAN_OPTIONS": "allocator_may_return_null=1:max_allocation_size_mb=4096",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1",
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_cases(tmp_path_factory.mktemp("cases"))


@pytest.fixture(scope="module")
def careful(compiler: Compiler, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (driver,) = programs("address", tmp_path_factory.mktemp("address"), compiler)
    return driver


def run(driver: Path, *arguments: Path | str) -> str:
    environment = {**os.environ, **SETTINGS}
    command = [driver, *arguments]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_every_answer_with_every_byte_watched(careful: Path, cases: list[Path]) -> None:
    assert f"{len(cases)} cases" in run(careful, *cases)


def test_graphs_full_of_nonsense(careful: Path, cases: list[Path]) -> None:
    """Refused with a sentence, or run without harm and alike on all instruction sets."""
    said = run(careful, "--mutate", "1", str(MUTANTS), *cases[:20])
    accepted = int(said.split(",")[1].split()[0])
    assert MUTANTS // 20 < accepted < MUTANTS  # neither all refused nor all harmless


def test_no_race(compiler: Compiler, tmp_path: Path, cases: list[Path]) -> None:
    (driver,) = programs("thread", tmp_path, compiler)
    assert "8 cases" in run(driver, *cases[:4], *cases[-4:])
