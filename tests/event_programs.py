"""The test programs in C++: what `make programs` left in build/event-programs, or compiled here.

    python tests/event_programs.py     compiles them, if anything changed since

Needs nothing but Python, as event_build: `make test` compiles them while packages are installed.
"""

import ctypes
import hashlib
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import event_build
from event_build import Compiler, Unit

DRIVER = Path(__file__).parent / "runtime" / "engines" / "event" / "event_driver.cpp"
KEPT = Path(__file__).parents[1] / "build" / "event"
"""Where `make engine` leaves the engine's objects."""
PROGRAMS_KEPT = KEPT.with_name("event-programs")
CAREFUL = ("-O1", "-g1", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all",
           # What these two would see ends the program anyway, where the address is used.
           "-fno-sanitize=null,object-size")  # fmt: skip
VNNI = ("-include", str(DRIVER.with_name("emulated_vnni.h")))
GENERIC: dict[str, tuple[str, ...]] = {"generic": ("-U__SSE2__", "-U__ARM_NEON")}
"""Hides the vector instructions that every processor of a kind has."""


def instruction_sets() -> tuple[str, ...]:
    """What the engine has and this processor can, best first.

    Raises:
        BuildError: There is no engine, and none can be made.
    """
    ask = ctypes.CDLL(str(event_build.build_in_place())).snn_event_instruction_sets
    ask.restype = ctypes.c_char_p
    names: bytes = ask()
    return tuple(names.decode().split())


def kernel_flags(compiler: Compiler) -> dict[str, tuple[str, ...]]:
    """Of the instruction sets that run here; AVX-VNNI is played on AVX2."""
    every = event_build.instruction_sets(compiler.machine)
    here = {name: every[name] for name in instruction_sets()}
    return {"avxvnni": (*every["avx2"], *VNNI)} | here if "avx2" in here else here


def installed(compiler: Compiler, folder: Path, wanted: Sequence[Unit]) -> list[Path]:
    """Objects as they are in the library: what it was linked from, or compiled into `folder`.

    Raises:
        BuildError: The compiler refuses.
    """
    stamp = KEPT / event_build.STAMP
    if stamp.is_file() and stamp.read_text() == event_build.digest(compiler):
        return [KEPT / f"{unit.name}.o" for unit in wanted]
    return event_build.compile_objects(compiler, folder, wanted)


def kernels(folder: Path, compiler: Compiler) -> dict[str, Path]:
    """The engine's kernels for each instruction set, as they are in the library.

    Raises:
        BuildError: The compiler refuses.
    """
    every = {unit.name: unit for unit in event_build.units(compiler)}
    names = event_build.instruction_sets(compiler.machine)
    wanted = [every[f"kernels_{name}"] for name in names]
    return dict(zip(names, installed(compiler, folder, wanted), strict=True))


def build_kernel_tests(
    test: str,
    folder: Path,
    compiler: Compiler,
    flags: Mapping[str, Sequence[str]],
    *,
    sources: Path = event_build.SOURCES,
) -> list[Path]:
    """Compile `simd_test` or `kernels_test` once for each instruction set, with its flags. What
    kernels are given is made by the library's own objects.

    Raises:
        BuildError: The compiler refuses.
    """
    parts = ("plan", "pack", "bounds", "layout", "schedule") if test == "kernels_test" else ()
    common = [*compiler.command, *event_build.FLAGS, "-O1", f"-I{sources}"]
    wanted = [unit for unit in event_build.units(compiler) if unit.name in parts]
    objects = installed(compiler, folder, wanted)
    programs = [folder / f"{test}_{name}" for name in flags]

    def link(name: str, program: Path) -> None:
        units = map(str, (DRIVER.with_name(f"{test}.cpp"), *objects))
        own = (f"-DSNN_ISA={name}", *flags[name])
        event_build.run([*common, *own, *units, "-o", str(program)])

    with ThreadPoolExecutor() as pool:
        list(pool.map(link, flags, programs))
    return programs


def build_driver(
    folder: Path,
    compiler: Compiler,
    flags: Sequence[str] = (),
    sets: Collection[str] | None = None,
) -> Path:
    """Compile the driver with `flags` and link it with the engine into one program.

    Args:
        flags: The engine is compiled with them too. (): it is the library's.
        sets: The instruction sets that will run; kernels of others are the library's. None: all.

    Raises:
        BuildError: The compiler refuses.
    """
    every = event_build.units(compiler)
    names = event_build.instruction_sets(compiler.machine)
    idle = {f"kernels_{name}" for name in names if sets is not None and name not in sets}
    own = [unit for unit in every if flags and unit.name not in idle]
    objects = event_build.compile_objects(compiler, folder, own, extra=flags)
    objects += installed(compiler, folder, [unit for unit in every if unit not in own])
    program = folder / "event_driver"
    common = [*compiler.command, *event_build.FLAGS, *flags, f"-I{event_build.SOURCES}"]
    event_build.run([*common, str(DRIVER), *map(str, objects), "-o", str(program)])
    return program


def _sanitized(sanitizers: str, folder: Path, compiler: Compiler) -> list[Path]:
    flags = (f"-fsanitize={sanitizers}", *CAREFUL)
    return [build_driver(folder, compiler, flags, instruction_sets())]


def _operations(folder: Path, compiler: Compiler) -> list[Path]:
    flags = kernel_flags(compiler) | GENERIC
    return build_kernel_tests("simd_test", folder, compiler, flags)


def _kernels(folder: Path, compiler: Compiler) -> list[Path]:
    return build_kernel_tests("kernels_test", folder, compiler, kernel_flags(compiler))


PROGRAMS: dict[str, Callable[[Path, Compiler], list[Path]]] = {
    "address": partial(_sanitized, "address,undefined"),
    "thread": partial(_sanitized, "thread"),
    "kernels": _kernels,
    "operations": _operations,
}
"""Those that every run of the tests needs."""


def programs(name: str, folder: Path, compiler: Compiler) -> list[Path]:
    """The programs of that name: those that are kept, if they are of these sources; or compiled
    into `folder`.

    Raises:
        BuildError: The compiler refuses.
    """
    stamp = PROGRAMS_KEPT / name / event_build.STAMP
    state, *names = stamp.read_text().splitlines() if stamp.is_file() else [""]
    if state == _state(compiler):
        return [stamp.with_name(each) for each in names]
    return PROGRAMS[name](folder, compiler)


def keep() -> None:
    """Compile all `PROGRAMS` whose sources changed since.

    Raises:
        BuildError: There is no compiler, or it refuses.
    """
    compiler = event_build.find_compiler()
    state = _state(compiler)
    for name, build in PROGRAMS.items():
        folder = PROGRAMS_KEPT / name
        stamp = folder / event_build.STAMP
        if stamp.is_file() and stamp.read_text().startswith(state):
            continue
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        made = build(folder, compiler)
        stamp.write_text("\n".join([state, *(program.name for program in made)]))


def _state(compiler: Compiler) -> str:
    """What programs are built from: the engine, their own sources, flags, this processor."""
    flags = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    engine, own = (event_build.digest(compiler, at) for at in (event_build.SOURCES, DRIVER.parent))
    return " ".join([engine, own, flags, *instruction_sets()])


if __name__ == "__main__":
    try:
        keep()
    except event_build.BuildError as error:
        print(f"event_programs: {error}")  # the tests that need them say so
