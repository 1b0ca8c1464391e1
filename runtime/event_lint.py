"""Runs clang-tidy on the C++ of the project: each source with the flags that it is compiled with.

    python runtime/event_lint.py      the engine, its test drivers, and what trains by events;
                                      .clang-tidy holds the checks

Every finding is an error. Part of `make lint`.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from event_build import FLAGS, SOURCES, BuildError, Unit, find_compiler, units

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests" / "runtime" / "engines" / "event"
TRAINING = ROOT / "train" / "snn_train" / "events"
CLANG_TIDY = Path(sys.executable).with_name("clang-tidy")


def findings(unit: Unit) -> str:
    """Return what clang-tidy finds in one compilation, "" if nothing."""
    command = [str(CLANG_TIDY), "--quiet", str(unit.source), "--"]
    language = [flag for flag in FLAGS if flag.startswith("-std")]
    done = subprocess.run(
        [*command, *language, *unit.flags, f"-I{SOURCES}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr if done.returncode else ""


def main() -> int:
    """Return 1 if there is a finding."""
    tests = [Unit(path, path.stem, ("-DSNN_ISA=baseline",)) for path in sorted(TESTS.glob("*.cpp"))]
    native = ("-march=native",)
    training = [Unit(path, path.stem, native) for path in sorted(TRAINING.glob("*.cpp"))]
    checked = [*units(find_compiler()), *tests, *training]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        found = [text for text in pool.map(findings, checked) if text]
    print(*found, sep="\n", end="")
    return bool(found)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (BuildError, OSError) as error:
        sys.exit(f"event_lint: {error}")
