"""Compiles the event engine with the C++17 compiler of this machine: its sources, its flags.

    python runtime/event_build.py [KEPT]   builds it inside the package, if anything changed since

The build hook (hatch_build.py), `make` and the tests all go through here. Needs nothing but Python.
"""

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

SOURCES = Path(__file__).parent / "snn_runtime" / "engines" / "event"
LIBRARY = "libsnn_event.so"
STAMP = "libsnn_event.stamp"
"""Beside a library: the digest of what it was built from."""
COMPILERS = ("c++", "g++", "clang++")
"""Looked for in this order where $CXX names none."""
FLAGS = (
    *("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-pthread", "-Wall", "-Wextra"),
    # A product and a sum are two roundings everywhere, also where the processor could do it in one.
    "-ffp-contract=off",
)
LINK = ("-shared", "-pthread")
SELF_CONTAINED = ("-static-libstdc++", "-static-libgcc", "-Wl,--gc-sections", "-Wl,-s")
"""Links its own copy of the C++ library: a wheel runs where the builder's is not."""
EXPORTS = "{ global: snn_event_*; local: *; };"
"""Hides that copy from the rest of the process."""
PER_INSTRUCTION_SET = "kernels"
"""Sources whose name begins so are compiled once for each instruction set."""
_AVX2 = ("-mavx2", "-mbmi", "-mbmi2", "-mfma", "-mpopcnt")
_AVX512 = (*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq")
ERROR_LINES = 3
"""Lines of a failing compiler that an error shows."""


class BuildError(Exception):
    """Says in one sentence why there is no engine."""


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler that answered."""

    command: tuple[str, ...]
    machine: str
    """What it compiles for: x86_64, aarch64, …"""
    version: str

    @cached_property
    def lacks(self) -> tuple[str, ...]:
        """Instruction sets whose flags it does not know, as compilers before GCC 11 do not know
        AVX-VNNI's; the library is made without them. Asked of it only where it compiles."""
        every = instruction_sets(self.machine).items()
        return tuple(name for name, flags in every if not _knows(self.command, flags))


def find_compiler() -> Compiler:
    """Return $CXX, or the first of `COMPILERS` that is here.

    Raises:
        BuildError: There is none, or $CXX cannot be read or does not run.
    """
    value = os.environ.get("CXX", "")
    try:
        named = shlex.split(value)
    except ValueError as error:
        raise BuildError(f"CXX is {value}, which no shell reads: {error}") from error
    candidates = [tuple(named)] if named else [(name,) for name in COMPILERS]
    for command in candidates:
        if shutil.which(command[0]):
            return _identify(command)
    if named:
        raise BuildError(f"CXX is {shlex.join(named)}, which is not here")
    raise BuildError(f"no C++ compiler ({', '.join(COMPILERS)}, or name one in CXX)")


def instruction_sets(machine: str) -> dict[str, tuple[str, ...]]:
    """Return the flags of each instruction set that a machine's library can hold."""
    if machine in ("x86_64", "amd64"):
        return {
            "baseline": (),
            "avx2": _AVX2,
            "avxvnni": (*_AVX2, "-mavxvnni"),
            "avx512": _AVX512,
            "avx512vnni": (*_AVX512, "-mavx512vnni"),
        }
    if machine in ("aarch64", "arm64"):
        return {"neon": (), "dotprod": ("-march=armv8.2-a+dotprod",)}
    return {"baseline": ()}


@dataclass(frozen=True)
class Unit:
    """A source and the flags of one compilation of it."""

    source: Path
    name: str
    flags: tuple[str, ...] = ()


def units(compiler: Compiler, sources: Path = SOURCES) -> list[Unit]:
    """Return what the library is compiled from: the kernels once for each instruction set.

    Raises:
        BuildError: There are no sources.
    """
    found: list[Unit] = []
    for source in sorted(sources.glob("*.cpp")):
        if not source.stem.startswith(PER_INSTRUCTION_SET):
            found.append(Unit(source, source.stem))
            continue
        for name, flags in instruction_sets(compiler.machine).items():
            if name not in compiler.lacks:
                found.append(Unit(source, f"{source.stem}_{name}", (f"-DSNN_ISA={name}", *flags)))
    if not found:
        raise BuildError(f"no C++ sources in {sources}")
    return found


def compile_objects(
    compiler: Compiler, folder: Path, wanted: Sequence[Unit], *, extra: Sequence[str] = ()
) -> list[Path]:
    """Compile units into `folder`, `extra` flags last, and return the object files.

    Raises:
        BuildError: The compiler fails; its first error lines.
    """

    def compile_unit(unit: Unit) -> Path:
        target = folder / f"{unit.name}.o"
        flags = [*FLAGS, *unit.flags, *extra]
        run([*compiler.command, *flags, "-c", str(unit.source), "-o", str(target)])
        return target

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(compile_unit, wanted))


