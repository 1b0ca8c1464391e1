"""Runs clang-tidy on the event engine: each source with the flags that it is compiled with.

    python runtime/event_lint.py      the engine and its test drivers; .clang-tidy holds the checks

Every finding is an error. Part of `make lint`.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from event_build import FLAGS, SOURCES, BuildError, Unit, find_compiler, units

TESTS = Path(__file__).parents[1] / "tests" / "runtime" / "engines" / "event"
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
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        found = [text for text in pool.map(findings, [*units(find_compiler()), *tests]) if text]
    print(*found, sep="\n", end="")
    return bool(found)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (BuildError, OSError) as error:
        sys.exit(f"event_lint: {error}")
