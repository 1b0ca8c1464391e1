"""How fast the command is: one picture cold, and a folder against the bare work it has to do.

    python runtime/benchmarks/commands.py FOLDER [--model model.onnx] [--runs 3]

FOLDER holds pictures. The bare work is decoding all of them and running the network in batches of
32, in this process; the command does the same and reads folders, checks, formats and prints too.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from snn_runtime import image, load

BATCH = 32
COMMAND = [
    sys.executable,
    "-c",
    "from snn_runtime.infer.cli import main; raise SystemExit(main())",
]


def bare(paths: list[Path], model_path: Path | None) -> float:
    """Seconds to decode and label all pictures, the model already loaded."""
    model = load(model_path)
    size = model.graph.image
    start = time.perf_counter()
    for first in range(0, len(paths), BATCH):
        pixels = [
            image.prepare(p, size.height, size.width)[0] for p in paths[first : first + BATCH]
        ]
        model.logits(np.stack(pixels))
    return time.perf_counter() - start


def command(arguments: list[str]) -> tuple[float, float]:
    """Seconds and peak memory in MB of one run of snn-infer, interpreter start and all."""
    start = time.perf_counter()
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"snn-infer ended with {os.waitstatus_to_exitcode(status)}")
    return seconds, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    chosen = ["--model", str(args.model)] if args.model else []
    paths = sorted(p for p in args.folder.rglob("*") if p.is_file())
    cold = [command([str(paths[0]), *chosen]) for _ in range(10)]
    few = command([*map(str, paths[:1000]), *chosen, "--format", "json"])
    ratios, memory = [], 0.0
    for _ in range(args.runs):  # interleaved, so that both see the same machine
        alone = bare(paths, args.model)
        whole, memory = command([str(args.folder), *chosen, "--format", "json"])
        ratios.append(whole / alone)
        print(f"{len(paths):,} pictures: bare work {alone:.2f} s, command {whole:.2f} s")
    seconds = [run[0] for run in cold]
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"one picture, cold: median {statistics.median(seconds):.2f} s, max {max(seconds):.2f} s")
    print(
        f"folder: command / bare work: median {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )
    print(f"peak memory: 1,000 pictures {few[1]:.0f} MB, {len(paths):,} pictures {memory:.0f} MB")


if __name__ == "__main__":
    main()
