"""sweep.py PLAN.json OUT: many runs of train-snn, several at once, and what became of each.

A plan is a JSON object:

    {"common": "--data imagefolder:photos --optimiser muon",
     "runs": {"half": {"flags": "--width 0.5 --epochs 40,1", "dense": true},
              "half-8": {"flags": "--ann {half}/ann.pt --spike-rate 0.08 --int-bits 4"}}}

`{half}` is the folder of the run of that name, of this plan or of another with the same OUT; a run
waits until all files that it names so are there. `{left}` are the seconds until the deadline, for
--budget. Each stage that ends becomes a file beside its checkpoint, by export-snn: t1.onnx,
int4.onnx, and of a dense run ann.onnx. A plan that is started again leaves out what is finished and
resumes the rest.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PLACE = re.compile(r"\{([\w.-]+)\}")
"""In the flags: a name in braces."""
POLL = 0.5
"""Seconds."""
GRACE = 20.0
"""Seconds in which a run that is told to stop saves its state, or ends its export."""


@dataclass
class Sweep:
    """Where a plan stands."""

    common: list[str]
    runs: dict[str, dict[str, Any]]
    out: Path
    deadline: float
    """On the monotonic clock."""
    active: dict[str, tuple[subprocess.Popen[bytes], float]] = field(default_factory=dict)
    """The process of a run, and since when."""

    def ready(self, name: str) -> bool:
        """Whether all files that the run begins with are there."""
        named = re.findall(PLACE.pattern + r"(/\S+)", self.runs[name]["flags"])
        return all((self.out / (run + file)).is_file() for run, file in named)

    def command(self, name: str) -> str:
        """What trains the run and exports its stages, for a shell."""
        folder, run = self.out / name, self.runs[name]
        flags = shlex.split(re.sub(PLACE, self.fill, run["flags"]))
        begin = [*self.common, *flags, "--out", str(folder)]
        if (folder / "latest.pt").is_file():
            begin = ["--resume", str(folder)]
        training = shlex.join(["train-snn", "--format", "json", *begin])
        stages = ["int8", "int6", "int4", "t1"]
        lines = ["set -e", f"exec > {shlex.quote(str(log(folder)))} 2>&1", training]
        # The ANN's file comes last: all test pictures are measured for it, and time may be short.
        for stage in [*stages, "ann"] if run.get("dense") else stages:
            file, model = folder / f"{stage}.pt", folder / f"{stage}.onnx"
            how = ["--dense"] if stage == "ann" else []
            export = shlex.join(["export-snn", str(file), str(model), "--threads", "1", *how])
            lines.append(f"if [ -f {shlex.quote(str(file))} ]; then {export}; fi")
        return "\n".join(lines)

    def fill(self, place: re.Match[str]) -> str:
        """What stands for a place in the flags."""
        if place[1] == "left":
            return str(int(self.deadline - time.monotonic()))
        return str(self.out / place[1])

    def start(self, name: str) -> None:
        """Let the run begin."""
        self.out.mkdir(parents=True, exist_ok=True)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        process = subprocess.Popen(
            ["bash", "-c", self.command(name)],
            start_new_session=True,
            env=os.environ | {"PATH": path},
        )
        self.active[name] = process, time.monotonic()

    def collect(self) -> None:
        """Note the runs that ended."""
        for name, (process, since) in list(self.active.items()):
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if not pid:
                continue
            process.returncode = os.waitstatus_to_exitcode(status)
            del self.active[name]
            row = {
                "run": name,
                "exit": process.returncode,
                "seconds": round(time.monotonic() - since, 1),
                "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
                "stages": reached(log(self.out / name)),
            }
            with (self.out / "sweep.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)

    def carry_out(self, at_once: int) -> None:
        """Let runs begin as they can, until all have ended or the deadline comes."""
        done = finished(self.out)
        waiting = [name for name in self.runs if name not in done]
        while (waiting or self.active) and time.monotonic() < self.deadline:
            able = [name for name in waiting if self.ready(name)]
            for name in able[: at_once - len(self.active)]:
                self.start(name)
                waiting.remove(name)
            if not able and not self.active:
                raise SystemExit(f"nothing to begin with: {', '.join(waiting)} wait for each other")
            time.sleep(POLL)
            self.collect()

    def stop(self) -> None:
        """Let all runs save their state and end."""
        for process, _ in self.active.values():
            subprocess.run(["pkill", "-TERM", "-s", str(process.pid), "train-snn"], check=False)
        until = time.monotonic() + GRACE
        while self.active and time.monotonic() < until:
            time.sleep(POLL)
            self.collect()
        for process, _ in self.active.values():
            subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)


def log(folder: Path) -> Path:
    """Where the commands of a run say what they do."""
    return folder.with_name(folder.name + ".log")


def reached(log: Path) -> dict[str, Any]:
    """What the stages of a run reached, from the last line that train-snn says."""
    kept = ("validation", "test", "spike_rate", "epochs", "seconds")
    for line in log.read_text().splitlines():
        if line.startswith('{"event": "end"'):
            stages = json.loads(line)["stages"]
            return {s["stage"]: {name: s[name] for name in kept} for s in stages}
    return {}


def finished(out: Path) -> set[str]:
    """The runs of an earlier call that need nothing any more."""
    path = out / "sweep.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    return {row["run"] for row in rows if row["exit"] == 0}


def main() -> None:
    """Run the plan."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plan", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--at-once", type=int, default=1, help="runs (default 1)")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop all after so many")
    args = parser.parse_args()
    plan = json.loads(args.plan.read_text())
    deadline = time.monotonic() + args.seconds
    sweep = Sweep(shlex.split(plan["common"]), plan["runs"], args.out, deadline)
    try:
        sweep.carry_out(args.at_once)
    finally:  # whatever ended it: no run goes on unseen
        sweep.stop()


if __name__ == "__main__":
    main()
