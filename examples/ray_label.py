"""Label a folder or a bucket on many machines with Ray Data, as `snn-infer --resume` does on one.

    python ray_label.py s3://bucket/photos answers.jsonl --workers 16

Each line is what `snn-infer --resume` writes. The same command goes on after a stop. Exit
codes are those of snn-infer, too. Needs `pip install 'ray[data]<2.64'`, and s3fs or gcsfs for
buckets.
"""

import argparse
import json
import os
import pickle
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to Ray's makers

import numpy as np
import ray

import snn_runtime as snn
from snn_runtime.command import run_command, say
from snn_runtime.errors import PARTIAL, InputError
from snn_runtime.infer import buckets
from snn_runtime.infer.records import records
from snn_runtime.infer.results import Results, named
from snn_runtime.model import read_model_file


class Labeller:
    """A worker: one core, or a share of a GPU."""

    def __init__(self, model: str | None, device: str) -> None:
        self.model = snn.load(model, device=device, threads=1 if device == "cpu" else None)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        rows = records(self.model, list(map(pickle.loads, batch["source"])), buckets.read)
        about = {"model": named(self.model.graph)}
        rows = [row | about if row["ok"] else row for row in rows]
        return {"line": np.array([*map(json.dumps, rows)]), "ok": [row["ok"] for row in rows]}


def main() -> int:
    parser = argparse.ArgumentParser(description="Label a folder or a bucket with Ray Data.")
    add = parser.add_argument
    add("place", help="a folder that all machines see, or an address that fsspec knows")
    add("answers", type=Path, help="JSON lines; pictures with an answer are left out")
    add("--model", type=os.path.abspath, help="model.onnx (default: the bundled one)")
    add("--workers", type=int, default=1, help="(default: %(default)s)")
    add("--batch", type=int, default=512, help="pictures at once (default: %(default)s)")
    add("--gpus", type=float, default=0, help="of each worker; 0.25: four share one (default: 0)")
    args = parser.parse_args()

    file = read_model_file(args.model)  # refused here, not by each worker
    with closing(Results(args.answers, named(file.graph))) as results:
        sources = results.without_done(iter(buckets.find(args.place)))
        todo = [{"source": pickle.dumps(source)} for source in sources]
        # A picture that kills every worker costs its batch, and is tried again by the next run.
        ray.data.DataContext.get_current().max_errored_blocks = -1
        batches = -(-len(todo) // args.batch)
        rows = ray.data.from_items(todo, override_num_blocks=max(1, batches)).map_batches(
            Labeller,
            fn_constructor_args=(args.model, "cuda" if args.gpus else "cpu"),
            batch_size=None,  # a block
            compute=ray.data.ActorPoolStrategy(size=args.workers),
            num_cpus=1,
            num_gpus=args.gpus,
            max_task_retries=2,
        )
        labelled = failed = 0
        for batch in rows.iter_batches(batch_size=None) if todo else ():
            results.file.writelines(line.encode() + b"\n" for line in batch["line"])
            results.file.flush()
            labelled += int(batch["ok"].sum())
            failed += int((~batch["ok"]).sum())
    left = len(todo) - labelled - failed
    say(f"ray_label: {labelled:,} labelled, {failed:,} failed, {left:,} left for another run")
    if labelled + results.labelled == 0:
        return InputError.exit_code
    return PARTIAL if failed or left else 0


if __name__ == "__main__":
    sys.exit(run_command("ray_label", main))