def link(compiler: Compiler, objects: Sequence[Path], target: Path) -> None:
    """Link `objects` into a library, a self-contained one where the linker can.

    Raises:
        BuildError: The linker fails.
    """
    script = target.with_suffix(".exports")
    script.write_text(EXPORTS)
    command = [*compiler.command, "-o", str(target), *map(str, objects), *LINK]
    try:
        run([*command, *SELF_CONTAINED, f"-Wl,--version-script={script}"])
    except BuildError:
        run(command)


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = error.filename or error
        raise BuildError(f"{what} cannot be written: {error.strerror}") from error


@_writing()
def build(
    target: Path,
    compiler: Compiler,
    *,
    extra: Sequence[str] = (),
    sources: Path = SOURCES,
    kept: Path | None = None,
) -> None:
    """Compile, link, try and put the library at `target`, whole or not at all; objects at `kept`.

    Raises:
        BuildError: It does not compile, or this machine does not load it.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".event-") as name:
        library = Path(name) / target.name
        objects = compile_objects(compiler, Path(name), units(compiler, sources), extra=extra)
        link(compiler, objects, library)
        try:
            ctypes.CDLL(str(library), mode=os.RTLD_NOW).snn_event_abi()
        except (OSError, AttributeError) as error:
            raise BuildError(f"the library was compiled but does not load: {error}") from error
        # A program may be running from the old one: replace it, never write into it.
        os.replace(library, target)
        if kept:
            shutil.rmtree(kept, ignore_errors=True)
            kept.mkdir(parents=True)
            for made in objects:
                shutil.move(made, kept)
            (kept / STAMP).write_text(digest(compiler, sources))


@_writing()
def build_in_place(sources: Path = SOURCES, kept: Path | None = None) -> Path:
    """Build the library beside its sources unless it is up to date; return its path.

    Args:
        kept: a folder for the objects that it was linked from, with the same stamp; built again
            where it lacks them.

    Raises:
        BuildError: There is no compiler, it fails, or the folder cannot be written.
    """
    compiler = find_compiler()
    library, stamp, state = sources / LIBRARY, sources / STAMP, digest(compiler, sources)
    stamps = [stamp, kept / STAMP] if kept else [stamp]
    if library.is_file() and all(s.is_file() and s.read_text() == state for s in stamps):
        return library
    stamp.unlink(missing_ok=True)
    build(library, compiler, sources=sources, kept=kept)
    stamp.write_text(state)
    return library


def remove(sources: Path = SOURCES) -> None:
    """Remove a library that no longer belongs to its sources."""
    for name in (LIBRARY, STAMP):
        (sources / name).unlink(missing_ok=True)


def run(command: Sequence[str]) -> str:
    """Run a compiler and return what it says.

    Raises:
        BuildError: It fails; its first error lines.
    """
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise BuildError(f"{command[0]} does not start: {error.strerror}") from error
    if done.returncode == 0:
        return done.stdout
    lines = [line.strip() for line in done.stderr.splitlines()]
    errors = [line for line in lines if "error:" in line or "undefined" in line] or lines
    reason = "; ".join(errors[:ERROR_LINES]) or f"exit code {done.returncode}"
    raise BuildError(f"{command[0]} fails: {reason}")


def _identify(command: tuple[str, ...]) -> Compiler:
    triple = run([*command, "-dumpmachine"]).strip()
    version = run([*command, "--version"]).partition("\n")[0]
    return Compiler(command, triple.partition("-")[0], version)


def _knows(command: Sequence[str], flags: Sequence[str]) -> bool:
    try:
        run([*command, *flags, "-fsyntax-only", "-x", "c++", os.devnull])
    except BuildError:
        return not flags  # what fails without any will say so when it compiles
    return True


def digest(compiler: Compiler, sources: Path = SOURCES) -> str:
    """Name what a library is built from: the compiler, its flags, the sources."""
    state = hashlib.sha256(repr((compiler, FLAGS, LINK, SELF_CONTAINED, EXPORTS)).encode())
    state.update(repr(instruction_sets(compiler.machine)).encode())
    for path in sorted(p for p in sources.iterdir() if p.suffix in (".cpp", ".h")):
        state.update(f"{path.name} {path.stat().st_size}\n".encode() + path.read_bytes())
    return state.hexdigest()


if __name__ == "__main__":
    try:
        print(build_in_place(kept=Path(sys.argv[1]) if len(sys.argv) > 1 else None))
    except BuildError as error:
        sys.exit(f"event_build: {error}")
