"""What the compiler makes of the kernels: nothing lent to older processors, no load too many."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from event_programs import kernels

from event_build import Compiler

SHIFT = re.compile(r"v?ps(rlw\s+\$0x4|raw\s+\$0x8),")
"""One for every vector of weights that is added to sums, see NibbleSums and Accumulator8."""
ADD = re.compile(r"v?padd[bw]\s")
PRODUCT = re.compile(r"(\{\w+\}\s+)?v?p(maddubsw|maddwd|dpbusd)\s")
VECTOR = re.compile(r"%[xyz]mm")
MEMORY = re.compile(r"[-0-9a-fx]*\([^)]*\)")


@dataclass(frozen=True)
class Loop:
    """An innermost loop: its instructions, operands in the order of AT&T, the target last."""

    function: str
    code: list[str]

    def count(self, what: re.Pattern[str]) -> int:
        return sum(what.match(instruction) is not None for instruction in self.code)

    @property
    def places(self) -> list[tuple[str, bool]]:
        """Where vectors are read or written, and whether written."""
        vectors = [i for i in self.code if VECTOR.search(i)]
        found = [(MEMORY.search(i), i.endswith(")")) for i in vectors]
        return [(place[0], written) for place, written in found if place]

    @property
    def spilled(self) -> set[str]:
        return {place for place, written in self.places if written}

    @property
    def loads(self) -> int:
        return sum(place not in self.spilled for place, _ in self.places)


@pytest.fixture(scope="module")
def objects(compiler: Compiler, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The kernels of each instruction set."""
    return kernels(tmp_path_factory.mktemp("objects"), compiler)


def said_by(*command: str | Path) -> list[str]:
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}, of binutils")
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def test_no_vector_code_is_lent_to_the_baseline(objects: dict[str, Path]) -> None:
    """The linker keeps one copy of an inline function, and it may be the one made for AVX-512."""
    for path in objects.values():
        shown = said_by("nm", "--demangle", "--defined-only", path)
        assert [line for line in shown if line.split()[1] in "WVu"] == [], path.name


def functions(path: Path) -> Iterator[tuple[str, dict[int, str]]]:
    """Name and code by address of every function in an object."""
    name, code = "", dict[int, str]()
    for line in said_by("objdump", "--disassemble", "--no-show-raw-insn", "--demangle", path):
        if named := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            yield name, code
            name, code = named[1], {}
        elif at := re.match(r"\s*([0-9a-f]+):\s+([^#]*)", line):
            code[int(at[1], 16)] = at[2].strip()
    yield name, code


def inner_loops(path: Path) -> Iterator[Loop]:
    """Code without a jump but the last, which goes back to its beginning."""
    for name, code in functions(path):
        straight: dict[int, str] = {}
        for at, instruction in code.items():
            straight[at] = instruction
            if not instruction.startswith("j"):
                continue
            target = re.match(r"j\w+\s+([0-9a-f]+)", instruction)
            if target and (first := int(target[1], 16)) in straight:
                yield Loop(name, [straight[i] for i in straight if i >= first])
            straight = {}


def test_inner_loops_load_each_vector_once_and_spill_no_sum_in_vain(
    objects: dict[str, Path],
) -> None:
    """A compiler that runs short of registers, or takes a load for cheap, halves the speed.

    A vector of weights has two sums. With itself and its shifted copy they may be more than there
    are registers, see kRollRows4 in tuning.h: the rest is spilled, and no more.
    """
    if "avx2" not in objects:
        pytest.skip(f"reads the code of x86-64, and this is for {', '.join(objects)}")
    for name, path in objects.items():
        loops = list(inner_loops(path))
        # Other loops finish sums, and so shift without adding, or add without a shift, or shift and
        # multiply.
        rows = [loop for loop in loops if 0 < 2 * loop.count(SHIFT) == loop.count(ADD)]
        products = [loop for loop in loops if loop.count(PRODUCT) and not loop.count(SHIFT)]
        assert rows and products, f"{name}: no inner loop is found"
        registers = 32 if name.startswith("avx512") else 16
        for loop in rows:
            lines = loop.count(SHIFT)
            assert loop.loads == lines, f"{name}: {loop}"
            assert len(loop.spilled) <= max(0, 2 * lines + 2 - registers), f"{name}: {loop}"
        for loop in products:  # four vectors of weights, and a broadcast for each pixel
            pixels = loop.count(PRODUCT) // 4
            assert (loop.loads, loop.spilled) == (4 + pixels, set()), f"{name}: {loop}"


def test_no_mask_is_stored_in_fewer_bits_than_are_read(objects: dict[str, Path]) -> None:
    """What GCC 12 did with masks that it had to spill, see number_of in simd_avx512-inl.h."""
    wide = [path for name, path in objects.items() if name.startswith("avx512")]
    if not wide:
        pytest.skip(f"reads the code of AVX-512, and this is for {', '.join(objects)}")
    stored = re.compile(r"kmov[bwd]\s+%k\d,.*\)$")
    for path in wide:
        code = [line for _, lines in functions(path) for line in lines.values()]
        assert any(line.startswith("kmov") for line in code)
        assert [line for line in code if stored.match(line)] == [], path.name
