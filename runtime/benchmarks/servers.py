"""Servers in processes of their own, for the time of a measurement."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MAIN = "import sys; from snn_serve.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class Served:
    """A server that listens."""

    port: int
    process: "subprocess.Popen[str]"
    said: list[str]

    @property
    def megabytes(self) -> float:
        """Memory of the process and of its children."""
        return sum(map(resident, [self.process.pid, *self.children()]))

    def children(self) -> list[int]:
        """Process ids of what its main thread started: of snn-serve, the decoders."""
        pid = self.process.pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def resident(process: int) -> float:
    """Memory of a process without its decoders, MB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1000


@contextmanager
def listening(cores: str, words: Sequence[str]) -> Iterator[Served]:
    """Run a command of Python on these cores, which says where it listens, until the block ends."""
    command = ["taskset", "-c", cores, sys.executable, *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said: list[str] = []
    try:
        for line in process.stderr:
            said.append(line)
            if found := re.search(r" on http://127\.0\.0\.1:(\d+)", line):
                break
        else:
            raise SystemExit(f"the server did not start:\n{''.join(said)}")
        # Read on, or a server with much to say would wait for a reader.
        threading.Thread(target=said.extend, args=[process.stderr], daemon=True).start()
        yield Served(int(found[1]), process, said)
    finally:
        process.terminate()
        code = process.wait()
        print(*said, f"exit code {code}\n", sep="", end="", file=sys.stderr)


@contextmanager
def server(
    cores: str, model: Path | None = None, limits: Sequence[str] = (), *more: str
) -> Iterator[Served]:
    """Run snn-serve."""
    words = ["-c", MAIN, "--port", "0", *more]
    words += [] if model is None else ["--model", str(model)]
    words += ["--limit", *limits] if limits else []
    with listening(cores, words) as served:
        yield served
