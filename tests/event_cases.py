"""Cases for the driver in tests/runtime/engines/event, which is built together with the engine."""

import ctypes
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from corner_graphs import CORNERS
from graphs import example, example_of_levels, pictures, spiking_graphs
from hypothesis import Phase, given, settings
from hypothesis.strategies import SearchStrategy
from rolling_graphs import ROLLING
from wide_graphs import wide_graphs

import event_build
from event_build import Compiler
from snn_runtime.engines.event.lowering import lower
from snn_runtime.graph import SpikingGraph, reference

DRIVER = Path(__file__).parent / "runtime" / "engines" / "event" / "event_driver.cpp"
KEPT = Path(__file__).parents[1] / "build" / "event"
"""Where `make engine` leaves the engine's objects."""
SLOW = {"sums_far_beyond_16_bits", "sums_of_more_than_two_bytes", "a_large_picture"}
"""Corners that take minutes in a sanitizer or an emulator."""


def write_case(path: Path, graph: SpikingGraph, count: int) -> Path:
    """Write a graph, images and the interpreter's answer as event_case.h reads them."""
    images = pictures(graph.image, count)
    activity = reference.run(graph, images)
    lowered = lower(graph)
    spikes = [bits.tobytes() for bits in activity.spikes.values()]
    neurons = sum(bits[0].size for bits in activity.spikes.values())
    struct = type(lowered.struct).from_buffer_copy(lowered.struct)
    for pointer in ("node", "projection", "weights", "thresholds", "scale", "bias"):
        setattr(struct, pointer, None)
    parts = [
        bytes(struct),
        bytes((ctypes.c_int64 * 2)(count, neurons)),
        bytes(lowered.nodes),
        bytes(lowered.projections),
        *(a.tobytes() for a in (lowered.weights, lowered.thresholds, lowered.scale, lowered.bias)),
        images.tobytes(),
        activity.logits.tobytes(),
        *spikes,
    ]
    path.write_bytes(b"".join(parts))
    return path


def drawn(strategy: SearchStrategy[SpikingGraph], count: int) -> list[SpikingGraph]:
    """The first graphs of a strategy, the same at every call."""
    graphs: list[SpikingGraph] = []

    @given(strategy)
    @settings(max_examples=count, phases=[Phase.generate])
    def collect(graph: SpikingGraph) -> None:
        graphs.append(graph)

    collect()
    return graphs


def write_cases(folder: Path, wide: int = 12, small: int = 12) -> list[Path]:
    """Small cases first."""
    graphs = {"example": example(), "levels": example_of_levels()}
    graphs |= {f"small{i}": graph for i, graph in enumerate(drawn(spiking_graphs(), small))}
    graphs |= {f"wide{i}": graph for i, graph in enumerate(drawn(wide_graphs(), wide))}
    graphs |= {name: make() for name, make in ROLLING.items()}
    graphs |= {name: make() for name, make in CORNERS.items() if name not in SLOW}
    return [write_case(folder / f"{name}.case", graph, 3) for name, graph in graphs.items()]


def kernels(folder: Path, compiler: Compiler) -> dict[str, Path]:
    """The engine's kernels for each instruction set: what it was linked from, or compiled here.

    Raises:
        BuildError: The compiler refuses.
    """
    names = event_build.instruction_sets(compiler.machine)
    stamp = KEPT / event_build.STAMP
    if not stamp.is_file() or stamp.read_text() != event_build.digest(compiler):
        every = event_build.units(compiler)
        wanted = [unit for unit in every if unit.name in {f"kernels_{name}" for name in names}]
        event_build.compile_objects(compiler, folder, wanted)
    else:
        folder = KEPT
    return {name: folder / f"kernels_{name}.o" for name in names}


def build_kernel_tests(
    test: str,
    folder: Path,
    compiler: Compiler,
    flags: Mapping[str, Sequence[str]],
    *,
    sources: Path = event_build.SOURCES,
) -> list[Path]:
    """Compile `simd_test` or `kernels_test` once for each instruction set, with its flags.

    Raises:
        BuildError: The compiler refuses.
    """
    parts = ("plan", "pack", "bounds", "layout", "schedule") if test == "kernels_test" else ()
    common = [*compiler.command, *event_build.FLAGS, "-O1", f"-I{sources}"]
    objects = [folder / f"{part}.o" for part in parts]
    programs = [folder / f"{test}_{name}" for name in flags]

    def compile_part(part: str) -> None:
        source, target = sources / f"{part}.cpp", folder / f"{part}.o"
        event_build.run([*common, "-c", str(source), "-o", str(target)])

    def link(name: str, program: Path) -> None:
        units = map(str, (DRIVER.with_name(f"{test}.cpp"), *objects))
        own = (f"-DSNN_ISA={name}", *flags[name])
        event_build.run([*common, *own, *units, "-o", str(program)])

    with ThreadPoolExecutor() as pool:
        list(pool.map(compile_part, parts))
        list(pool.map(link, flags, programs))
    return programs


def build_driver(
    folder: Path, compiler: Compiler, flags: Sequence[str], sets: Collection[str] | None = None
) -> Path:
    """Compile driver and engine with `flags` and link them into one program.

    Args:
        sets: The instruction sets that will run; others are compiled as fast as can be. None: all.

    Raises:
        BuildError: The compiler refuses.
    """
    every = event_build.units(compiler)
    names = event_build.instruction_sets(compiler.machine)
    idle = {f"kernels_{name}" for name in names if sets is not None and name not in sets}
    run = [unit for unit in every if unit.name not in idle]
    linked = [unit for unit in every if unit.name in idle]
    objects = event_build.compile_objects(compiler, folder, run, extra=flags)
    objects += event_build.compile_objects(compiler, folder, linked, extra=("-O0",))
    program = folder / "event_driver"
    common = [*compiler.command, *event_build.FLAGS, *flags, f"-I{event_build.SOURCES}"]
    event_build.run([*common, str(DRIVER), *map(str, objects), "-o", str(program)])
    return program
